"""Log-odds -> predictions."""

from __future__ import annotations

import numpy as np


def candidates_contrast(log_odds: np.ndarray) -> np.ndarray:
    """Return the index of the best candidate of each example (paper, section 3.3.1).

    `log_odds` is float32 (examples, candidates); the result is int64 (examples,), the first of equals.
    """
    return np.argmax(log_odds, axis=1)
