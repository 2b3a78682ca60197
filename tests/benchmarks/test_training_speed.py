"""benchmarks/training_speed.py measures and compares; how fast anything is does not matter here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import training_speed


def test_engines_take_steps_in_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "speed.json"
    small = ["--layers", 1, "--hidden", 64, "--rows", 2, "--tokens", 16, "--steps", 2, "--rounds", 1]
    assert training_speed.main([*map(str, small), "--precisions", "float32", "--output", str(output)]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    measured = json.loads(output.read_text(encoding="utf-8"))["engines"]
    for objective in ("nsp", "masked", "classifier"):
        assert float(rows[f"{objective}-float32"].split()[4]) > 0
        figures = measured[objective][f"{objective}-float32"]
        assert len(figures["last_losses"]) == 2
        assert figures["last_losses"][0] != figures["loss_before"]
        assert "give --peer-python" in rows[f"hf-{objective}-float32:"]
