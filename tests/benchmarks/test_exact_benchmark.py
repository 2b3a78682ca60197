"""benchmarks/exact.py compares both arithmetics and reports; what it measures at real size does not matter here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import exact
import pytest
from conftest import SAMPLE

from nsp_bert.scoring import exact as engine


def test_both_arithmetics_are_compared(
    checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """bfloat16 is taken on every machine: the deviation is not 0."""
    monkeypatch.setattr(engine, "fast_precision", engine.fast_precision)  # as it was, after what main puts there
    options = ["--model", checkpoint_dir, "--data-dir", SAMPLE, "--datasets", "eprstmt", "bustm", "--sample", 12]
    options += ["--work", tmp_path / "work", "--output", tmp_path / "report.json"]
    assert exact.main([*map(str, options)]) == 0
    out = capsys.readouterr().out
    datasets = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["datasets"]
    assert list(datasets) == ["EPRSTMT", "BUSTM"]
    for title, figures in datasets.items():
        assert any(line.split()[:2] == [title, "12"] for line in out.splitlines())
        assert figures["other_predictions"] == figures["flips"] == 0
        assert 0 < figures["largest_deviation"] < 1
        assert 0 < figures["share_again"] <= 1
    for precision in ("float32", "auto"):
        assert (tmp_path / "work" / precision / "bustm.test_public.jsonl").is_file()


def test_what_is_wrong_is_one_line(expect_error: Callable[..., str]) -> None:
    assert "nowhere: " in expect_error(exact.main, "--model", "nowhere", "--datasets", "eprstmt")
