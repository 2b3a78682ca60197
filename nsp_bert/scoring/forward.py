"""The forward pass from token ids to scores, as one function of plain TensorFlow operations.

The numbers equal those of bert4keras' Keras model (tests/scoring/test_forward.py). Written out, the pass does only what
the scores need (the last layer for [CLS] alone, without keys and values, or for the places that are read), casts the
weights once, and leaves TensorFlow and OpenVINO patterns that they fuse (benchmarks/README.md has the figures).
Importing this module imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError
from nsp_bert.scoring.outputs import READS, Output
from nsp_bert.scoring.weights import Classifier, Layer, NextSentence, Vocabulary, Weights

tf: Any = import_tensorflow()

MASKED = 1e4  # subtracted from the score of a key that is not seen: its softmax weight is exactly 0 in every precision
SQRT_2 = 2**0.5


def gelu(x: Any) -> Any:
    """Return the exact GELU (by erf), spelled as OpenVINO recognises it."""
    return (0.5 * x) * (1 + tf.math.erf(x / SQRT_2))


def gelu_tanh(x: Any) -> Any:
    """Return GELU's approximation by tanh."""
    return tf.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "swish": tf.nn.silu,
    "silu": tf.nn.silu,
}


def signature(output: Output) -> dict[str, Any]:
    """Return the specifications of a pass's arguments by their names, all int32.

    token_ids, segment_ids, position_ids (B, T), padding has token id 0; where tokens are read also places (B, P) and
    tokens (B, P, C), of which -1 adds nothing.
    """
    ids = tf.TensorSpec([None, None], tf.int32)
    inputs = dict.fromkeys(("token_ids", "segment_ids", "position_ids"), ids)
    return inputs | ({"places": ids, "tokens": tf.TensorSpec([None, None, None], tf.int32)} if output in READS else {})


@dataclass(frozen=True)
class Pass:
    """The pass of a model, step by step; padding has token id 0.

    Called with token_ids, segment_ids, position_ids int32 (B, T), and where tokens are read with places (B, P) and
    tokens (B, P, C), it returns float32: log-odds (B,), sums of log-probabilities or products of logits (B, C), means
    (B, width), or logits (B, C).
    """

    embed: Callable[..., Any]
    layers: list[Callable[..., Any]]
    last: Callable[..., Any]
    answer: Callable[..., Any]

    def __call__(self, token_ids: Any, segment_ids: Any, position_ids: Any, *reads: Any) -> Any:
        """Return the scores."""
        x, mask = self.embed(token_ids, segment_ids, position_ids)
        for layer in self.layers:
            x = layer(x, mask)
        places, tokens = reads[:1], reads[1:]
        return self.answer(self.last(x, mask, *places), mask, *tokens)


def make_pass(
    checkpoint: Checkpoint, weights: Weights, output: Output, compiled: Callable[..., Callable[..., Any]]
) -> Pass:
    """Return the pass of a model that ends in an output.

    `compiled` is called with each step of the pass (embeddings, every layer, the answer) and the specifications of
    its arguments, and returns what is run in its place. Raises UserError for an activation that is not known.
    """
    name = checkpoint.config["hidden_act"]
    if name not in ACTIVATIONS:
        raise UserError(
            f"{checkpoint.folder / 'bert_config.json'}: hidden_act {name!r} is not known, only {', '.join(ACTIVATIONS)}"
        )
    activation, heads = ACTIVATIONS[name], checkpoint.config["num_attention_heads"]
    ids, _, _, *reads = signature(output).values()
    states = tf.TensorSpec([None, weights.tokens.shape[1]], weights.tokens.dtype)
    mask = tf.TensorSpec([None, 1, None if output == "causal" else 1, None], weights.tokens.dtype)
    *others, last = (partial(run_layer, layer, activation, heads) for layer in weights.layers)
    ends: dict[Output, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "next-sentence": (partial(last, mix=attend_from_cls), partial(log_odds, weights.head)),
        "masked": (last, partial(log_probabilities, weights.head, weights.tokens, activation)),
        "masked-product": (last, partial(logit_products, weights.head, weights.tokens, activation)),
        "causal": (last, partial(log_probabilities, weights.head, weights.tokens, activation)),
        "mean": (last, mean),
        "classes": (partial(last, mix=attend_from_cls), partial(class_logits, weights.head)),
    }
    end, answer = ends[output]
    return Pass(
        compiled(partial(embed_causally if output == "causal" else embed, weights), ids, ids, ids),
        [compiled(layer, states, mask) for layer in others],
        compiled(end, states, mask, *reads[:1]),
        compiled(answer, states, mask, *reads[1:]),
    )


