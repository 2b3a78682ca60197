"""The settings beside a training state: a run that is resumed must have the same."""

from __future__ import annotations

import json
from pathlib import Path

from nsp_bert.errors import UserError
from nsp_bert.files import parse_json

SETTINGS = "settings.json"
START_ANEW = "remove the folder to start anew, or take another --output"


def settings_text(settings: dict[str, str]) -> str:
    """Return the text of the file of settings."""
    return json.dumps(settings, indent=1, sort_keys=True)


def check_settings(folder: Path, settings: dict[str, str]) -> None:
    """Raise UserError when the state in a folder was written by a run with other settings, or is damaged."""
    path = folder / SETTINGS
    try:
        before = parse_json(path.read_text(encoding="utf-8"), str(path), START_ANEW)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {START_ANEW}") from error
    if not isinstance(before, dict):
        raise UserError(f"{path}: not the settings of a run; {START_ANEW}")
    differing = sorted(key for key in settings.keys() | before.keys() if before.get(key) != settings.get(key))
    if differing:
        changes = ", ".join(f"{key}: {before.get(key)!r} -> {settings.get(key)!r}" for key in differing)
        raise UserError(f"{folder}: the run to resume had other settings ({changes}); take another --output")
