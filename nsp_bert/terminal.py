"""The terminal, or what is in its place: streams that may be closed, full, or know no Chinese; signals; tables."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from nsp_bert.errors import UserError

INTERRUPTED, TERMINATED, BROKEN_PIPE = (128 + number for number in (2, 15, 13))  # as a shell tells of signals
FAILED = 2
LOGGED_SECONDS = 30
GAP = 1  # between the columns of a table
RULED = Box("    \n    \n ─  \n    \n    \n ─  \n    \n    \n")  # every header has a line of its own below it
FOLDED = 12  # columns of the terminal that a longer text is folded to before figures are left out for it


class SteadyStream(io.TextIOWrapper):
    """A text stream that goes on without a reader: the first error of a write is kept, what follows is dropped."""

    error: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written."""
        return self._tried(lambda: super(SteadyStream, self).write(text), len(text))

    def flush(self) -> None:
        """Flush, or drop what cannot be written."""
        self._tried(lambda: super(SteadyStream, self).flush() or 0, 0)

    def _tried(self, action: Callable[[], int], otherwise: int) -> int:
        if self.error:
            return otherwise
        try:
            return action()
        except OSError as error:
            self.error = error
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # what is in the buffer goes there
            return otherwise


def plain_console(width: int | None = None) -> Console:
    """Return a console that shows text as it is: nothing in data or options is markup, an emoji's name or a number."""
    return Console(markup=False, emoji=False, highlight=False, width=width)


def new_table(headers: Sequence[str], *, texts: int = 1) -> Table:
    """Return an empty table in the one style of all tables on the terminal.

    The first `texts` columns are texts, flush left and folded where there is no room; the others are figures, flush
    right and always in one piece.
    """
    table = Table(header_style="bold", box=RULED, show_edge=False, padding=0)
    for place, header in enumerate(headers):
        text = place < texts
        table.add_column(header, justify="left" if text else "right", overflow="fold", no_wrap=not text)
    return table


def print_title(title: str, console: Console) -> None:
    """Print the line above a table."""
    console.print(title, style="italic", highlight=False, markup=False)


def print_fitting(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    console: Console,
    *,
    texts: int = 1,
    dispensable: Sequence[str],
    further: Sequence[str] = (),
    elsewhere: str,
) -> None:
    """Print a table without the columns that there is no room for, and a line that names them and where they are.

    `texts` is as in new_table, `dispensable` and `further` are as in columns_with_room.
    """
    places = columns_with_room(headers, rows, console.width, texts, dispensable, further)
    table = new_table([headers[place] for place in places], texts=sum(place < texts for place in places))
    for row in rows:
        table.add_row(*(row[place] for place in places))
    console.print(table)
    if left_out := [header for place, header in enumerate(headers) if place not in places]:
        console.print(
            f"not shown for want of room: {', '.join(left_out)}; {elsewhere}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def columns_with_room(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    texts: int,
    dispensable: Sequence[str],
    further: Sequence[str],
) -> list[int]:
    """Return the places of the columns that fit into a width beside each other.

    The dispensable ones are left out first, in their order. Where that is not enough texts are folded, and then
    further ones are left out in theirs.
    """
    widths = {place: max(map(cell_len, column)) for place, column in enumerate(zip(headers, *rows, strict=True))}
    for names, longest in ((dispensable, width), (further, FOLDED)):
        for name in (one for one in names if one in headers):
            needed = [min(cells, longest) if place < texts else cells for place, cells in widths.items()]
            if sum(needed) + GAP * (len(needed) - 1) > width:
                del widths[headers.index(name)]
    return list(widths)


def progress_bar(total: int | None, title: str, unit: str, *, show: bool = True) -> tqdm:
    """Return a bar with rate and remaining time, for what takes more than a second.

    Without a terminal, in a log, it writes a line every half a minute.
    """
    quiet = not sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=title,
        unit=unit,
        unit_scale=True,
        dynamic_ncols=True,
        delay=1,
        disable=not show,
        mininterval=LOGGED_SECONDS if quiet else 0.1,
    )


def run_main(main: Callable[[list[str] | None], int], arguments: list[str] | None = None) -> None:
    """Run a script's `main` and exit.

    The status is 2, after one line, for an error that the user can fix; 130 for Ctrl-C, 143 for SIGTERM, 141 where the
    reader of the output went away. What was scored is kept in all of them.
    """
    _steady_streams()
    terminations: list[int] = []

    def terminate(number: int, _frame: FrameType | None) -> None:
        terminations.append(number)
        raise KeyboardInterrupt  # what is running ends as after Ctrl-C, and keeps what it has

    signal.signal(signal.SIGTERM, terminate)
    try:
        status = main(arguments)
    except UserError as error:
        print(f"error: {_printable(str(error))}", file=sys.stderr)
        status = FAILED
    except KeyboardInterrupt as stopped:
        print(": ".join(["interrupted", *map(str, stopped.args)]), file=sys.stderr)
        status = INTERRUPTED
    raise SystemExit(TERMINATED if terminations else status or _broken_status())


def _steady_streams() -> None:
    """Give standard streams that are closed an empty place, and let the others go on whatever happens to their end."""
    for number in (0, 1, 2):  # else the next file that is opened would be taken for the terminal
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None or (isinstance(stream, io.TextIOWrapper) and stream is getattr(sys, f"__{name}__")):
            encoding = stream.encoding if stream else "utf-8"
            raw = io.FileIO(number, "w", closefd=False)
            line_by_line = raw.isatty() or name == "stderr"
            steady = SteadyStream(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=line_by_line)
            if stream:
                stream.flush()
            setattr(sys, name, steady)


def _broken_status() -> int:
    """Return the exit status where standard output could not be written to its end; 0 where it could."""
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    if error is None:
        return 0
    if error.errno == errno.EPIPE:
        return BROKEN_PIPE
    print(f"error: standard output cannot be written ({error.strerror})", file=sys.stderr)
    return FAILED


def _printable(text: str) -> str:
    """Return a message as one line that any terminal takes: control characters and half surrogates are spelled."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
