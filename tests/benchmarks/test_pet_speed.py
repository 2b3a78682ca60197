"""benchmarks/pet_speed.py measures and compares; how fast anything is does not matter here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT, SAMPLE


def test_engines_run_in_turn(checkpoint_dir: Path) -> None:
    script, data = ROOT / "benchmarks" / "pet_speed.py", ["--data-dir", SAMPLE, "--rows", 3, "--rounds", 1]
    command = map(str, [sys.executable, script, "--model", checkpoint_dir, *data])
    done = subprocess.run([*command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "100.0 %" in rows["pet"]
    assert float(rows["nsp-bert"].split()[4]) > 0
    assert "give --peer-python" in rows["hf-fill-mask:"]
    assert "give --peer-python" in rows["hf-fill-mask-32:"]
