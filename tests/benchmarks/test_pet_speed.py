"""benchmarks/pet_speed.py measures and compares; how fast anything is does not matter here."""

from __future__ import annotations

from pathlib import Path

import pet_speed
import pytest
from conftest import SAMPLE


def test_engines_run_in_turn(checkpoint_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", checkpoint_dir, "--data-dir", SAMPLE, "--rows", 3, "--rounds", 1]
    assert pet_speed.main([*map(str, options)]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "100.0 %" in rows["pet"]
    assert float(rows["nsp-bert"].split()[4]) > 0
    assert "give --peer-python" in rows["hf-fill-mask:"]
    assert "give --peer-python" in rows["hf-fill-mask-32:"]
