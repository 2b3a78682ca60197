"""NSP-BERT: a label becomes a prompt, BERT's own NSP head says whether prompt and text belong together.

`from nsp_bert import ZeroShotClassifier` is the Python API (docs/api.md); the scripts at the top level are the rest.
Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nsp_bert.zero_shot import Classification, PairScorer, ZeroShotClassifier

__version__ = "0.1.0"
__all__ = ["Classification", "PairScorer", "ZeroShotClassifier"]
STARTED = time.monotonic()  # --verbose counts from here


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nsp_bert import zero_shot

    return getattr(zero_shot, name)
