"""Where the answers to single texts go as they come: a table, standard output, or a file that can be resumed."""

from __future__ import annotations

import codecs
import glob
import json
import os
import shutil
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, TextIO

import numpy as np

from nsp_bert.files import UNFINISHED, open_alone, remove_leftovers, replacing, write_whole
from nsp_bert.terminal import new_table, plain_console

SHOWN = 50  # texts that a terminal is given
FORMAT = "nsp_bert answers 1"


class TextAnswer(NamedTuple):
    """A text with its prediction and label -> log-odds; `line` of its file and `label` where it has them."""

    text: str
    prediction: str
    scores: dict[str, float]
    line: int | None = None
    label: str | None = None

    @property
    def row(self) -> dict[str, object]:
        """The object of its JSON line."""
        label = {} if self.label is None else {"label": self.label}
        return {"line": self.line, "text": self.text, "prediction": self.prediction} | label | {"scores": self.scores}


class ReaderGoneError(Exception):
    """Nobody takes what goes to standard output any more."""


class Destination:
    """Takes answers in their order; `kept` counts those that are there from an earlier run.

    `on_terminal`: they are shown as they come, so that a progress bar would be between them.
    """

    kept = 0
    on_terminal = False

    def known(self) -> Iterable[np.ndarray]:
        """Return the log-odds float32 (labels,) of the answers that are there."""
        return ()

    @abstractmethod
    def add(self, answer: TextAnswer) -> None:
        """Take an answer. Raises UserError where it cannot be written, ReaderGoneError where nobody takes it."""

    def finish(self) -> None:
        """Every answer is there."""

    def close(self) -> None:
        """No answer comes any more, be it for an interrupt or an error."""


class AnswerTable(Destination):
    """A table on the terminal, of a few answers."""

    def __init__(self) -> None:
        """Begin with an empty table."""
        self._answers: list[TextAnswer] = []

    def add(self, answer: TextAnswer) -> None:
        """Take an answer; beyond those that are shown one is enough to know that there are more."""
        if len(self._answers) <= SHOWN:
            self._answers.append(answer)

    def close(self) -> None:
        """Print the table."""
        if not self._answers:
            return
        if len(self._answers) > SHOWN:
            print(f"more than {SHOWN} texts: --output FILE takes the answers, --output - prints them")
            return
        table = new_table(("text", "answer", "log-odds per label, best first"), texts=3)
        for answer in self._answers:
            ranked = sorted(answer.scores.items(), key=lambda item: -item[1])
            row = ", ".join(f"{label} {score:+.2f}" for label, score in ranked)
            table.add_row(answer.text, answer.prediction, row)
        plain_console().print(table)


class AnswerStream(Destination):
    """JSON lines on a text stream; where it cannot hold every character, escaped as JSON does."""

    def __init__(self, stream: TextIO):
        """Write to a stream."""
        self._stream = stream
        self.on_terminal = stream.isatty()
        self._ascii = codecs.lookup(stream.encoding or "ascii").name != "utf-8"

    def add(self, answer: TextAnswer) -> None:
        """Print an answer."""
        print(json.dumps(answer.row, ensure_ascii=self._ascii), file=self._stream, flush=True)
        if getattr(self._stream, "error", None):  # of a SteadyStream
            raise ReaderGoneError


class AnswerFile(Destination):
    """JSON lines that gather in a hidden file beside `output`, below a line that says of which run they are."""

    def __init__(self, output: Path, header: Mapping[str, object], at_once: int, resume: bool):
        """Continue the lines of the same header if `resume`, a multiple of `at_once` of them, else begin anew.

        Raises UserError where the hidden file cannot be this run's own.
        """
        self.path = output.with_name(f".{output.name}{UNFINISHED}")
        self._output, self._head = output, (json.dumps({"format": FORMAT} | dict(header)) + "\n").encode()
        self._file = open_alone(self.path)
        remove_leftovers(output.parent, f"{glob.escape(output.name)}.{'[0-9a-f]' * 8}")
        end = self._find_whole(at_once) if resume else 0
        if resume:
            print(f"{output}: {f'{self.kept:,} texts were answered before' if end else self._why_anew()}")
        self._file.truncate(end)
        self._file.seek(end)
        if not end:
            write_whole(self._file, self._head, self.path)

    def _find_whole(self, at_once: int) -> int:
        """Count the lines to keep; return where they end, 0 where the file is not of this run."""
        lines = self._lines()
        if lines.readline() != self._head:
            return 0
        place = end = len(self._head)
        for count, line in enumerate(lines, 1):
            if not _is_whole(line):
                break
            place += len(line)
            if count % at_once == 0:
                self.kept, end = count, place
        return end

    def _why_anew(self) -> str:
        if not os.fstat(self._file.fileno()).st_size:
            return "nothing was answered before; begins"
        return "what was answered before is of other texts, options or weights; begins anew"

    def _lines(self) -> IO[bytes]:
        """Return the lines from the beginning of the file."""
        self._file.seek(0)
        return open(self._file.fileno(), "rb", closefd=False)

    def known(self) -> Iterator[np.ndarray]:
        """Yield the log-odds float32 (labels,) of the answers that are there."""
        for line in islice(self._lines(), 1, 1 + self.kept):
            yield np.array(list(json.loads(line)["scores"].values()), np.float32)

    def add(self, answer: TextAnswer) -> None:
        """Write a line. Raises UserError where it cannot be written."""
        self._file.seek(0, os.SEEK_END)
        write_whole(self._file, (json.dumps(answer.row, ensure_ascii=False) + "\n").encode(), self.path)

    def finish(self) -> None:
        """Put the lines in the place of the output, in one step."""
        with replacing(self._output) as new, new.open("wb") as stream:
            self._file.seek(len(self._head))
            shutil.copyfileobj(self._file, stream)
            stream.flush()
            os.fsync(stream.fileno())
        self.path.unlink()

    def close(self) -> None:
        """Leave the file to others; what is in it stays."""
        self._file.close()


def _is_whole(line: bytes) -> bool:
    """Return whether a line is one that was written to its end."""
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line)["scores"], dict)
    except (ValueError, TypeError, KeyError):
        return False
