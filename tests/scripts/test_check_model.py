"""What a checkpoint holds, and what is said of its heads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import random_checkpoint
from check import main


@pytest.mark.parametrize("language", ["zh", "en"])
def test_random_weights_are_at_chance(checkpoint_dir: Path, capfd: pytest.CaptureFixture[str], language: str) -> None:
    assert main([str(checkpoint_dir), "--language", language]) == 1
    out = capfd.readouterr().out
    assert "NSP head is at chance" in out
    assert "MLM head is at chance" in out


def test_a_missing_head(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "m", heads=("pooler", "MLM"), hidden=16)
    assert main([str(folder)]) == 1
    assert "NSP head is missing (NSP)" in capfd.readouterr().out


def test_a_missing_mlm_head(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "m", heads=("pooler", "NSP"), hidden=16)
    assert main([str(folder)]) == 1
    assert "MLM head is missing" in capfd.readouterr().out


def test_a_classifier(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "m", heads=("pooler",), classes=7, hidden=16)
    assert main([str(folder)]) == 1
    out = capfd.readouterr().out
    assert re.search(r"classifier +yes, classes: 7 +output_weights", out)
    assert "NSP head is missing (NSP)" in out


def test_a_causal_language_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "m", heads=("MLM",), hidden=16, segments=0)
    assert main([str(folder)]) == 1
    out = capfd.readouterr().out
    assert "m: 2 layers x 16" in out
    assert "causal language model: only baselines/gpt.py can use it" in out
