"""What few-shot methods minimise, and the arrays that a step takes.

Losses are sums with weights that add up to 1 over a step, so that a step may come in parts. Importing this module
imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from nsp_bert.checkpoints.model_cards import Head
from nsp_bert.environment import import_tensorflow
from nsp_bert.training.loop import Training
from nsp_bert.training.model import StepDropout
from nsp_bert.training.optimization import Optimization, SoftPromptSettings

tf: Any = import_tensorflow()

Loss = Literal["bce", "softmax"]
DROPOUT_SEED = 999  # of the dropout before a classifier, beside those that the layers count


class NextSentenceTraining(Training):
    """Log-odds of pairs by the NSP head, each row having as many `candidates`.

    `bce`: every pair is told to be next or not (binary cross-entropy); `softmax`: the candidates of a row compete.
    A batch is token_ids, segment_ids, position_ids int32 (B, T), targets float32 (B,) and weights float32 (B,); of
    `softmax` the rows' candidates are whole, and a row's weight is that of its first one.
    """

    heads = ("encoder", "pooler", "NSP")

    def __init__(
        self,
        config: dict[str, Any],
        optimization: Optimization,
        precision: str,
        seed: int,
        loss: Loss = "bce",
        candidates: int = 1,
        soft: SoftPromptSettings | None = None,
    ):
        """Build the model of a `bert_config.json`, with soft tokens where they are asked for."""
        super().__init__(config, optimization, precision, seed, soft)
        self._loss, self._candidates = loss, candidates

    def minimised(self, batch: Sequence[Any], training: bool) -> tuple[Any, Any]:
        """Return the loss and, as its metric, the loss (1,)."""
        token_ids, segment_ids, position_ids, targets, weights = batch
        _, pooled = self._encoder([token_ids, segment_ids, position_ids], training=training)
        logits = self._bert.next_sentence_logits(pooled)
        odds = logits[:, 0] - logits[:, 1]
        if self._loss == "bce":
            losses = tf.nn.sigmoid_cross_entropy_with_logits(targets, odds)
        else:
            rows = (tf.reshape(values, [-1, self._candidates]) for values in (targets, odds))
            losses = tf.nn.softmax_cross_entropy_with_logits(*rows)
            weights = weights[:: self._candidates]
        loss = tf.reduce_sum(losses * weights)
        return loss, loss[None]


class MaskedTraining(Training):
    """Tokens at masked places by the MLM head (PET): cross-entropy over the vocabulary.

    A batch is token_ids, segment_ids, position_ids int32 (B, T), places int32 (P,) into the flattened batch, tokens
    int32 (P,) and weights float32 (P,).
    """

    heads = ("encoder", "MLM")

    def minimised(self, batch: Sequence[Any], training: bool) -> tuple[Any, Any]:
        """Return the loss and, as its metric, the loss (1,)."""
        *inputs, places, tokens, weights = batch
        hidden = self._encoder(inputs, training=training)
        masked = tf.gather(tf.reshape(hidden, [-1, self.config["hidden_size"]]), places)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tokens, self._bert.vocabulary_logits(masked))
        loss = tf.reduce_sum(losses * weights)
        return loss, loss[None]


class CausalTraining(MaskedTraining):
    """Tokens by what is before them (GPT): a token is asked for at the place before its own. The batch is the same."""

    causal = True

    def minimised(self, batch: Sequence[Any], training: bool) -> tuple[Any, Any]:
        """Return the loss and, as its metric, the loss (1,)."""
        token_ids, _, *others = batch
        return super().minimised([token_ids, *others], training)


class ClassifierTraining(Training):
    """Classes by a new layer on the pooled [CLS], with dropout before it (BERT, section 4.1): cross-entropy.

    A batch is token_ids, segment_ids, position_ids int32 (B, T), classes int32 (R,) and weights float32 (R,). Where a
    row has several `candidates`, the layer has one class and the candidates of a row compete. With one class alone a
    row is of it (1) or not (0): binary cross-entropy.
    """

    heads: ClassVar[tuple[Head, ...]] = ("encoder", "pooler")  # of the model below the new layer

    def __init__(
        self,
        config: dict[str, Any],
        optimization: Optimization,
        precision: str,
        seed: int,
        classes: int,
        candidates: int = 1,
    ):
        """Build the model of a `bert_config.json`, with a layer drawn from the seed."""
        self._classes, self._candidates = classes, candidates
        super().__init__(config, optimization, precision, seed)

    def _new_layers(self, seed: int) -> list[Any]:
        hidden, deviation = self.config["hidden_size"], self.config.get("initializer_range", 0.02)
        kernel = tf.random.stateless_truncated_normal([hidden, self._classes], [seed, 0], stddev=deviation)
        self._kernel = tf.Variable(kernel, name="classifier/kernel")
        self._bias = tf.Variable(tf.zeros([self._classes]), name="classifier/bias")
        rate = self.config.get("hidden_dropout_prob", 0.1)
        self._dropout = StepDropout(rate, seed=1000 * seed + DROPOUT_SEED, step=self._drawn)
        return [self._kernel, self._bias]

    def minimised(self, batch: Sequence[Any], training: bool) -> tuple[Any, Any]:
        """Return the loss and, as its metric, the loss (1,)."""
        token_ids, segment_ids, position_ids, classes, weights = batch
        _, pooled = self._encoder([token_ids, segment_ids, position_ids], training=training)
        logits = tf.reshape(self._logits(pooled, training), [-1, self._classes * self._candidates])
        if logits.shape[1] == 1:
            losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(classes, tf.float32), logits[:, 0])
        else:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
        loss = tf.reduce_sum(losses * weights)
        return loss, loss[None]

    def _logits(self, states: Any, training: bool) -> Any:
        """Return the logits float32 (B, classes) of states (B, width)."""
        return self._dropout(tf.cast(states, tf.float32), training=training) @ self._kernel + self._bias

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights by Google's names; the classifier's are those of its run_classifier."""
        own = {"output_weights": self._kernel.numpy().T, "output_bias": self._bias.numpy()}
        return super().tensors() | own
