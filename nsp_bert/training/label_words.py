"""What methods minimise that ask a masked language model for a label's word: LM-BFF, ADAPET, TCBert.

They share the first arrays of a batch, of R rows with C candidates whose words have up to n tokens: places int32 (R, n)
of the masks in a row, tokens int32 (R, n, C) of the candidates there, of which -1 is none, labels int32 (R,), the place
of the true candidate, and weights float32 (R,) that add up to 1 over a step. Importing this module imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nsp_bert.environment import import_tensorflow
from nsp_bert.training.loop import Training
from nsp_bert.training.objectives import ClassifierTraining
from nsp_bert.training.optimization import Optimization

tf: Any = import_tensorflow()

LEAST = 1e-30  # a log-probability is at most -LEAST where the logarithm of the rest is taken


class LabelTraining(Training):
    """The candidates of a row compete (LM-BFF): cross-entropy over them of the sum of the logits of their tokens.

    That is the one of the sums of log-probabilities. `product`: of the product of the logits, as FewCLUE's code has it.
    A batch is token_ids, segment_ids, position_ids int32 (R, T), places, tokens, labels and weights.
    """

    heads = ("encoder", "MLM")

    def __init__(
        self, config: dict[str, Any], optimization: Optimization, precision: str, seed: int, product: bool = False
    ):
        """Build the model of a `bert_config.json`."""
        super().__init__(config, optimization, precision, seed)
        self._product = product

    def minimised(self, batch: Sequence[Any], training: bool) -> tuple[Any, Any]:
        """Return the loss and, as its metric, the loss (1,)."""
        token_ids, segment_ids, position_ids, places, tokens, labels, weights = batch
        states = self._encoder([token_ids, segment_ids, position_ids], training=training)
        logits = self._bert.vocabulary_logits(tf.gather(states, places, batch_dims=1))
        own = tf.gather(logits, tf.maximum(tokens, 0), batch_dims=2)
        combine, neutral = (tf.reduce_prod, 1.0) if self._product else (tf.reduce_sum, 0.0)
        scores = combine(tf.where(tokens >= 0, own, neutral), axis=1)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
        loss = tf.reduce_sum(losses * weights)
        return loss, loss[None]


class TopicTraining(ClassifierTraining):
    """The tokens of the label's word, and a new layer on [CLS] without the pooler (TCBert): the sum of both losses.

    Cross-entropy over the vocabulary, the mean over a row's masks, and cross-entropy over the classes. A batch is that
    of LabelTraining; all words have n tokens.
    """

    heads = ("encoder", "MLM")

    def minimised(self, batch: Sequence[Any], training: bool) -> tuple[Any, Any]:
        """Return the loss and, as its metric, the loss (1,)."""
        token_ids, segment_ids, position_ids, places, tokens, labels, weights = batch
        states = self._encoder([token_ids, segment_ids, position_ids], training=training)
        logits = self._bert.vocabulary_logits(tf.gather(states, places, batch_dims=1))
        word = tf.gather(tf.transpose(tokens, [0, 2, 1]), labels, batch_dims=1)
        losses = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(word, logits), axis=1)
        losses += tf.nn.sparse_softmax_cross_entropy_with_logits(labels, self._logits(states[:, 0], training))
        loss = tf.reduce_sum(losses * weights)
        return loss, loss[None]


class ConditionedTraining(Training):
    """Each candidate is told to be the true one or not, and tokens of the text to fit a candidate or not (ADAPET).

    The former by the probability of all of a candidate's tokens: binary cross-entropy, the mean over the candidates.
    The latter by the probability of each token that was masked in the row with some candidate's word in it: the target
    is 1 where that is the true one, 0 else. Both count alike.

    A batch is that of LabelTraining, and then of the rows with a word token_ids, segment_ids, position_ids int32
    (R, T), the places that are masked and the tokens there int32 (R, P), their weights float32 (R, P), which add up to
    1 over a step, and the targets float32 (R,).
    """

    heads = ("encoder", "MLM")

    def minimised(self, batch: Sequence[Any], training: bool) -> tuple[Any, Any]:
        """Return the loss and, as its metric, the loss (1,)."""
        places, tokens, labels, weights = batch[3:7]
        asked_places, asked_tokens, asked_weights, targets = batch[10:]
        both = [tf.concat(pair, axis=0) for pair in zip(batch[:3], batch[7:10], strict=True)]
        with_masks, with_word = tf.split(self._encoder(both, training=training), 2)
        words = tf.reduce_sum(self._log_probabilities(with_masks, places, tokens), axis=1)
        true = tf.one_hot(labels, tf.shape(tokens)[2], on_value=True, off_value=False)
        told = tf.reduce_mean(binary_losses(words, true), axis=1)
        filled = self._log_probabilities(with_word, asked_places, asked_tokens[:, :, None])[:, :, 0]
        fitting = binary_losses(filled, targets[:, None] > 0)
        loss = tf.reduce_sum(told * weights) + tf.reduce_sum(fitting * asked_weights)
        return loss, loss[None]

    def _log_probabilities(self, states: Any, places: Any, tokens: Any) -> Any:
        return log_probabilities(self._bert.vocabulary_logits(tf.gather(states, places, batch_dims=1)), tokens)


def log_probabilities(logits: Any, tokens: Any) -> Any:
    """Return log p (R, n, C) of tokens (R, n, C), 0 where there is none, by logits float32 (R, n, vocabulary).

    Near p = 1 they keep all their digits, which logits less a normaliser lose: that of the likeliest token, the only
    one that can be there, comes from the odds against all others.
    """
    best = tf.argmax(logits, axis=-1, output_type=tf.int32)[:, :, None]
    largest = tf.gather(logits, best, batch_dims=2)
    is_best = tf.one_hot(best[:, :, 0], tf.shape(logits)[-1], on_value=True, off_value=False)
    others = tf.reduce_logsumexp(tf.where(is_best, logits.dtype.min, logits), axis=-1, keepdims=True)
    of_best = -tf.nn.softplus(others - largest)
    found = tf.gather(logits, tf.maximum(tokens, 0), batch_dims=2) - largest + of_best
    return tf.where(tokens >= 0, tf.where(tokens == best, of_best, found), 0.0)


def binary_losses(log_probabilities: Any, true: Any) -> Any:
    """Return -log p where it is true, and -log(1 - p) where it is not, of log p float32 of any shape.

    The gradient of the latter is right for tiny p too, whose own loss rounds to 0.
    """
    against = tf.math.log(-tf.math.expm1(tf.minimum(log_probabilities, -LEAST)))
    return -tf.where(true, log_probabilities, against)
