"""Errors that a user can fix: shown as one line, exit status 2, no traceback."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input, named with its place, the reason and the remedy in a single line."""


class UnsuitableError(UserError):
    """A method, a dataset and a checkpoint that do not fit together: the next may."""


def meant(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean …?" for the nearest of the names, nothing where none is near."""
    near = get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def first_line(error: Exception) -> str:
    """Return what an error of another package says in its first line, for use in our own."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
