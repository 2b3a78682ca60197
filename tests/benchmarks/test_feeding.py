"""benchmarks/feeding.py feeds both ways and reports; how fast does not matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, SAMPLE


def test_both_ways_are_reported(tmp_path: Path) -> None:
    small = ["--datasets", "tnews", "--data-dir", SAMPLE, "--pairs", 1000, "--rounds", 1, "--workers", 0]
    command = [sys.executable, ROOT / "benchmarks" / "feeding.py", *small, "--output", tmp_path / "o.json"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "one process, one by one" in done.stdout
    rows = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))["datasets"]["tnews"]
    assert [(row["where"], row["way"]) for row in rows] == [("one process", "arrays"), ("one process", "one by one")]
    assert all(row["tokens"] > row["pairs"] >= 1000 and row["pairs_per_second"] > 0 for row in rows)
