"""Layer normalisation and GELU, each compiled with its gradient into one pass over memory (benchmarks/README.md).

bert4keras builds them from a dozen element-wise operations, which on a CPU cost a small BERT more time than its matrix
products. TensorFlow keeps what a custom gradient refers to for good: each is inside a function of its own, which knows
its arguments alone and no model. Importing this module imports TensorFlow.
"""

from __future__ import annotations

from typing import Any

from nsp_bert.environment import import_tensorflow

tf: Any = import_tensorflow()

from bert4keras.layers import LayerNormalization  # noqa: E402

SQRT_HALF = 0.5**0.5
NORMAL_PEAK = 0.3989422804014327  # density of the standard normal at 0


def _compiled(function: Any) -> Any:
    """Compile an element-wise function; it computes in float32 and answers in the dtypes of its inputs."""
    return tf.function(function, jit_compile=True, autograph=False)


@_compiled
def _gelu(inputs: Any) -> Any:
    x = tf.cast(inputs, tf.float32)
    return tf.cast(0.5 * x * (1 + tf.math.erf(x * SQRT_HALF)), inputs.dtype)


@_compiled
def _gelu_gradient(inputs: Any, upstream: Any) -> Any:
    x = tf.cast(inputs, tf.float32)
    slope = 0.5 * (1 + tf.math.erf(x * SQRT_HALF)) + x * tf.exp(-0.5 * x * x) * NORMAL_PEAK
    return tf.cast(tf.cast(upstream, tf.float32) * slope, inputs.dtype)


@tf.function(autograph=False)
@tf.custom_gradient
def gelu(inputs: Any) -> Any:
    """Return the exact GELU (by erf) of any float tensor."""
    return _gelu(inputs), lambda upstream: _gelu_gradient(inputs, upstream)


def _standardize(inputs: Any, epsilon: float) -> tuple[Any, Any]:
    """Return (standardised inputs, inverse deviation) over the last axis, float32."""
    x = tf.cast(inputs, tf.float32)
    centered = x - tf.reduce_mean(x, -1, keepdims=True)
    scale = tf.math.rsqrt(tf.reduce_mean(centered * centered, -1, keepdims=True) + epsilon)
    return centered * scale, scale


@_compiled
def _layer_norm(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    normal, _ = _standardize(inputs, epsilon)
    return tf.cast(normal * tf.cast(gamma, tf.float32) + tf.cast(beta, tf.float32), inputs.dtype)


@_compiled
def _layer_norm_gradient(inputs: Any, gamma: Any, upstream: Any, epsilon: float) -> tuple[Any, Any, Any]:
    normal, scale = _standardize(inputs, epsilon)
    upstream = tf.cast(upstream, tf.float32)
    rows = list(range(len(inputs.shape) - 1))
    slope = upstream * tf.cast(gamma, tf.float32)
    slope -= tf.reduce_mean(slope, -1, keepdims=True) + normal * tf.reduce_mean(slope * normal, -1, keepdims=True)
    to_gamma, to_beta = tf.reduce_sum(upstream * normal, rows), tf.reduce_sum(upstream, rows)
    return tf.cast(scale * slope, inputs.dtype), tf.cast(to_gamma, gamma.dtype), tf.cast(to_beta, gamma.dtype)


@tf.function(autograph=False)
@tf.custom_gradient
def layer_norm(inputs: Any, gamma: Any, beta: Any, epsilon: Any) -> Any:
    """Return the inputs (…, width) normalised over their last axis, in their dtype; epsilon is a scalar tensor."""

    def gradient(upstream: Any) -> tuple[Any, ...]:
        return *_layer_norm_gradient(inputs, gamma, upstream, epsilon), tf.zeros_like(epsilon)

    return _layer_norm(inputs, gamma, beta, epsilon), gradient


class FusedLayerNormalization(LayerNormalization):
    """bert4keras' layer normalisation, forward and backward in one pass each."""

    def call(self, inputs: Any) -> Any:
        """Return the inputs (…, width) normalised over their last axis, in their dtype."""
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        return layer_norm(inputs, gamma, beta, tf.constant(self.epsilon, tf.float32))
