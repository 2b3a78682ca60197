"""The forward pass from token ids to IsNext log-odds, as one function of plain TensorFlow operations.

The weights come through bert4keras, the numbers equal those of its Keras model (tests/scoring/test_forward.py). Written
out, the pass does only what the score needs (the last layer for [CLS] alone, without keys and values), casts the
weights once, and leaves TensorFlow and OpenVINO patterns that they fuse (benchmarks/README.md has the figures).
Importing this module imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError, first_line

tf: Any = import_tensorflow()

from bert4keras.models import BERT  # noqa: E402

EPSILON = 1e-12  # of the layer normalisation, as in the original code
MASKED = 1e4  # subtracted from the score of a padded key: its softmax weight is exactly 0 in every precision
KERNEL_SIZE = 768 * 768  # entries; a feed-forward kernel is cut into pieces that stay in a core's cache
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


class Dense(NamedTuple):
    """Kernel (inputs, outputs) and bias (outputs,)."""

    kernel: Any
    bias: Any

    def __call__(self, x: Any) -> Any:
        """Return x (n, inputs) -> (n, outputs)."""
        return tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias)


class Norm(NamedTuple):
    """Layer normalisation over the last axis, computed in float32; the order of the fields is bert4keras'."""

    beta: Any
    gamma: Any

    def __call__(self, x: Any) -> Any:
        """Return x (n, width) normalised, in its dtype."""
        exact = tf.cast(x, tf.float32)
        centered = exact - tf.reduce_mean(exact, [-1], keepdims=True)
        deviation = tf.sqrt(tf.reduce_mean(centered * centered, [-1], keepdims=True) + EPSILON)
        return tf.cast(centered / deviation * self.gamma + self.beta, x.dtype)


class Layer(NamedTuple):
    """One Transformer layer; the queries are scaled already.

    `forward` holds the feed-forward's inner columns in pieces, each with its way up to them and back down to the width.
    """

    query: Dense
    key: Dense
    value: Dense
    output: Dense
    attention_norm: Norm
    forward: list[tuple[Dense, Dense]]
    norm: Norm


class Weights(NamedTuple):
    """Everything that a score depends on. `head` gives the log-odds: its single column is IsNext less NotNext."""

    tokens: Any
    segments: Any
    positions: Any
    norm: Norm
    layers: list[Layer]
    pooler: Dense
    head: Dense


def load_weights(checkpoint: Checkpoint, precision: str) -> Weights:
    """Return the checkpoint's weights, cast once: float32 in normalisation, pooler and head, else in `precision`.

    Raises UserError when they cannot be read or do not fit the configuration.
    """
    try:
        read = _read_layers(checkpoint)
        layers = [_layer(read, index, checkpoint, precision) for index in range(checkpoint.config["num_hidden_layers"])]
        tokens, segments, positions = (
            _variable(read[f"Embedding-{name}"][0], precision) for name in ("Token", "Segment", "Position")
        )
        kernel, bias = read["NSP-Proba"]
        head = _dense([kernel[:, :1] - kernel[:, 1:], bias[:1] - bias[1:]], "float32")
        norm, pooler = _norm(read["Embedding-Norm"]), _dense(read["Pooler-Dense"], "float32")
        return Weights(tokens, segments, positions, norm, layers, pooler, head)
    except (tf.errors.OpError, ValueError, LookupError, RuntimeError) as error:
        raise UserError(
            f"{checkpoint.prefix}: weights cannot be loaded ({first_line(error)}); fetch the checkpoint again"
        ) from error


def _read_layers(checkpoint: Checkpoint) -> dict[str, list[np.ndarray]]:
    """Return bert4keras' layer name -> float32 arrays in that layer's order."""
    config = checkpoint.config | {"hidden_act": "linear"}
    bert = BERT(**config, max_position=checkpoint.max_position, with_nsp=True)
    reader = tf.train.load_checkpoint(str(checkpoint.prefix))
    mapping = bert.variable_mapping()
    there = {layer: names for layer, names in mapping.items() if all(map(reader.has_tensor, names))}
    stored = {name: reader.get_tensor(name) for names in there.values() for name in names}
    return {layer: [bert.load_variable(stored, name) for name in names] for layer, names in there.items()}


