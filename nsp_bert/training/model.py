"""bert4keras' BERT with the heads that are asked for, and with dropout that a resumed run repeats exactly.

Importing this module imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nsp_bert.checkpoints.model_cards import Head
from nsp_bert.environment import build_quietly, import_tensorflow

tf: Any = import_tensorflow()

from bert4keras.backend import attention_normalize, keras  # noqa: E402
from bert4keras.layers import Dropout, Embedding, LayerNormalization, MultiHeadAttention  # noqa: E402
from bert4keras.models import BERT, LM_Mask  # noqa: E402

from nsp_bert.training.fused_layers import FusedLayerNormalization, gelu  # noqa: E402
from nsp_bert.training.soft_tokens import PromptEncoder  # noqa: E402

LEVELS = 2**16  # that a rate of dropout is rounded to


class StepDropout(keras.layers.Layer):
    """Dropout whose mask follows from a seed and the step counter, not from a generator's hidden state.

    Two places share a random number of 32 bits, since drawing them is what dropout costs on a CPU.
    """

    def __init__(self, rate: float, seed: int, step: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self._rate, self._seed, self._count = rate, seed, step
        self.supports_masking = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Drop in training, pass through otherwise; any shape, any float dtype."""
        if not training:
            return inputs
        seed = tf.stack([tf.constant(self._seed, tf.int64), tf.cast(self._count, tf.int64)])
        size = tf.size(inputs)
        pairs = tf.random.stateless_uniform([(size + 1) // 2], seed, None, None, tf.int32)
        drawn = tf.reshape(tf.reshape(tf.bitcast(pairs, tf.int16), [-1])[:size], tf.shape(inputs))
        dropped = min(round(self._rate * LEVELS), LEVELS - 1)
        kept = drawn >= tf.constant(dropped - LEVELS // 2, tf.int16)
        return tf.where(kept, inputs / (1 - self._rate), tf.zeros([], inputs.dtype))


class TiedEmbedding(Embedding):
    """bert4keras' token embedding whose use as output layer follows the precision of its input.

    `soft` has the embeddings of the ids behind the vocabulary, which the output layer knows nothing of. Where they come
    in after all else, a word's is in their place here.
    """

    def __init__(self, soft: PromptEncoder | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._soft = soft

    def call(self, inputs: Any, mode: str = "embedding") -> Any:
        """Return embeddings of ids, or for `mode="dense"` logits (…, vocabulary) of hidden states (…, width)."""
        if mode == "embedding" and self._soft:
            ids = tf.cast(inputs, tf.int32)
            words = super().call(tf.minimum(ids, self.input_dim - 1))
            return words if self._soft.insert == "after" else self._soft.put_into(words, ids - self.input_dim)
        if mode == "embedding":
            return super().call(inputs)
        return tf.tensordot(inputs, tf.cast(self.embeddings, inputs.dtype), [[-1], [1]])


class StepDropoutAttention(MultiHeadAttention):
    """bert4keras' multi-head attention with StepDropout on the attention weights."""

    def __init__(self, dropout: StepDropout, **kwargs: Any):
        super().__init__(**kwargs)
        self._dropout = dropout

    def pay_attention_to(self, inputs: list, mask: list, **_: Any) -> tuple[Any, Any]:
        """Return (values (B, T, heads, size), weights (B, heads, T, T)) for queries, keys and values.

        A fourth input, bool (T, T), tells which keys a query sees.
        """
        queries, keys, values, *seen = inputs
        scores = tf.einsum("bjhd,bkhd->bhjk", queries, keys) / self.key_size**0.5
        weights = self._dropout(attention_normalize(scores, mask[1], bias=seen[0] if seen else None))
        return tf.einsum("bhjk,bkhd->bjhd", weights, values), weights


class SoftRows(keras.layers.Layer):
    """The embeddings of all tokens (B, T, width), with those of the soft tokens put in: ids from `first` on."""

    def __init__(self, soft: PromptEncoder, first: int, **kwargs: Any):
        super().__init__(**kwargs)
        self._soft, self._first = soft, first

    def call(self, inputs: Any) -> Any:
        """Return them for [ids (B, T), embeddings]."""
        ids, embeddings = inputs
        return self._soft.put_into(embeddings, tf.cast(ids, tf.int32) - self._first)

    def compute_mask(self, _inputs: Any, mask: Any = None) -> Any:
        """Return which tokens there are, as the embeddings say it."""
        return mask[1]


class FirstPlace(keras.layers.Layer):
    """The state of the first place, [CLS], of all: (B, T, width) -> (B, 1, width)."""

    def call(self, inputs: Any) -> Any:
        """Return it."""
        return inputs[:, :1]

    def compute_mask(self, _inputs: Any, mask: Any = None) -> Any:
        """Return whether it is a token."""
        return None if mask is None else mask[:, :1]


class TrainedBERT(BERT):
    """BERT that takes its dropout masks from a step counter (a tf.Variable, int64), and may have soft tokens.

    Without an MLM head the last layer computes [CLS] alone, which is all that a pooler reads: a twelfth less of base.
    """

    def __init__(self, step: Any, seed: int, soft: PromptEncoder | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._count, self._seed, self._soft = step, seed, soft
        self._last_attention = f"Transformer-{self.num_hidden_layers - 1}-MultiHeadSelfAttention"

    def apply(self, inputs: Any = None, layer: Any = None, arguments: Any = None, **kwargs: Any) -> Any:
        """Build or reuse a layer as bert4keras does, with this module's layers in the place of its own."""
        if not self.with_mlm and kwargs["name"] in (self._last_attention, f"{self._last_attention}-Add"):
            inputs = [super().apply(inputs[0], FirstPlace, name="First-Place"), *inputs[1:]]
        if layer is Dropout and self.dropout_rate:
            layer, kwargs = StepDropout, self._dropout_arguments(kwargs["rate"], kwargs["name"])
        elif layer is MultiHeadAttention and kwargs.pop("attention_dropout", 0):
            dropout = StepDropout(**self._dropout_arguments(self.attention_dropout_rate, f"{kwargs['name']}-Weights"))
            layer, kwargs = StepDropoutAttention, kwargs | {"dropout": dropout}
        elif layer is Embedding:
            prompt = {"soft": self._soft} if kwargs["name"] == "Embedding-Token" else {}
            layer, kwargs = TiedEmbedding, kwargs | prompt
        elif layer is LayerNormalization:
            layer = FusedLayerNormalization
        output = super().apply(inputs, layer, arguments, **kwargs)
        if self._soft and self._soft.insert == "after" and kwargs["name"] == "Embedding-Norm":
            own = {"soft": self._soft, "first": self.vocab_size, "name": "Embedding-Soft"}
            return super().apply([self.inputs[0], output], SoftRows, **own)
        return output

    def vocabulary_logits(self, hidden: Any) -> Any:
        """Return the MLM head's logits float32 (…, vocabulary) of states (…, width)."""
        hidden = self.layers["MLM-Norm"](self.layers["MLM-Dense"](hidden))
        logits = self.layers["Embedding-Token"](hidden, mode="dense")
        return tf.cast(self.layers["MLM-Bias"](logits), tf.float32)

    def next_sentence_logits(self, pooled: Any) -> Any:
        """Return the NSP head's logits float32 (B, 2) of pooled states (B, width): IsNext, NotNext."""
        head = self.layers["NSP-Proba"]
        return tf.cast(pooled, tf.float32) @ head.kernel + head.bias

    def _dropout_arguments(self, rate: float, name: str) -> dict[str, Any]:
        number = 1 + sum(isinstance(layer, (StepDropout, StepDropoutAttention)) for layer in self.layers.values())
        return {"rate": rate, "name": name, "seed": 1000 * self._seed + number, "step": self._count}


class CausalBERT(LM_Mask, TrainedBERT):
    """The same, each place of which sees itself and those before it."""


def build_bert(
    config: dict[str, Any],
    heads: Sequence[Head],
    step: Any,
    seed: int,
    soft: PromptEncoder | None = None,
    causal: bool = False,
) -> TrainedBERT:
    """Return the model of a `bert_config.json` with some heads; dropout is drawn from seed and step.

    With `soft` the ids behind the vocabulary are those of its soft tokens; `causal` has each place see none behind it.
    Its inputs are token_ids, segment_ids if there are any in the configuration, and position_ids, int32 (B, T) each.
    """
    bert = (CausalBERT if causal else TrainedBERT)(
        step,
        seed,
        soft,
        **config,
        max_position=config["max_position_embeddings"],
        segment_vocab_size=config.get("type_vocab_size", 2),
        custom_position_ids=True,
        dropout_rate=config.get("hidden_dropout_prob", 0.1),
        attention_dropout_rate=config.get("attention_probs_dropout_prob", 0.1),
        with_pool="pooler" in heads,
        with_nsp="NSP" in heads,
        with_mlm="MLM" in heads,
    )
    if bert.hidden_act == "gelu":
        bert.hidden_act = gelu
    build_quietly(bert)
    return bert
