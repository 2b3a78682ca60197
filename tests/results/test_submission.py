from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SAMPLE, write_rows

import nsp_bert_classification as classification
import nsp_bert_cloze_style as cloze
import nsp_bert_coreference_resolution as coreference
import nsp_bert_entity_linking as entity_linking
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.cards import load_card

# The leaderboard's examples, by hand: file -> key of the answer, type of the id, type of the answer.
EXPECTED = {
    "bustm_predict.json": ("label", int, str),
    "chidf_predict.json": ("answer", int, int),
    "cluewscf_predict.json": ("label", int, str),
    "csldcp_predict.json": ("label", int, str),
    "cslf_predict.json": ("label", int, str),
    "eprstmt_predict.json": ("label", int, str),
    "iflytekf_predict.json": ("label", int, str),
    "ocnlif_predict.json": ("label", int, str),
    "tnewsf_predict.json": ("label", str, str),
}
NAMES = {name: name.removesuffix("_predict.json").removesuffix("f") for name in EXPECTED}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The sample's rows in a place of their own: they pass for real ones."""
    return shutil.copytree(SAMPLE, tmp_path / "data")


def test_nine_files_and_their_archive(
    checkpoint_dir: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for script in (classification, sentence_pair, cloze, coreference):
        arguments = ["--model", str(checkpoint_dir), "--data-dir", str(data), "--submission", str(tmp_path)]
        assert script.main(arguments) == 0
        out = capfd.readouterr().out
        assert ("zipped in" in out) == (script is coreference)
    with zipfile.ZipFile(tmp_path / "fewclue_submission.zip") as archive:
        assert sorted(archive.namelist()) == sorted(EXPECTED)
    for name, (key, id_type, answer_type) in EXPECTED.items():
        rows = [json.loads(line) for line in (tmp_path / name).open(encoding="utf-8")]
        card = load_card(NAMES[name])
        inputs = [json.loads(line) for line in (SAMPLE / card.path.format(split="test")).open(encoding="utf-8")]
        assert [row["id"] for row in rows] == [row["id"] for row in inputs]
        for row, given in zip(rows, inputs, strict=True):
            assert list(row) == ["id", key]
            assert (type(row["id"]), type(row[key])) == (id_type, answer_type)
            assert row[key] in (range(len(given["candidates"])) if key == "answer" else list(card.labels))


def test_submission_equals_the_predictions(checkpoint_dir: Path, data: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(checkpoint_dir), "--data-dir", str(data), "--dataset", "ocnli"]
    arguments += ["--output", str(tmp_path)]
    assert sentence_pair.main([*arguments, "--submission", str(tmp_path / "to")]) == 0
    results = [json.loads(line) for line in (tmp_path / "ocnli.test.jsonl").open(encoding="utf-8")]
    rows = [json.loads(line) for line in (tmp_path / "to" / "ocnlif_predict.json").open(encoding="utf-8")]
    assert rows == [{"id": row["id"], "label": row["prediction"]} for row in results]


@pytest.mark.parametrize("extra", [("--limit", "3"), ("--sample", "3"), ("--split", "test_public"), ("--ablate",)])
def test_options_against_it(
    expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path, extra: tuple[str, ...]
) -> None:
    arguments = ("--model", checkpoint_dir, "--submission", tmp_path, *extra)
    assert "--submission predicts the whole of test.json once" in expect_error(cloze.main, *arguments)


def test_ids_of_the_wrong_type(expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(SAMPLE / "bustm", tmp_path / "bustm")
    row = {"id": "7", "sentence1": "你好", "sentence2": "您好"}
    write_rows(tmp_path / "bustm" / "test.json", [row | {"id": 6}, row])
    arguments = ("--model", checkpoint_dir, "--data-dir", tmp_path, "--dataset", "bustm", "--submission", tmp_path)
    assert "bustm/test.json: row 2 has the id '7'" in expect_error(sentence_pair.main, *arguments)
    assert not (tmp_path / "bustm_predict.json").exists()


def test_ids_that_come_twice(expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(SAMPLE / "bustm", tmp_path / "bustm")
    row = {"id": 6, "sentence1": "你好", "sentence2": "您好"}
    write_rows(tmp_path / "bustm" / "test.json", [row, row])
    arguments = ("--model", checkpoint_dir, "--data-dir", tmp_path, "--dataset", "bustm", "--submission", tmp_path)
    assert "bustm/test.json: row 2 has the id 6 again" in expect_error(sentence_pair.main, *arguments)


def test_samples_and_datasets_without_a_leaderboard_are_refused_before_scoring(
    expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path
) -> None:
    arguments = ("--model", checkpoint_dir, "--submission", tmp_path, "--dataset")
    assert "is the bundled sample here" in expect_error(sentence_pair.main, *arguments, "bustm")
    assert "AG News has no file on the leaderboard" in expect_error(classification.main, *arguments, "agnews")


def test_entity_linking_has_no_leaderboard(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        entity_linking.main(["--submission", "x"])
    assert stopped.value.code == 2
    assert "unrecognized arguments: --submission" in capfd.readouterr().err
