"""The embeddings of soft tokens while they are trained (P-tuning: Liu et al. 2021, section 3.2).

Importing this module imports TensorFlow.
"""

from __future__ import annotations

from typing import Any

from nsp_bert.environment import import_tensorflow
from nsp_bert.training.optimization import SoftPromptSettings

tf: Any = import_tensorflow()

PROMPT_SEED = 998  # of the first embeddings, beside those that the model's layers count


class PromptEncoder:
    """A table of embeddings, with the encoder `lstm` on their way through an LSTM and an MLP as wide as the model.

    After training the encoder is of no use any more: what it returns is all that is kept of it.
    """

    def __init__(self, settings: SoftPromptSettings, width: int, deviation: float, seed: int):
        """Draw the first embeddings with a standard deviation, and the encoder's weights as Keras does."""
        self.insert, self.freeze = settings.insert, settings.freeze
        shape = [settings.count, width]
        first = tf.random.stateless_truncated_normal(shape, [seed, PROMPT_SEED], stddev=deviation)
        self.table = tf.Variable(first, name="soft_prompt/table")
        self.layers = _lstm_and_mlp(width) if settings.encoder == "lstm" else []
        self()  # makes the layers' variables

    @property
    def variables(self) -> list[Any]:
        """All that is trained."""
        return [self.table, *(variable for layer in self.layers for variable in layer.trainable_variables)]

    def __call__(self) -> Any:
        """Return the embeddings float32 (N, width)."""
        rows = self.table[None]
        for layer in self.layers:
            rows = layer(rows)
        return rows[0]

    def put_into(self, embeddings: Any, places: Any) -> Any:
        """Return embeddings (B, T, width) with those of the soft tokens of places int32 (B, T); below 0 is none."""
        rows = tf.gather(tf.cast(self(), embeddings.dtype), tf.maximum(places, 0))
        return tf.where((places >= 0)[..., None], rows, embeddings)


def _lstm_and_mlp(width: int) -> list[Any]:
    """Return the layers, all in float32; each direction of the LSTM has half of the width."""
    layers, kept = tf.keras.layers, {"dtype": "float32"}
    directions = [layers.LSTM(width // 2, return_sequences=True, **kept) for _ in range(2)]
    lstm = [layers.Bidirectional(one, **kept) for one in directions]
    return [*lstm, layers.Dense(width, activation="relu", **kept), layers.Dense(width, **kept)]
