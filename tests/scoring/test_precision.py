"""Which precision a machine is fastest in."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nsp_bert.scoring import precision
from nsp_bert.scoring.precision import fast_precision


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ("vendor_id : GenuineIntel\nflags : fpu avx512f avx512_bf16 amx_bf16 amx_tile", "bfloat16"),
        ("vendor_id : AuthenticAMD\nflags : fpu avx512f avx512_bf16", "bfloat16"),
        ("vendor_id : GenuineIntel\nflags : fpu avx512f avx512_bf16", None),
        ("vendor_id : AuthenticAMD\nflags : fpu avx2 avx512f", None),
        ("", None),
    ],
)
def test_maker_and_flags_decide(monkeypatch: pytest.MonkeyPatch, processor: str, expected: str | None) -> None:
    monkeypatch.setattr(precision, "_read", lambda _path: processor)
    assert fast_precision() == expected


@pytest.mark.parametrize(
    ("capabilities", "expected"), [([(9, 0)], "bfloat16"), ([(9, 0), (7, 5)], "float16"), ([(6, 1)], None)]
)
def test_the_weakest_gpu_decides(
    monkeypatch: pytest.MonkeyPatch, capabilities: list[tuple[int, int]], expected: str | None
) -> None:
    details = [{"compute_capability": one} for one in capabilities]
    config = SimpleNamespace(
        list_physical_devices=lambda _kind: range(len(details)),
        experimental=SimpleNamespace(get_device_details=details.__getitem__),
    )
    monkeypatch.setattr(precision, "import_tensorflow", lambda: SimpleNamespace(config=config))
    assert fast_precision() == expected
