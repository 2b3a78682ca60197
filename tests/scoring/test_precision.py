"""--precision auto takes the reduced precision only where it predicts the same."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nsp_bert_classification as classification
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.scoring import precision
from nsp_bert.scoring.precision import choose_precision, fast_precision
from nsp_bert.scoring.scorer import Scores


class Fixed:
    """Scores that are given."""

    def __init__(self, values: list[float]):
        self._values = np.array(values, np.float32)

    def score(self, pairs: Any, total: int) -> Scores:
        assert len(list(pairs)) == total
        return Scores(self._values[:total], True, 0.0)


def choose(monkeypatch: pytest.MonkeyPatch, reduced: list[float], fast: str | None = "bfloat16") -> tuple[str, dict]:
    monkeypatch.setattr("nsp_bert.scoring.precision.fast_precision", lambda: fast)
    exact = [1.0, 0.0] * 1000
    load = {"float32": Fixed(exact), "bfloat16": Fixed(reduced)}.__getitem__
    sizes = [2] * 1000
    return choose_precision(
        "auto", load, lambda rows: range(2 * rows), sizes, lambda found, rows: found.reshape(rows, 2).argmax(1)
    )


@pytest.mark.parametrize(("wrong", "expected"), [(0, "bfloat16"), (5, "bfloat16"), (6, "float32")])
def test_half_a_percent_may_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: int, expected: str
) -> None:
    chosen, check = choose(monkeypatch, [0.0, 1.0] * wrong + [1.0, 0.0] * (1000 - wrong))
    assert chosen == expected
    assert check == {"tried": "bfloat16", "rows": 1000, "differ": wrong}
    assert f"{wrong} of the first 1000 rows" in capsys.readouterr().out


def test_a_machine_without_takes_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, [], fast=None) == ("float32", {})


@pytest.mark.parametrize(("script", "name"), [(classification, "eprstmt"), (sentence_pair, "bustm")])
def test_the_result_says_what_was_taken(
    script: Any, name: str, checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nsp_bert.scoring.precision.fast_precision", lambda: "bfloat16")
    options = ["--model", str(checkpoint_dir), "--dataset", name, "--precision", "auto", "--output", str(tmp_path)]
    assert script.main(options) == 0
    found = json.loads((tmp_path / f"{name}.test_public.json").read_text(encoding="utf-8"))
    check = found["precision_check"]
    agreed = check["differ"] <= 0.005 * check["rows"]
    assert found["settings"]["precision"] == ("bfloat16" if agreed else "float32")
    assert check["rows"] > 20


def test_own_texts_take_it_too(checkpoint_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--labels", "体育,财经", "--text", "主场取胜", "--precision", "auto", "--model", str(checkpoint_dir)]
    assert classification.main(own) == 0
    assert "主场取胜" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512f avx512_bf16", "bfloat16"),
        ("fpu amx_bf16 amx_tile", "bfloat16"),
        ("fpu avx2 avx512f", None),
        ("", None),
    ],
)
def test_the_processor_s_flags_decide(monkeypatch: pytest.MonkeyPatch, flags: str, expected: str | None) -> None:
    monkeypatch.setattr(precision, "_read", lambda _path: flags)
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
