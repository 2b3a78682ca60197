"""The measured table in the documents is what the kept runs give, and a run that is taken in comes out as it was."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import measured
import numpy as np
import pytest
from conftest import SAMPLE
from hypothesis import given
from hypothesis import strategies as st
from made_up_runs import CHECKPOINT, made_up

import nsp_bert_classification
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.model_cards import DEFAULT_MODEL
from nsp_bert.errors import UserError
from nsp_bert.results.comparison import Comparison
from nsp_bert.results.fingerprint import checkpoint_digest
from nsp_bert.results.summary import Fingerprint

TABLE = "| | EPRSTMT | TNEWS |\n|---|---|---|\n| NSP-BERT, few-shot | old | 1.00 |\n| EFL |  |  |\n"


@cache
def kept() -> Comparison:
    return measured.compared(measured.read_runs(measured.RUNS))


@pytest.mark.parametrize("document", measured.DOCUMENTS, ids=lambda path: path.name)
def test_documents_have_what_the_kept_runs_give(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert measured.with_cells(text, kept()) == text


def test_the_kept_runs_are_of_the_bundled_model() -> None:
    checksum = checkpoint_digest(open_checkpoint(DEFAULT_MODEL, ("encoder",)))
    assert {line.checkpoint for line in kept().lines} == {checksum}


def test_the_document_says_how_many_tests_and_which_commits() -> None:
    text = " ".join((measured.ROOT / "docs" / "results.md").read_text(encoding="utf-8").split())
    assert f"Holm's correction for the {kept().tested} pairs of cells" in text
    for commit in {one.summary.versions["commit"][:7] for one in measured.read_runs(measured.RUNS)}:
        assert commit in text


@given(st.lists(st.booleans(), min_size=1), st.integers(0, 3), st.booleans())
def test_a_run_comes_out_as_it_went_in(right: Sequence[bool], first: int, clustered: bool) -> None:
    clusters = [place // 2 for place in range(len(right))] if clustered else None
    one = made_up(right, train="0", first=first, clusters=clusters)
    line = measured.KeptRun.of(one).model_dump_json(exclude_defaults=True)
    other = measured.KeptRun.model_validate_json(line).outcome
    assert np.array_equal(other.right, one.right)
    assert np.array_equal(other.index, one.index)
    assert other.clusters is None if one.clusters is None else np.array_equal(other.clusters, one.clusters)
    assert other.summary.metrics == one.summary.metrics


def runs(trains: str, **settings: str) -> list[measured.KeptRun]:
    """Return runs of few-shot NSP-BERT on TNEWS, by so many training sets."""
    own = {"rows": "all", "epochs": "10"} | settings
    found = (made_up([True, False] * 4, "nsp_bert_few_shot", train, settings=own) for train in trains)
    return [measured.KeptRun.of(one) for one in found]


@pytest.mark.parametrize(
    ("trains", "settings", "text"),
    [
        ("01234", {}, "50.00 ± 0.00"),
        ("01", {}, "50.00 ± 0.00 (2)"),
        ("0", {"epochs": "3"}, "50.00 (1, 3 ep.)"),
        ("0", {"epochs": "20"}, "50.00 (1)"),
        ("01234", {"negatives": "7", "rows": "300 random rows (seed 1)"}, "50.00 ± 0.00 (8 rows, 7 neg.)"),
        ("01234", {"ratio": "1"}, "50.00 ± 0.00 (1:1)"),
    ],
)
def test_brackets_say_what_a_cell_has_less(trains: str, settings: dict[str, str], text: str) -> None:
    """Other cells, and what is no table of measured methods, stay as they are."""
    other = "\n| method | TNEWS |\n|---|---|\n| EFL | 1 |\n"
    found = measured.with_cells(TABLE + other, measured.compared(runs(trains, **settings)))
    assert found == TABLE.replace("1.00", text) + other


def test_runs_of_a_cell_that_were_made_otherwise_are_refused() -> None:
    making = Fingerprint(data={}, checkpoint=CHECKPOINT, code="", settings={"epochs": "3"})
    strange = made_up([True, False] * 4, "nsp_bert_few_shot", "1", fingerprint=making)
    with pytest.raises(UserError, match="nsp_bert_few_shot 1 was made otherwise"):
        measured.compared([*runs("0"), measured.KeptRun.of(strange)])


def test_runs_of_other_data_are_refused() -> None:
    other = measured.KeptRun.of(made_up([True], "pet", data="other"))
    with pytest.raises(UserError, match=r"tnews pet  is of another tnews/test_public\.json"):
        measured.compared([*runs("0"), other])


def test_runs_are_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice the same is once; the table is written anew."""
    document, file = tmp_path / "results.md", tmp_path / "runs.jsonl"
    document.write_text(TABLE.replace("few-shot", "zero-shot"), encoding="utf-8")
    file.touch()
    monkeypatch.setattr(measured, "DOCUMENTS", (document,))
    monkeypatch.setattr(measured, "RUNS", file)
    shutil.copytree(SAMPLE / "eprstmt", tmp_path / "data" / "eprstmt")
    common = ["--dataset", "eprstmt", "--limit", "4", "--output"]
    own = ["--data-dir", str(tmp_path / "data")]
    nsp_bert_classification.main([*common, str(tmp_path / "results" / "below"), *own])
    nsp_bert_classification.main([*common, str(tmp_path / "of_the_sample")])
    for _ in range(2):
        assert measured.main(["--add", str(tmp_path / "results"), "--tests"]) == 0
    assert len(file.read_text(encoding="utf-8").splitlines()) == 1
    assert "(4 rows) | 1.00 |" in document.read_text(encoding="utf-8")
    assert "Costs of methods" in capsys.readouterr().out
    for folder in ("nothing", "of_the_sample"):
        with pytest.raises(UserError, match="holds no finished run"):
            measured.main(["--add", str(tmp_path / folder)])
    file.write_text("{}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"runs\.jsonl:1: .*summary"):
        measured.main([])
