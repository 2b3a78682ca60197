"""Imported by every script before anything else: a wrong environment is named, and Ctrl-C ends quietly meanwhile.

It runs on any Python from 3.8 on and imports nothing that has to be installed.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

OLDEST, NEWEST = (3, 10), (3, 13)
NEEDED = ("numpy", "pydantic", "requests", "rich", "scipy", "sklearn", "tqdm", "typing_extensions", "yaml")
ROOT = Path(__file__).resolve().parent.parent


def refusal(version: tuple[int, int], missing: list[str]) -> str:
    """Return why the scripts cannot run on a Python version (major, minor) with these packages missing, or ""."""
    activate = ROOT / ".venv" / "bin" / "activate"
    remedy = f"enter the environment: source {activate}" if activate.is_file() else "set it up with `make install`"
    if not OLDEST <= version <= NEWEST:
        return f"Python {version[0]}.{version[1]} is not supported, 3.10 to 3.13 are; {remedy}"
    return f"Python package missing: {', '.join(missing)}; {remedy}" if missing else ""


def _end_quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _end_quietly
if reason := refusal(sys.version_info[:2], [name for name in NEEDED if find_spec(name) is None]):
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(2)
