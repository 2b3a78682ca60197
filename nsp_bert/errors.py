"""Errors that a user can mend: shown as one line, exit status 2, no traceback."""

from __future__ import annotations


class UserError(Exception):
    """Bad input, named with its place, the reason and the remedy in a single line."""
