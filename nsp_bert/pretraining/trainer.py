"""MLM + NSP training of a bert4keras model from random weights or from a checkpoint's (BERT, section 3.1).

Importing this module imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nsp_bert.environment import import_tensorflow
from nsp_bert.pretraining.curve import METRICS
from nsp_bert.pretraining.pairs import Batch
from nsp_bert.training.loop import Training
from nsp_bert.training.optimization import Optimization

tf: Any = import_tensorflow()


class Pretraining(Training):
    """A BERT with both pre-training heads; it minimises MLM + `nsp_weight` x NSP. Its metrics are those of METRICS."""

    heads = ("encoder", "pooler", "MLM", "NSP")

    def __init__(
        self, config: dict[str, Any], optimization: Optimization, precision: str, seed: int, nsp_weight: float = 1.0
    ):
        """Build the model of a `bert_config.json`, with weights drawn from the seed."""
        self._nsp_weight = nsp_weight
        super().__init__(config, optimization, precision, seed)
        self._initialize(seed)

    def _initialize(self, seed: int) -> None:
        """Draw every matrix anew, so that attention starts out meaningful instead of uniform.

        Queries and keys start equal (attention begins as similarity), positions start as sinusoids (Vaswani et al.
        2017; neighbours begin near): both shorten the plateau before attention is learned. bert4keras by itself gives
        all matrices of a layer the same values.
        """
        stddev = self.config.get("initializer_range", 0.02)
        for index, variable in enumerate(self._variables):
            if len(variable.shape) > 1:
                variable.assign(tf.random.stateless_truncated_normal(variable.shape, [seed, index], stddev=stddev))
        positions = self._bert.layers["Embedding-Position"].embeddings
        positions.assign(sinusoids(*positions.shape) * stddev)
        for name, layer in self._bert.layers.items():
            if name.endswith("MultiHeadSelfAttention"):
                layer.k_dense.kernel.assign(layer.q_dense.kernel)

    def set_token_embeddings(self, vectors: np.ndarray) -> None:
        """Start from given token embeddings float32 (vocabulary, hidden) of mean square 1; zero rows stay random."""
        table = self._bert.layers["Embedding-Token"].embeddings
        scaled = vectors * self.config["initializer_range"]
        table.assign(np.where(np.any(vectors, axis=1, keepdims=True), scaled, table.numpy()))

    def held_out(self, batches: list[Batch]) -> dict[str, float]:
        """Return the mean of each metric over held-out batches, dropout off; nothing without batches."""
        if not batches:
            return {}
        rows = [self.evaluate(batch.arrays) for batch in batches]
        return dict(zip(METRICS, np.mean(rows, axis=0).tolist(), strict=True))

    def minimised(self, batch: Sequence[Any], training: bool) -> tuple[Any, Any]:
        """Return the loss, and the metrics float32 (4,); `batch` holds the fields of a Batch in their order."""
        token_ids, segment_ids, masked_positions, masked_token_ids, masked_weights, nsp_labels, nsp_weights = batch
        positions = tf.broadcast_to(tf.range(tf.shape(token_ids)[1]), tf.shape(token_ids))
        hidden, pooled = self._encoder([token_ids, segment_ids, positions], training=training)
        masked = tf.gather(tf.reshape(hidden, [-1, self.config["hidden_size"]]), masked_positions)
        mlm = loss_and_accuracy(self._bert.vocabulary_logits(masked), masked_token_ids, masked_weights)
        nsp = loss_and_accuracy(self._bert.next_sentence_logits(pooled), nsp_labels, nsp_weights)
        return mlm[0] + self._nsp_weight * nsp[0], tf.stack([*mlm, *nsp])


def sinusoids(positions: int, width: int) -> np.ndarray:
    """Return the sine and cosine table float32 (positions, width) of Vaswani et al. 2017, section 3.5."""
    rates = 10000.0 ** (-2 * (np.arange(width) // 2) / width)
    angles = np.arange(positions)[:, None] * rates
    return np.where(np.arange(width) % 2, np.cos(angles), np.sin(angles)).astype(np.float32)


def loss_and_accuracy(logits: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    """Return the weighted means of cross-entropy and of hits of logits (n, C) and labels int32 (n,)."""
    total = tf.maximum(tf.reduce_sum(weights), 1.0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    right = tf.cast(tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels, tf.float32)
    return tf.reduce_sum(losses * weights) / total, tf.reduce_sum(right * weights) / total
