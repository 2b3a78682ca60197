"""`--precision auto`: the fastest arithmetic of this machine whose predictions agree with float32's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from nsp_bert.environment import import_tensorflow
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import EncodedPair

AUTO = "auto"
COMPARED_PAIRS = 4096  # scored twice
TOLERATED = 0.005  # of the rows may get another prediction


def choose_precision(
    wanted: str,
    load_scorer: Callable[[str], Scorer],
    pairs: Callable[[int], Iterable[EncodedPair]],
    sizes: list[int],
    predict: Callable[[np.ndarray, int], np.ndarray],
) -> tuple[str, dict[str, str | int]]:
    """Return the precision to take, and for `auto` what was compared to find out.

    `pairs(n)` yields the pairs of the first n examples, `sizes` says how many each has, `predict(log-odds float32, n)`
    returns their predictions int64 (n,).
    """
    reduced = fast_precision() if wanted == AUTO else None
    if not reduced:
        return "float32" if wanted == AUTO else wanted, {}
    rows = max(int(np.searchsorted(np.cumsum(sizes), COMPARED_PAIRS, side="right")), 1)
    total = sum(sizes[:rows])
    scores = [load_scorer(precision).score(pairs(rows), total) for precision in ("float32", reduced)]
    if not all(one.complete for one in scores):
        raise KeyboardInterrupt
    exact, fast = (predict(one.values, rows) for one in scores)
    differ = int((exact != fast).sum())
    chosen = reduced if differ <= TOLERATED * rows else "float32"
    print(f"--precision auto: {differ} of the first {rows} rows get another prediction in {reduced}; taking {chosen}")
    return chosen, {"tried": reduced, "rows": rows, "differ": differ}


def fast_precision() -> str | None:
    """Return the reduced precision that this machine's processors compute in, None where that would not be faster."""
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        found = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
        return "bfloat16" if min(found) >= (8, 0) else "float16" if min(found) >= (7, 0) else None
    flags = _read(Path("/proc/cpuinfo"))
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else None


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