def _layer(read: dict[str, list[np.ndarray]], index: int, checkpoint: Checkpoint, precision: str) -> Layer:
    attention, forward = f"Transformer-{index}-MultiHeadSelfAttention", f"Transformer-{index}-FeedForward"
    query, key, value, output = (read[attention][place : place + 2] for place in range(0, 8, 2))
    scale = (checkpoint.config["hidden_size"] // checkpoint.config["num_attention_heads"]) ** -0.5
    return Layer(
        _dense([part * scale for part in query], precision),
        _dense(key, precision),
        _dense(value, precision),
        _dense(output, precision),
        _norm(read[f"{attention}-Norm"]),
        _forward(read[forward], precision),
        _norm(read[f"{forward}-Norm"]),
    )


def _forward(arrays: list[np.ndarray], precision: str) -> list[tuple[Dense, Dense]]:
    """Return the feed-forward's pieces: as few equal ones as keep every kernel within KERNEL_SIZE."""
    up, up_bias, down, down_bias = arrays
    columns = len(up_bias)
    count = next(n for n in range(1, columns + 1) if columns % n == 0 and up.size <= n * KERNEL_SIZE)
    first_alone = [down_bias, *[np.zeros_like(down_bias)] * (count - 1)]
    parts = zip(np.split(up, count, 1), np.split(up_bias, count), np.split(down, count), first_alone, strict=True)
    return [(_dense(part[:2], precision), _dense(part[2:], precision)) for part in parts]


def _dense(arrays: Sequence[np.ndarray], precision: str) -> Dense:
    """Return a dense layer's weights; reduced ones are no variables but arrays, which become constants of the graph.

    oneDNN packs a constant once and a variable in every call: in bfloat16 that is half of a product's time, in float32
    nothing (benchmarks/README.md).
    """
    kernel, bias = (_variable(array, precision) for array in arrays)
    return Dense(kernel, bias) if precision == "float32" else Dense(kernel.numpy(), bias.numpy())


def _norm(arrays: list[np.ndarray]) -> Norm:
    beta, gamma = arrays
    return Norm(_variable(beta), _variable(gamma))


def _variable(array: np.ndarray, precision: str = "float32") -> Any:
    return tf.Variable(tf.cast(array, precision), trainable=False)


def make_log_odds(
    checkpoint: Checkpoint, weights: Weights, compiled: Callable[..., Callable[..., Any]]
) -> Callable[[Any, Any, Any], Any]:
    """Return token_ids, segment_ids, position_ids int32 (B, T) -> log-odds float32 (B,); padding has token id 0.

    `compiled` is called with each step of the pass (embeddings, every layer, the answer) and the specifications of
    its arguments, and returns what is run in its place. Raises UserError for an activation that is not known.
    """
    name = checkpoint.config["hidden_act"]
    if name not in ACTIVATIONS:
        raise UserError(
            f"{checkpoint.folder / 'bert_config.json'}: hidden_act {name!r} is not known, only {', '.join(ACTIVATIONS)}"
        )
    settings = {"activation": ACTIVATIONS[name], "heads": checkpoint.config["num_attention_heads"]}
    width, dtype = weights.tokens.shape[1], weights.tokens.dtype
    ids, states = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, width], dtype)
    mask_spec = tf.TensorSpec([None, 1, 1, None], dtype)
    embedded, answered = compiled(partial(embed, weights), ids, ids, ids), compiled(partial(answer, weights), states)
    layers = [
        compiled(partial(run_layer, layer, for_cls=layer is weights.layers[-1], **settings), states, mask_spec)
        for layer in weights.layers
    ]

    def log_odds(token_ids: Any, segment_ids: Any, position_ids: Any) -> Any:
        x, mask = embedded(token_ids, segment_ids, position_ids)
        for layer in layers:
            x = layer(x, mask)
        return answered(x)

    return log_odds


def embed(weights: Weights, token_ids: Any, segment_ids: Any, position_ids: Any) -> tuple[Any, Any]:
    """Return the embeddings (B * T, width), and what is subtracted from the attention scores (B, 1, 1, T)."""
    x = tf.gather(weights.tokens, token_ids) + tf.gather(weights.segments, segment_ids)
    x = tf.reshape(x + tf.gather(weights.positions, position_ids), [-1, weights.tokens.shape[1]])
    return weights.norm(x), tf.cast(tf.where(token_ids > 0, 0.0, MASKED), x.dtype)[:, None, None, :]


def run_layer(layer: Layer, x: Any, mask: Any, *, activation: Callable[[Any], Any], heads: int, for_cls: bool) -> Any:
    """Return what a layer makes of x (B * T, width): as many rows, or with `for_cls` the [CLS] positions (B, width)."""
    if for_cls:
        states = tf.reshape(x, [tf.shape(mask)[0], -1, x.shape[-1]])
        x, mixed = states[:, 0], attend_from_cls(layer, states, mask, heads)
    else:
        mixed = attend(layer, x, mask, heads)
    x = y = layer.attention_norm(x + layer.output(mixed))
    for up, down in layer.forward:
        y += down(activation(up(x)))
    return layer.norm(y)


def answer(weights: Weights, x: Any) -> Any:
    """Return the log-odds float32 (B,) of the last layer's [CLS] positions (B, width)."""
    return weights.head(tf.tanh(weights.pooler(tf.cast(x, tf.float32))))[:, 0]


def attend(layer: Layer, x: Any, mask: Any, heads: int) -> Any:
    """Return the values that each of x (B * T, width) mixes, (B * T, width).

    `mask` (B, 1, 1, T) is subtracted from the scores: were it added, OpenVINO would know the pattern and transpose the
    keys the slow way.
    """
    rows, width = tf.shape(mask)[0], x.shape[-1]
    query, key, value = (
        tf.transpose(tf.reshape(project(x), [rows, -1, heads, width // heads]), [0, 2, 1, 3])
        for project in (layer.query, layer.key, layer.value)
    )
    shares = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) - mask)
    return tf.reshape(tf.transpose(tf.matmul(shares, value), [0, 2, 1, 3]), [-1, width])


def attend_from_cls(layer: Layer, states: Any, mask: Any, heads: int) -> Any:
    """Return what [CLS] mixes (B, width) of the states (B, T, width), by heads that go to the states and back.

    One query per row meets the states themselves: its product with the keys' kernel takes their place, and the values'
    kernel what it has mixed. The keys' bias adds the same to every score, which softmax does not see.
    """
    rows, width = tf.shape(states)[0], states.shape[-1]
    query = tf.reshape(layer.query(states[:, 0]), [rows, heads, width // heads])
    key, value = (tf.reshape(dense.kernel, [width, heads, width // heads]) for dense in (layer.key, layer.value))
    scores = tf.matmul(tf.einsum("rhd,whd->rhw", query, key), states, transpose_b=True) - mask[:, 0]
    mixed = tf.matmul(tf.nn.softmax(scores), states)
    return tf.nn.bias_add(tf.reshape(tf.einsum("rhw,whd->rhd", mixed, value), [rows, width]), layer.value.bias)
