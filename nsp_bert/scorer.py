"""Encoded pairs -> IsNext log-odds, with the NSP head of a bert4keras model (paper, section 3).

The score of a pair is logit(IsNext) - logit(NotNext) in float32. It ranks pairs exactly as the paper's IsNext
probability does, but it never saturates into ties.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from nsp_bert.checkpoint import Checkpoint
from nsp_bert.environment import import_tensorflow

WINDOW_PAIRS = 8192  # sorted by length together; bounds the memory that encoded pairs take
LENGTH_STEP = 8  # batches are padded to a multiple: few distinct shapes
PRECISIONS = ("float32", "bfloat16", "float16")


class EncodedPair(NamedTuple):
    """[CLS] first [SEP] second [SEP]: the token ids, and how many of them are segment 0 (up to the first [SEP]).

    `position_ids` are as many as the token ids; without them positions count from 0.
    """

    token_ids: list[int]
    first_length: int
    position_ids: list[int] | None = None


class Scores(NamedTuple):
    """Log-odds float32 (n,) in the order of the pairs, NaN where an interrupt came first; `complete` without it."""

    values: np.ndarray
    complete: bool
    seconds: float

    @property
    def pairs(self) -> int:
        """Number of pairs that were scored."""
        return int((~np.isnan(self.values)).sum())


class Scorer:
    """The NSP head of one checkpoint, ready to score."""

    def __init__(self, checkpoint: Checkpoint, precision: str = "float32", batch_tokens: int = 8192):
        """Load the weights. `batch_tokens` bounds rows x padded length of a batch and does not change the scores.

        Raises UserError when weights and configuration disagree.
        """
        self._tf = tf = import_tensorflow()
        from nsp_bert.scoring_model import build_bert

        self._batch_tokens = batch_tokens
        policy = "float32" if precision == "float32" else f"mixed_{precision}"
        tf.keras.mixed_precision.set_global_policy(policy)
        bert = build_bert(checkpoint)
        self._pooler = tf.keras.Model(bert.model.inputs, bert.layers["Pooler-Dense"].output)
        head = bert.layers["NSP-Proba"]
        self._kernel, self._bias = head.kernel, head.bias
        ids = tf.TensorSpec([None, None], tf.int32)
        self._log_odds = tf.function(self._forward, input_signature=[ids, ids, ids])

    def _forward(self, token_ids: Any, segment_ids: Any, position_ids: Any) -> Any:
        tf = self._tf
        pooled = tf.cast(self._pooler([token_ids, segment_ids, position_ids], training=False), tf.float32)
        logits = pooled @ tf.cast(self._kernel, tf.float32) + tf.cast(self._bias, tf.float32)
        return logits[:, 0] - logits[:, 1]

    def score(self, pairs: Iterable[EncodedPair], total: int) -> Scores:
        """Return the log-odds of `total` pairs, drawn window by window; Ctrl-C ends early and keeps what is scored."""
        values = np.full(total, np.nan, np.float32)
        stream, offset, complete, started = iter(pairs), 0, True, time.monotonic()
        with tqdm(total=total, desc="scoring", unit=" pairs", unit_scale=True, dynamic_ncols=True, delay=1) as bar:
            try:
                while window := list(islice(stream, WINDOW_PAIRS)):
                    for rows, *inputs in make_batches(window, self._batch_tokens):
                        values[offset + rows] = self._log_odds(*inputs).numpy()
                        bar.update(len(rows))
                    offset += len(window)
            except KeyboardInterrupt:
                complete = False
        return Scores(values, complete, time.monotonic() - started)


def make_batches(
    pairs: list[EncodedPair], batch_tokens: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (rows int64 (B,), token_ids, segment_ids, position_ids int32 (B, T)), longest pairs first.

    B * T stays within `batch_tokens`, one pair at least.
    """
    lengths = np.array([len(pair.token_ids) for pair in pairs])
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        padded = -(-int(lengths[order[start]]) // LENGTH_STEP) * LENGTH_STEP
        rows = order[start : start + max(batch_tokens // padded, 1)]
        token_ids, segment_ids, position_ids = np.zeros((3, len(rows), padded), np.int32)
        for place, row in enumerate(rows):
            pair, length = pairs[row], lengths[row]
            token_ids[place, :length] = pair.token_ids
            segment_ids[place, pair.first_length : length] = 1
            position_ids[place, :length] = np.arange(length) if pair.position_ids is None else pair.position_ids
        yield rows, token_ids, segment_ids, position_ids
        start += len(rows)