def embed(weights: Weights, token_ids: Any, segment_ids: Any, position_ids: Any) -> tuple[Any, Any]:
    """Return the embeddings (B * T, width), and what is subtracted from the attention scores (B, 1, 1, T)."""
    x = tf.gather(weights.tokens, token_ids) + tf.gather(weights.segments, segment_ids)
    x = tf.reshape(x + tf.gather(weights.positions, position_ids), [-1, weights.tokens.shape[1]])
    mask = tf.cast(tf.where(token_ids > 0, 0.0, MASKED), x.dtype)
    return with_soft(weights, weights.norm(x), token_ids), mask[:, None, None, :]


def embed_causally(weights: Weights, token_ids: Any, _: Any, position_ids: Any) -> tuple[Any, Any]:
    """Return the same without segments, and for each place what is subtracted for those behind it (B, 1, T, T)."""
    x = tf.gather(weights.tokens, token_ids) + tf.gather(weights.positions, position_ids)
    steps = tf.range(tf.shape(token_ids)[1])
    seen = (token_ids > 0)[:, None, None, :] & (steps[:, None] >= steps)
    x = with_soft(weights, weights.norm(tf.reshape(x, [-1, weights.tokens.shape[1]])), token_ids)
    return x, tf.cast(tf.where(seen, 0.0, MASKED), x.dtype)


def with_soft(weights: Weights, x: Any, token_ids: Any) -> Any:
    """Return the embeddings (B * T, width), with those of soft tokens that come in after all else."""
    if isinstance(weights.soft, tuple):
        return x
    places = tf.reshape(token_ids, [-1]) - (weights.tokens.shape[0] - weights.soft.shape[0])
    return tf.where((places >= 0)[:, None], tf.gather(weights.soft, tf.maximum(places, 0)), x)


def run_layer(
    layer: Layer,
    activation: Callable[[Any], Any],
    heads: int,
    x: Any,
    mask: Any,
    places: Any = None,
    mix: Callable[..., tuple[Any, Any]] | None = None,
) -> Any:
    """Return what a layer makes of x (B * T, width): as many rows, or those at places (B, P), (B * P, width).

    `mix` returns the rows and what they mix, in the place of `attend`.
    """
    x, mixed = (mix or attend)(layer, x, mask, heads, places)
    x = y = layer.attention_norm(x + layer.output(mixed))
    for up, down in layer.forward:
        y += down(activation(up(x)))
    return layer.norm(y)


def attend(layer: Layer, x: Any, mask: Any, heads: int, places: Any) -> tuple[Any, Any]:
    """Return x (B * T, width), or its rows at places (B, P), and the values that each of them mixes.

    `mask` (B, 1, 1 or T, T) is subtracted from the scores: were it added, OpenVINO would know the pattern and transpose
    the keys the slow way.
    """
    rows, width = tf.shape(mask)[0], x.shape[-1]
    key, value = (_by_head(project(x), rows, heads) for project in (layer.key, layer.value))
    if places is not None:
        x = tf.reshape(tf.gather(tf.reshape(x, [rows, -1, width]), places, batch_dims=1), [-1, width])
        mask = mask if mask.shape[2] == 1 else tf.gather(mask[:, 0], places, batch_dims=1)[:, None]
    shares = tf.nn.softmax(tf.matmul(_by_head(layer.query(x), rows, heads), key, transpose_b=True) - mask)
    return x, tf.reshape(tf.transpose(tf.matmul(shares, value), [0, 2, 1, 3]), [-1, width])


