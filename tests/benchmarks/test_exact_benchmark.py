"""benchmarks/exact.py compares both arithmetics and reports; what it measures at real size does not matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, SAMPLE


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = map(str, [sys.executable, ROOT / "benchmarks" / "exact.py", *arguments])
    return subprocess.run([*command], capture_output=True, text=True, check=False)


def test_both_arithmetics_are_compared(checkpoint_dir: Path, tmp_path: Path) -> None:
    """bfloat16 is taken on every machine: the deviation is not 0."""
    options = ["--model", checkpoint_dir, "--data-dir", SAMPLE, "--datasets", "eprstmt", "bustm"]
    done = run(*options, "--sample", 12, "--work", tmp_path / "work", "--output", tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    datasets = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["datasets"]
    assert list(datasets) == ["EPRSTMT", "BUSTM"]
    for title, figures in datasets.items():
        assert any(line.split()[:2] == [title, "12"] for line in done.stdout.splitlines())
        assert figures["other_predictions"] == figures["flips"] == 0
        assert 0 < figures["largest_deviation"] < 1
        assert 0 < figures["share_again"] <= 1
    for precision in ("float32", "auto"):
        assert (tmp_path / "work" / precision / "bustm.test_public.jsonl").is_file()


def test_what_is_wrong_is_one_line() -> None:
    done = run("--model", "nowhere", "--datasets", "eprstmt")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
