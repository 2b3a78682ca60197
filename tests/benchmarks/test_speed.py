"""benchmarks/speed.py measures, compares and reports; how fast anything is does not matter here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import speed
from conftest import SAMPLE


def test_two_engines_agree(checkpoint_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The restated loop of the authors predicts what the scorer predicts; an engine that cannot be had is skipped."""
    engines = ["--engines", "naive", "hf-float32", "tensorflow-float32", "tensorflow-auto"]
    small = ["--data-dir", SAMPLE, "--rows", 2, "--rounds", 1, "--matmul-size", 128]
    options = ["--model", checkpoint_dir, *engines, *small, "--output", tmp_path / "o.json"]
    assert speed.main([*map(str, options)]) == 0
    out = capsys.readouterr().out
    report = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))
    assert report["pairs"] == report["different_pairs"] == 30
    assert list(report["engines"]) == ["naive", "tensorflow-float32", "tensorflow-auto"]
    assert "--peer-python" in report["skipped"]["hf-float32"]
    for name, found in report["engines"].items():
        assert any(line.split()[:1] == [name] and "100.0 %" in line for line in out.splitlines())
        assert found["agreement"] == 1
        assert found["largest_difference"] < 1e-3 < found["log_odds_deviation"]
        assert len(found["seconds"]) == 1
        assert found["load_seconds"] < found["first_score_seconds"]
        assert min(found[key] for key in ("pairs_per_second", "share_of_peak", "peak_rss_mib")) > 0


def test_what_is_wrong_is_one_line(expect_error: Callable[..., str]) -> None:
    assert expect_error(speed.main, "--model", "nowhere", "--rounds", 1).startswith("error: nowhere: ")
