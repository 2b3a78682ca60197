"""The layers compiled with their gradients, against TensorFlow's own differentiation of the formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nsp_bert.environment import import_tensorflow

tf = import_tensorflow()

from nsp_bert.training.fused_layers import FusedLayerNormalization, gelu  # noqa: E402

TOLERANCE = {"float32": 1e-5, "bfloat16": 0.05}


def values(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    return tf.constant(np.random.default_rng(seed).normal(size=shape) * 2, dtype)


def gradients(function: Callable[..., Any], *inputs: Any) -> list[np.ndarray]:
    """Return the gradients of a weighted sum of the function's outputs, float32."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(*inputs)
        total = tf.reduce_sum(tf.cast(outputs, tf.float32) * values(outputs.shape, "float32", 9))
    return [np.asarray(tf.cast(one, tf.float32)) for one in tape.gradient(total, inputs)]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gelu_and_its_gradient(dtype: str) -> None:
    inputs = values((3, 5, 8), dtype, 1)
    exact = tf.cast(inputs, tf.float32)
    outputs = gelu(inputs)
    assert outputs.dtype == dtype
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), tf.nn.gelu(exact), atol=TOLERANCE[dtype])
    (found,), (expected,) = gradients(gelu, inputs), gradients(tf.nn.gelu, exact)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype])
    assert np.abs(expected).max() > 0.5


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_layer_normalisation_and_its_gradients(dtype: str) -> None:
    inputs, gamma, beta = values((3, 5, 8), dtype, 1), values((8,), "float32", 2), values((8,), "float32", 3)

    def fused(x: Any, scale: Any, shift: Any) -> Any:
        layer = FusedLayerNormalization()
        layer.build((None, None, 8))
        layer.gamma, layer.beta = scale, shift
        return layer.call(x)

    def plain(x: Any, scale: Any, shift: Any) -> Any:
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return (x - mean) / tf.sqrt(variance + epsilon) * scale + shift

    epsilon = FusedLayerNormalization().epsilon
    exact = tf.cast(inputs, tf.float32)
    outputs = fused(inputs, gamma, beta)
    assert outputs.dtype == dtype
    tolerance = 10 * TOLERANCE[dtype]
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), plain(exact, gamma, beta), atol=tolerance)
    for found, expected in zip(
        gradients(fused, inputs, gamma, beta), gradients(plain, exact, gamma, beta), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=tolerance)
        assert np.abs(expected).max() > 0.5
