"""What a checkpoint holds, and the health checks of its heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import random_checkpoint
from check import HEALTH_TEXTS, Health, Masks, load_documents, main


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


def test_a_causal_language_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "m", heads=("MLM",), hidden=16, segments=0)
    assert main([str(folder)]) == 1
    out = capfd.readouterr().out
    assert "m: 2 layers x 16" in out
    assert "causal language model: only baselines/gpt.py can use it" in out


def test_masks_against_the_most_frequent_token() -> None:
    masked = np.array([7] * 30 + list(range(100, 170)))
    assert Masks(masked, np.full(100, 7)).verdict.startswith("is at chance")
    assert Masks(masked, np.full(100, 7)).chance == Masks(masked, np.full(100, 7)).accuracy.value == 0.3
    assert Masks(masked, np.where(np.arange(100) < 60, masked, 1)).verdict == "works"


def test_verdicts() -> None:
    high, low = np.linspace(1, 3, 120), np.linspace(-3, -1, 120)
    assert Health(high, low).verdict == "works"
    assert (
        Health(high, np.roll(high, 60)).verdict
        == "is at chance: it does not tell neighbours from strangers; was it trained, and was it loaded?"
    )
    assert Health(high + 9, low + 9).verdict.startswith("works, but its margins are shifted")
    assert Health(low, high).verdict.startswith("looks inverted")


def test_health_texts() -> None:
    for path in HEALTH_TEXTS.glob("*.txt"):
        documents = load_documents(path)
        assert (len(documents), {len(document) for document in documents}) == (30, {5})