def _by_head(x: Any, rows: Any, heads: int) -> Any:
    """Return x (B * T, width) as (B, heads, T, width / heads)."""
    return tf.transpose(tf.reshape(x, [rows, -1, heads, x.shape[-1] // heads]), [0, 2, 1, 3])


def attend_from_cls(layer: Layer, x: Any, mask: Any, heads: int, _: Any) -> tuple[Any, Any]:
    """Return the [CLS] positions (B, width), and what they mix, by heads that go to the states and back.

    One query per row meets the states themselves: its product with the keys' kernel takes their place, and the values'
    kernel what it has mixed. The keys' bias adds the same to every score, which softmax does not see.
    """
    states = tf.reshape(x, [tf.shape(mask)[0], -1, x.shape[-1]])
    rows, width = tf.shape(states)[0], states.shape[-1]
    query = tf.reshape(layer.query(states[:, 0]), [rows, heads, width // heads])
    key, value = (tf.reshape(dense.kernel, [width, heads, width // heads]) for dense in (layer.key, layer.value))
    scores = tf.matmul(tf.einsum("rhd,whd->rhw", query, key), states, transpose_b=True) - mask[:, 0]
    mixed = tf.matmul(tf.nn.softmax(scores), states)
    mixed = tf.nn.bias_add(tf.reshape(tf.einsum("rhw,whd->rhd", mixed, value), [rows, width]), layer.value.bias)
    return states[:, 0], mixed


def log_odds(head: NextSentence, x: Any, _: Any) -> Any:
    """Return the log-odds float32 (B,) of the last layer's [CLS] positions (B, width)."""
    return head.odds(tf.tanh(head.pooler(tf.cast(x, tf.float32))))[:, 0]


def class_logits(head: Classifier, x: Any, _: Any) -> Any:
    """Return the logits float32 (B, C) of the last layer's [CLS] positions (B, width), through a pooler if any."""
    states = tf.cast(x, tf.float32)
    return head.logits(tf.tanh(head.pooler(states)) if head.pooler else states)


def log_probabilities(
    head: Vocabulary, embeddings: Any, activation: Callable[[Any], Any], x: Any, _: Any, tokens: Any
) -> Any:
    """Return for each candidate the sum (B, C) of its tokens' log-probabilities, of the read places (B * P, width).

    tokens (B, P, C) are a candidate's at each place. The whole vocabulary is computed: next to the layers below, a few
    places cost nothing.
    """
    logits = vocabulary_logits(head, embeddings, activation, x)
    return tf.reduce_sum(_of_tokens(tf.nn.log_softmax(logits), tokens, 0.0), axis=1)


def logit_products(
    head: Vocabulary, embeddings: Any, activation: Callable[[Any], Any], x: Any, _: Any, tokens: Any
) -> Any:
    """Return for each candidate the product (B, C) of its tokens' logits, of the read places (B * P, width)."""
    return tf.reduce_prod(_of_tokens(vocabulary_logits(head, embeddings, activation, x), tokens, 1.0), axis=1)


def vocabulary_logits(head: Vocabulary, embeddings: Any, activation: Callable[[Any], Any], x: Any) -> Any:
    """Return the logits float32 (n, vocabulary) of the last layer's positions (n, width)."""
    x = head.norm(activation(head.transform(tf.cast(x, tf.float32))))
    logits = tf.matmul(tf.cast(x, embeddings.dtype), embeddings, transpose_b=True)
    return tf.nn.bias_add(tf.cast(logits, tf.float32), head.bias)


def _of_tokens(values: Any, tokens: Any, neutral: float) -> Any:
    """Return the values (B, P, C) of tokens (B, P, C) among (B * P, vocabulary), `neutral` for -1."""
    shape = tf.shape(tokens)
    wanted = tf.reshape(tokens, [-1, shape[2]])
    found = tf.gather(values, tf.maximum(wanted, 0), batch_dims=1)
    return tf.reshape(tf.where(wanted >= 0, found, neutral), shape)


def mean(x: Any, mask: Any) -> Any:
    """Return the means float32 (B, width) of x (B * T, width) over the tokens that are no padding."""
    rows, width = tf.shape(mask)[0], x.shape[-1]
    there = tf.cast(mask[:, 0, 0, :, None] < MASKED / 2, tf.float32)
    states = tf.reshape(tf.cast(x, tf.float32), [rows, -1, width])
    return tf.reduce_sum(states * there, axis=1) / tf.reduce_sum(there, axis=1)
