"""A method whose language model is at chance says so, once in the terminal and in every result file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gpt
import pet
import pytest
from conftest import SAMPLE

import nsp_bert_classification
from nsp_bert import runner
from nsp_bert.methods.health import chance_note

pytestmark = pytest.mark.usefixtures("eager_training")

AT_CHANCE = "the MLM head of random is at chance on models/health/zh.txt"
DATASETS = ("eprstmt", "tnews")
Run = Callable[..., str]


@pytest.fixture
def run(checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a script on two datasets' samples and return what it prints."""

    def run(script: ModuleType, *options: str) -> str:
        common = ["--model", str(checkpoint_dir), "--data-dir", str(SAMPLE), "--output", str(tmp_path), "--limit", "6"]
        assert script.main(["--dataset", *DATASETS, *common, *options]) == 0
        return capfd.readouterr().out

    return run


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that the check has returned."""
    lines: list[str] = []

    def counted(*arguments: Any) -> str:
        lines.append(chance_note(*arguments))
        return lines[-1]

    monkeypatch.setattr(runner, "chance_note", counted)
    return lines


@pytest.mark.parametrize("script", [pet, gpt])
def test_it_is_said_once_before_scoring_and_once_below_the_table(run: Run, tmp_path: Path, script: ModuleType) -> None:
    out = run(script)
    first, last = [line for line in out.splitlines() if AT_CHANCE in line]
    assert last == f"EPRSTMT, TNEWS: {first}"
    for dataset in DATASETS:
        path = tmp_path / f"{dataset}.test_public.{script.__name__}.json"
        assert first in json.loads(path.read_text(encoding="utf-8"))["notes"]


def test_a_finished_run_is_not_checked_again(run: Run, checks: list[str], tmp_path: Path) -> None:
    run(pet)
    again = run(pet, "--resume")
    assert len(checks) == 1
    assert [line for line in again.splitlines() if AT_CHANCE in line] == [f"EPRSTMT, TNEWS: {checks[0]}"]
    (tmp_path / "tnews.test_public.pet.json").unlink()
    run(pet, "--resume")
    assert len(checks) == 2


def test_two_precisions_are_checked_as_one(run: Run, checks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nsp_bert.scoring.exact.fast_precision", lambda: "bfloat16")
    run(pet, "--precision", "auto")
    assert len(checks) == 1


def test_scores_are_those_without_the_check(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def results() -> list[str]:
        return [path.read_text(encoding="utf-8") for path in sorted(tmp_path.glob("*.pet.jsonl"))]

    run(pet)
    checked = results()
    monkeypatch.setattr(runner, "chance_note", lambda *_: "")
    assert AT_CHANCE not in run(pet, "--overwrite")
    assert results() == checked
    assert len(checked) == len(DATASETS)


def test_it_is_said_before_training(run: Run, checks: list[str], tmp_path: Path) -> None:
    """Of the weights that training begins with, once for all training sets."""
    out = run(pet, "--train", "0", "1", "--epochs", "1")
    assert len(checks) == 1
    assert out.index(checks[0]) < out.index("training on")
    path = tmp_path / "tnews.test_public.pet.train_1.json"
    assert checks[0] in json.loads(path.read_text(encoding="utf-8"))["notes"]


def test_next_sentence_prediction_is_not_checked(run: Run, checks: list[str]) -> None:
    assert AT_CHANCE not in run(nsp_bert_classification)
    assert checks == [""]
