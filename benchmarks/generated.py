"""What the benchmarks generate: random checkpoints of a given shape, and texts whose length in tokens is known."""

from __future__ import annotations

import _root  # noqa: F401

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import random_checkpoint

from nsp_bert.checkpoints.vocabulary import load_vocabulary

VOCABULARY = 21128  # entries, as in Google's Chinese BERT
POSITIONS = 512
HEAD_SIZE = 64
DEVIATION = 0.4  # of the drawn weights, as a share of what the tests draw: no probability saturates


def write_model(folder: Path, layers: int, hidden: int, heads: tuple[str, ...] = ("pooler", "NSP")) -> Path:
    """Write a random checkpoint that tokenises Chinese and return its folder; log-odds deviate by a few units."""
    shape = random_checkpoint.config(layers, hidden, POSITIONS, VOCABULARY)
    config = shape | {"num_attention_heads": hidden // HEAD_SIZE}
    drawn = random_checkpoint.weights(config, heads=heads)
    tensors = {name: value if "LayerNorm" in name else DEVIATION * value for name, value in drawn.items()}
    return random_checkpoint.write(folder, tensors, config, random_checkpoint.vocabulary())


def characters(vocab_path: Path) -> np.ndarray:
    """Return the CJK characters that are one token each, (n,)."""
    known = [token for token in load_vocabulary(vocab_path) if len(token) == 1 and "一" <= token <= "龥"]
    return np.array(known)


def random_texts(letters: np.ndarray, count: int, length: int, seed: int = 0) -> Iterator[str]:
    """Yield `count` texts of `length` characters, a token each; equal ones are as good as impossible."""
    rng = np.random.default_rng(seed)
    return ("".join(rng.choice(letters, length)) for _ in range(count))


def write_split(path: Path, card: object, texts: Iterator[str], seed: int = 0) -> None:
    """Write a classification dataset's split in its real format, with labels drawn at random."""
    rng, labels = np.random.default_rng(seed), list(card.labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for index, text in enumerate(texts):
            row = {"id": index, card.fields.text: text, card.fields.label: labels[rng.integers(len(labels))]}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
