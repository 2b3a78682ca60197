"""JSON-lines files, the format of every dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from nsp_bert.errors import UserError


def read_json_lines(
    path: Path, limit: int | None = None, advance: Callable[[int], object] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, object) of a UTF-8 JSON-lines file, place being `file:line` for messages; blank lines are skipped.

    Lines end with LF or CRLF alone: U+2028 and the like stand inside real texts. `advance` hears the bytes of each
    line that is read. Raises UserError with the place.
    """
    shown = f"{path.parent.name}/{path.name}"
    try:
        with path.open("rb") as stream:
            lines = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
            for number, line in islice(lines, limit):
                place = f"{shown}:{number}"
                if advance:
                    advance(len(line))
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                row = json.loads(text)
                if not isinstance(row, dict):
                    raise UserError(f"{place}: not a JSON object; the file must hold one object a line")
                yield place, row
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; datasets/README.md tells where the data come from") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{shown}:{number}: not UTF-8 ({error.reason}); fetch the file again or convert it") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{shown}:{number}: broken JSON ({error.msg}, column {error.colno}); mend the line") from error
