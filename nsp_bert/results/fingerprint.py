"""What a result depends on: data, checkpoint, code and settings, as checksums that a later run can compare."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from nsp_bert.cards import CARDS, CardBase
from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.files import ROOT, digest
from nsp_bert.results.summary import Fingerprint


def take_fingerprint(
    script: Path, card: CardBase, splits: Iterable[str], folder: Path, checkpoint: Checkpoint, settings: dict[str, str]
) -> Fingerprint:
    """Return the checksums of the files that a run of `script` reads, of its code with the card, and the settings.

    As data count the files of these splits and a knowledge base; as code the script and what it imports, so that a
    change of another method leaves finished results as they are.
    """
    paths = [*(card.path.format(split=split) for split in dict.fromkeys(splits)), *card.other_files]
    casing, tokenizer = str(checkpoint.do_lower_case), f"bert4keras {metadata.version('bert4keras')}"
    return Fingerprint(
        data={path: _digest(folder / path) for path in paths if (folder / path).is_file()},
        checkpoint=checkpoint_digest(checkpoint),
        code=_digest(*sorted(import_closure(script)), CARDS / f"{card.name}.yaml"),
        settings=dict(sorted((settings | {"do_lower_case": casing, "tokenizer": tokenizer}).items())),
    )


def checkpoint_digest(checkpoint: Checkpoint) -> str:
    """Return one SHA-256 over the configuration, the vocabulary and the weights."""
    weights = sorted(checkpoint.folder.glob(f"{checkpoint.prefix.name}.*"))
    return _digest(checkpoint.folder / "bert_config.json", checkpoint.vocab_path, *weights)


def import_closure(script: Path, root: Path = ROOT) -> set[Path]:
    """Return a script's file and the project's files that it imports, directly or not, at any place in the code."""
    found: set[Path] = set()
    waiting = [script.resolve()]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imported_files(path, root)
    return found


def imported_files(path: Path, root: Path = ROOT) -> set[Path]:
    """Return the project's files that a file imports itself, with the `__init__` files of their packages."""
    files: set[Path] = set()
    for name in _imported_names(*_state(path)):
        steps = name.split(".")
        for end in range(1, len(steps) + 1):
            place = root.joinpath(*steps[:end])
            files |= {one for one in (place / "__init__.py", place.with_suffix(".py")) if one.is_file()}
    return files - {path}


@cache
def _imported_names(path: Path, _modified: int, _size: int) -> tuple[str, ...]:
    """Return the dotted names of all imports; of `from a import b` both a and a.b, since b may be a module."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found += (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += (f"{node.module}.{one.name}" for one in node.names)
    return tuple(found)


def _digest(*paths: Path) -> str:
    """Return one SHA-256 over several files, each read once per state of the file."""
    digests = (_file_digest(*_state(path)) for path in paths if path.is_file())
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _state(path: Path) -> tuple[Path, int, int]:
    """Return the path with its time and size, which change when the file does."""
    state = path.stat()
    return path, state.st_mtime_ns, state.st_size


@cache
def _file_digest(path: Path, _modified: int, _size: int) -> str:
    return digest(path)
