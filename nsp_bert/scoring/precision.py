"""The precisions by name, and which of them this machine is fastest in."""

from __future__ import annotations

from pathlib import Path

from nsp_bert.environment import import_tensorflow

AUTO = "auto"


def fast_precision() -> str | None:
    """Return the reduced precision that this machine's processors are faster in than in float32, None without one.

    AMX multiplies bfloat16 several times as fast. AVX-512's own instructions for it do so on AMD's processors (Zen 4
    on) alone; on Intel's they take longer than float32's (benchmarks/README.md).
    """
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        found = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
        return "bfloat16" if min(found) >= (8, 0) else "float16" if min(found) >= (7, 0) else None
    processor = _read(Path("/proc/cpuinfo"))
    fast = "amx_bf16" in processor or ("avx512_bf16" in processor and "AuthenticAMD" in processor)
    return "bfloat16" if fast else None


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
