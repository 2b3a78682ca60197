"""The weights that a score depends on, read through bert4keras and cast once.

Importing this module imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.checkpoints.model_cards import Head
from nsp_bert.checkpoints.shapes import CLASSIFIER, SOFT_EMBEDDINGS
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError, first_line

tf: Any = import_tensorflow()

from bert4keras.models import BERT  # noqa: E402

EPSILON = 1e-12  # of the layer normalisation, as in the original code
CLASSIFIER_LAYER, SOFT_LAYER = "Classifier", "Soft-Prompt"  # bert4keras has neither
KERNEL_SIZE = 768 * 768  # entries; a feed-forward kernel is cut into pieces that stay in a core's cache


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


class NextSentence(NamedTuple):
    """The NSP head with the pooler; the single column of `odds` is IsNext less NotNext."""

    pooler: Dense
    odds: Dense


class Classifier(NamedTuple):
    """A trained classifier with the pooler, or nothing in its place; `logits` has a column for every class."""

    pooler: Dense | tuple[()]
    logits: Dense


class Vocabulary(NamedTuple):
    """The MLM head: what a position goes through before it meets the token embeddings, and the bias of each token."""

    transform: Dense
    norm: Norm
    bias: Any


class Weights(NamedTuple):
    """Everything that a score depends on; `head` is a NextSentence, a Classifier, a Vocabulary or nothing.

    `head` is what the output needs; `segments` are nothing where the checkpoint has none, and so is `soft`: the
    embeddings of the last tokens, where they come in after `norm`.
    """

    tokens: Any
    segments: Any
    positions: Any
    norm: Norm
    soft: Any
    layers: list[Layer]
    head: Any


def load_weights(checkpoint: Checkpoint, precision: str, head: Head) -> Weights:
    """Return the checkpoint's weights with the head that an output needs, cast once.

    They are float32 in normalisation, pooler and heads, else in `precision`. Raises UserError when they cannot be read
    or do not fit the configuration.
    """
    try:
        read = _read_layers(checkpoint, head)
        layers = [_layer(read, index, checkpoint, precision) for index in range(checkpoint.config["num_hidden_layers"])]
        tokens, positions = (_variable(read[f"Embedding-{name}"][0], precision) for name in ("Token", "Position"))
        segments = _variable(read["Embedding-Segment"][0], precision) if checkpoint.config["type_vocab_size"] else ()
        norm = _norm(read["Embedding-Norm"])
        soft = _variable(read[SOFT_LAYER][0], precision) if SOFT_LAYER in read else ()
        return Weights(tokens, segments, positions, norm, soft, layers, READ_HEAD[head](read))
    except (tf.errors.OpError, ValueError, LookupError, RuntimeError) as error:
        raise UserError(
            f"{checkpoint.prefix}: weights cannot be loaded ({first_line(error)}); fetch the checkpoint again"
        ) from error


def assign_weights(held: Weights, others: Weights) -> bool:
    """Give variables the values of other weights of the same shapes, and return whether they have them.

    Where they do not, nothing changes.
    """
    variables, values = tf.nest.flatten(held), tf.nest.flatten(others)
    if [one.shape for one in variables] != [one.shape for one in values]:
        return False
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return True


def _next_sentence(read: dict[str, list[np.ndarray]]) -> NextSentence:
    kernel, bias = read["NSP-Proba"]
    odds = _dense([kernel[:, :1] - kernel[:, 1:], bias[:1] - bias[1:]], "float32")
    return NextSentence(_dense(read["Pooler-Dense"], "float32"), odds)


def _classifier(read: dict[str, list[np.ndarray]]) -> Classifier:
    weights, bias = read[CLASSIFIER_LAYER]
    pooler = _dense(read["Pooler-Dense"], "float32") if "Pooler-Dense" in read else ()
    return Classifier(pooler, _dense([weights.T, bias], "float32"))


def _vocabulary(read: dict[str, list[np.ndarray]]) -> Vocabulary:
    (bias,) = read["MLM-Bias"]
    return Vocabulary(_dense(read["MLM-Dense"], "float32"), _norm(read["MLM-Norm"]), _variable(bias))


READ_HEAD: dict[Head, Callable[[dict[str, list[np.ndarray]]], NextSentence | Classifier | Vocabulary | tuple[()]]] = {
    "NSP": _next_sentence,
    "MLM": _vocabulary,
    "classifier": _classifier,
    "encoder": lambda _: (),
}


def _read_layers(checkpoint: Checkpoint, head: Head) -> dict[str, list[np.ndarray]]:
    """Return bert4keras' layer name -> float32 arrays in that layer's order, and what it has no layer for."""
    config = checkpoint.config | {"hidden_act": "linear"}
    bert = BERT(**config, max_position=checkpoint.max_position, with_nsp=head == "NSP", with_mlm=head == "MLM")
    reader = tf.train.load_checkpoint(str(checkpoint.prefix))
    mapping = bert.variable_mapping() | {CLASSIFIER_LAYER: [*CLASSIFIER], SOFT_LAYER: [SOFT_EMBEDDINGS]}
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
