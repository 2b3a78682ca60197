"""Soft tokens: the last ids of a checkpoint, behind those of its vocabulary; and a trained prompt in a file of its own.

No text has these ids. `soft_tokens` in `bert_config.json` says how many there are, vocab.txt says nothing of them.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.checkpoints.shapes import HEADS, SOFT_EMBEDDINGS
from nsp_bert.checkpoints.tensors import read_tensors, write_checkpoint, written_in_one_step
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.errors import UserError, first_line
from nsp_bert.files import replacing

Insert = Literal["before", "after"]
"""Where a soft token's embedding comes in: before position, segment and the normalisation of the embeddings, in the
place of a word's, or after all three."""
NEVER = -1e4  # a soft token's bias in the MLM head: its probability is exactly 0
LARGEST = 2**26  # bytes of a file of a prompt, unpacked
TRAIN_ANEW = "train it anew with baselines/p_tuning.py --save"


@dataclass(frozen=True)
class SoftPrompt:
    """The embeddings float32 (N, width) of a pattern's soft tokens, where they come in, and for which checkpoint.

    `checkpoint` is the SHA-256 of the checkpoint that they were trained with.
    """

    embeddings: np.ndarray
    insert: Insert
    pattern: str
    checkpoint: str

    def write(self, path: Path) -> None:
        """Write an .npz file. Raises UserError where it cannot be written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as unfinished, unfinished.open("wb") as file:
                np.savez(file, **asdict(self))
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --save") from error

    def check(self, where: Path, pattern: str, checkpoint: str) -> None:
        """Raise UserError where the prompt was trained with another checkpoint or pattern."""
        if self.pattern != pattern:
            raise UserError(f"--prompt {where}: trained with the pattern {self.pattern!r}, not {pattern!r}")
        if self.checkpoint != checkpoint:
            raise UserError(
                f"--prompt {where}: trained with another checkpoint; give --model that one, or where the prompt was"
                " trained without --freeze the one that was saved beside it"
            )


def read_prompt(path: Path) -> SoftPrompt:
    """Return the prompt of a file; nothing in it is run. Raises UserError where it is none."""
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > LARGEST:
                raise ValueError("too large")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            embeddings = arrays["embeddings"]
            insert, pattern, checkpoint = (str(arrays[key][()]) for key in ("insert", "pattern", "checkpoint"))
        if embeddings.dtype != np.float32 or embeddings.ndim != 2 or not np.isfinite(embeddings).all():
            raise ValueError("embeddings are not finite float32 (N, width)")
        if insert not in get_args(Insert):
            raise ValueError(f"insert is {insert!r}")
    except OSError as error:
        raise UserError(f"--prompt {path}: cannot be read ({error.strerror}); {TRAIN_ANEW}") from error
    except (ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise UserError(f"--prompt {path}: not a trained prompt ({first_line(error)}); {TRAIN_ANEW}") from error
    return SoftPrompt(embeddings, "after" if insert == "after" else "before", pattern, checkpoint)


def first_soft_token(config: dict[str, Any]) -> int:
    """Return the id of the first soft token: of a checkpoint that has none the id behind its vocabulary."""
    return int(config["vocab_size"] - config.get("soft_tokens", 0))


def with_soft_tokens(
    config: dict[str, Any], tensors: dict[str, np.ndarray], embeddings: np.ndarray, insert: Insert
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a configuration and variables, by Google's names, with soft tokens behind the vocabulary.

    Those that the checkpoint has already become plain tokens. Raises UserError where the embeddings float32 (N, width)
    have another width.
    """
    count, width = embeddings.shape
    if width != config["hidden_size"]:
        raise UserError(f"a prompt of width {width} does not fit a checkpoint of width {config['hidden_size']}")
    table, bias = HEADS["encoder"], "cls/predictions/output_bias"
    rows = embeddings if insert == "before" else np.zeros_like(embeddings)
    grown = {table: np.concatenate([tensors[table], rows])}
    if bias in tensors:
        grown[bias] = np.concatenate([tensors[bias], np.full(count, NEVER, np.float32)])
    others = {name: value for name, value in tensors.items() if name != SOFT_EMBEDDINGS}
    own = {SOFT_EMBEDDINGS: embeddings} if insert == "after" else {}
    return config | {"vocab_size": config["vocab_size"] + count, "soft_tokens": count}, others | grown | own


def write_prompted(folder: Path, checkpoint: Checkpoint, prompt: SoftPrompt) -> None:
    """Write a checkpoint with a trained prompt. Raises UserError where they do not fit, or where there is no room."""
    tensors = read_tensors(checkpoint.prefix)
    config, grown = with_soft_tokens(checkpoint.config, tensors, prompt.embeddings, prompt.insert)
    with written_in_one_step(folder) as unfinished:
        write_checkpoint(unfinished, config, grown, checkpoint.vocab_path)


def soft_embeddings(checkpoint: Checkpoint) -> tuple[np.ndarray, Insert]:
    """Return the embeddings float32 (N, width) of a checkpoint's soft tokens, and where they come in."""
    return _soft_rows(checkpoint, read_tensors(checkpoint.prefix))


def _soft_rows(checkpoint: Checkpoint, tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, Insert]:
    if SOFT_EMBEDDINGS in tensors:
        return tensors[SOFT_EMBEDDINGS], "after"
    return tensors[HEADS["encoder"]][first_soft_token(checkpoint.config) :], "before"


def nearest_words(checkpoint: Checkpoint, count: int) -> list[list[tuple[str, float]]]:
    """Return for each soft token the words nearest to it and the cosines of their embeddings, the nearest first."""
    tensors, tokens = read_tensors(checkpoint.prefix), list(load_vocabulary(checkpoint.vocab_path))
    soft, _ = _soft_rows(checkpoint, tensors)
    words = tensors[HEADS["encoder"]][: len(tokens)]
    cosines = _unit(soft) @ _unit(words).T
    best = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return [[(tokens[word], float(row[word])) for word in places] for row, places in zip(cosines, best, strict=True)]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
