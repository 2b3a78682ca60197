"""What a result depends on: data, checkpoint, code and settings, as checksums that a later run can compare."""

from __future__ import annotations

import argparse
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from nsp_bert.checkpoint import Checkpoint

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_EFFECT = (
    "dataset",
    "data_dir",
    "model",
    "batch_tokens",
    "output",
    "resume",
    "ablate",
    "submission",
    "cards_of",
    "distributed",
    "workers",
    "verbose",
)
READERS = ("report", "nsp_bert_report", "benchmark_tables", "nsp_bert_benchmark")  # they only read results
BLOCK = 1 << 20


def take_fingerprint(card: Any, options: argparse.Namespace, data_dir: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the checksums of the files that a run reads, of the code with the card, and the settings as text.

    The split of the run, the one that thresholds are learned on and a knowledge base count as data.
    """
    paths = [card.path.format(split=split) for split in dict.fromkeys((options.split or card.split, card.dev_split))]
    if hasattr(card, "knowledge_base"):
        paths.append(card.knowledge_base.path)
    files = [checkpoint.folder / "bert_config.json", checkpoint.vocab_path]
    files += sorted(checkpoint.folder.glob(f"{checkpoint.prefix.name}.*"))
    code = [*ROOT.glob("nsp_bert/*.py"), *ROOT.glob("nsp_bert_*.py"), ROOT / "utils.py"]
    code = [path for path in code if not path.stem.startswith(READERS)]
    settings = {key: str(value) for key, value in sorted(vars(options).items()) if key not in WITHOUT_EFFECT}
    return {
        "data": {path: _digest(data_dir / path) for path in paths if (data_dir / path).is_file()},
        "checkpoint": _digest(*files),
        "code": _digest(*sorted(code), ROOT / "datasets" / "cards" / f"{card.name}.yaml"),
        "settings": settings,
    }


def _digest(*paths: Path) -> str:
    """Return one SHA-256 over several files, each read once per state of the file."""
    digests = (_file_digest(path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths if path.is_file())
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@cache
def _file_digest(path: Path, _modified: int, _size: int) -> str:
    return digest(path)


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return a file's digest in hexadecimal."""
    found = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            found.update(block)
    return found.hexdigest()
