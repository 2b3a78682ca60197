"""Weights of an encoder of soft tokens for tests: NumPy alone draws them, in Keras' layout and order."""

from __future__ import annotations

import numpy as np

COUNT, WIDTH = 3, 32
DIRECTIONS = ("forward", "backward")


def weights(encoder: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Return name -> float32 array: the table, and with the encoder `lstm` two layers of LSTM and two of an MLP.

    The columns of an LSTM's gates are in Keras' order: input, forget, cell, output.
    """
    rng, half = np.random.default_rng(seed), WIDTH // 2

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    found = {"table": draw(COUNT, WIDTH)}
    if encoder == "none":
        return found
    for name in (f"lstm_{layer}/{direction}" for layer in range(2) for direction in DIRECTIONS):
        found |= {f"{name}/kernel": draw(WIDTH, 4 * half), f"{name}/recurrent": draw(half, 4 * half)}
        found[f"{name}/bias"] = draw(4 * half)
    for layer in range(2):
        found |= {f"mlp_{layer}/kernel": draw(WIDTH, WIDTH), f"mlp_{layer}/bias": draw(WIDTH)}
    return found
