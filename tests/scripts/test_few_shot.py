"""Few-shot NSP-BERT on the sample: what a run leaves, that it resumes to the same, and what is refused."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import random_checkpoint
from conftest import SAMPLE, without_graphs, write_rows
from hypothesis import given
from hypothesis import strategies as st

import nsp_bert_classification
import nsp_bert_few_shot
import nsp_bert_report
from nsp_bert.answer_mapping import apply_thresholds, fit_thresholds
from nsp_bert.methods import fitting
from nsp_bert.terminal import run_main

pytestmark = pytest.mark.usefixtures("eager_training")

STEM = "eprstmt.test_public.nsp_bert_few_shot"
RATE = ("--learning-rate", "3e-3")  # the tiny model must move


def arguments(checkpoint: Path, output: Path, dataset: str, *more: str) -> list[str]:
    common = ["--model", str(checkpoint), "--data-dir", str(SAMPLE), "--output", str(output), "--dataset", dataset]
    return [*common, "--train", "0", "--epochs", "3", "--limit", "8", "--step-rows", "3", *RATE, *more]


def read(folder: Path, stem: str) -> tuple[dict, list[dict]]:
    rows = (folder / f"{stem}.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads((folder / f"{stem}.json").read_text(encoding="utf-8")), [json.loads(row) for row in rows]


@pytest.fixture(scope="module")
def whole(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two training sets, with the first one's checkpoint."""
    output = tmp_path_factory.mktemp("few_shot")
    more = ("--train", "0", "1", "--save", str(output / "saved"))
    with without_graphs():
        assert nsp_bert_few_shot.main(arguments(checkpoint_dir, output, "eprstmt", *more)) == 0
    return output


def test_an_interrupt_says_what_is_kept(
    checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fitting, "step", interrupt_at(1, fitting.step))
    run = ["--model", str(checkpoint_dir), "--data-dir", str(SAMPLE), "--dataset", "eprstmt", "--train", "0"]
    with pytest.raises(SystemExit) as stopped:
        run_main(nsp_bert_few_shot.main, run)
    assert stopped.value.code == 130
    said = "interrupted: EPRSTMT test_public train_0 is not finished; --output would have kept the epochs\n"
    assert capfd.readouterr().err.endswith(said)


def test_what_a_run_leaves(whole: Path) -> None:
    summary, rows = read(whole, f"{STEM}.train_0")
    assert (summary["method"], summary["train"], summary["seed"], len(rows)) == ("nsp_bert_few_shot", "0", 1, 8)
    assert (summary["settings"]["epochs"], summary["settings"]["loss"]) == ("3", "bce")
    training = summary["training"]
    curve = [epoch["dev_accuracy"] for epoch in training["epochs"]]
    assert (training["rows"], training["steps"], len(curve)) == (8, 9, 3)
    assert training["best_epoch"] == 1 + curve.index(max(curve))
    losses = [epoch["loss"] for epoch in training["epochs"]]
    assert losses[2] < losses[0]
    assert all(0 < epoch["steps_seconds"] <= epoch["seconds"] for epoch in training["epochs"])
    mean = json.loads((whole / f"{STEM}.few_shot.json").read_text(encoding="utf-8"))
    assert list(mean["accuracies"]) == ["0", "1"]
    assert not list(whole.glob("*.unfinished"))


def test_the_report_shows_the_course_of_a_training(whole: Path, tmp_path: Path) -> None:
    assert nsp_bert_report.main([str(whole), "--output", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("Learning curve") >= 2
    assert "train_1" in page


def test_the_saved_checkpoint_scores_the_same(whole: Path, tmp_path: Path) -> None:
    saved = whole / "saved" / "eprstmt.train_0"
    run = ["--model", str(saved), "--data-dir", str(SAMPLE), "--dataset", "eprstmt", "--limit", "8"]
    assert nsp_bert_classification.main([*run, "--output", str(tmp_path)]) == 0
    _, plain = read(tmp_path, "eprstmt.test_public")
    _, rows = read(whole, f"{STEM}.train_0")
    for row, other in zip(rows, plain, strict=True):
        np.testing.assert_allclose(row["scores"], other["scores"], atol=1e-5)


@pytest.mark.parametrize(("moment", "number"), [("step", 5), ("save", 2), ("score", 1)])
def test_killed_anywhere_it_resumes_to_the_same(
    whole: Path, checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: int
) -> None:
    """In the second epoch's steps, while its state is put away, and while the split is scored."""
    run = arguments(checkpoint_dir, tmp_path, "eprstmt")
    with monkeypatch.context() as patch:
        if moment == "score":
            patch.setattr("nsp_bert.methods.few_shot.score_task", interrupt_at(number, lambda *_: None))
        else:
            patch.setattr(fitting, moment, interrupt_at(number, getattr(fitting, moment)))
        with pytest.raises(KeyboardInterrupt, match="train_0 is not finished; --resume goes on after the last epoch"):
            nsp_bert_few_shot.main(run)
    assert nsp_bert_few_shot.main([*run, "--resume"]) == 0
    (summary, rows), (expected, expected_rows) = (read(folder, f"{STEM}.train_0") for folder in (tmp_path, whole))
    assert rows == expected_rows
    curves = ([(one["loss"], one["dev_accuracy"]) for one in run["training"]["epochs"]] for run in (summary, expected))
    assert next(curves) == next(curves)


@pytest.mark.parametrize("damaged", ["curve.*.json", "state/state.data-*"])
def test_a_damaged_state_begins_anew(
    whole: Path, checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    """From the checkpoint's weights, not from what could still be read."""
    run = arguments(checkpoint_dir, tmp_path, "eprstmt")
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "step", interrupt_at(5, fitting.step))
        with pytest.raises(KeyboardInterrupt):
            nsp_bert_few_shot.main(run)
    (path,) = (tmp_path / f"{STEM}.train_0.training.unfinished").glob(damaged)
    path.write_bytes(path.read_bytes()[:20])
    assert nsp_bert_few_shot.main([*run, "--resume"]) == 0
    assert read(tmp_path, f"{STEM}.train_0")[1] == read(whole, f"{STEM}.train_0")[1]


def interrupt_at(number: int, function: Callable) -> Callable:
    """Return a function whose call of that number is interrupted."""
    calls = itertools.count(1)

    def call(*arguments: object) -> object:
        if next(calls) == number:
            raise KeyboardInterrupt
        return function(*arguments)

    return call


def test_what_is_finished_is_not_trained_again(
    whole: Path, checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a kill between the result and the end left of the training goes."""
    left = whole / f"{STEM}.train_1.training.unfinished" / "state"
    left.mkdir(parents=True)
    monkeypatch.setattr("nsp_bert_few_shot.few_shot_run", None)
    more = ("--train", "0", "1", "--resume")
    assert nsp_bert_few_shot.main(arguments(checkpoint_dir, whole, "eprstmt", *more)) == 0
    assert f"EPRSTMT test_public train_1: is there already in {whole}" in capsys.readouterr().out
    assert not left.parent.exists()


@pytest.mark.parametrize(
    ("dataset", "more"),
    [
        ("tnews", ("--loss", "softmax", "--negatives", "3")),
        ("ocnli", ()),
        ("cluewsc", ("--part-tokens", "128")),
        ("chid", ("--loss", "softmax")),
    ],
)
def test_every_task(checkpoint_dir: Path, tmp_path: Path, dataset: str, more: tuple[str, ...]) -> None:
    assert nsp_bert_few_shot.main(arguments(checkpoint_dir, tmp_path, dataset, "--epochs", "1", *more)) == 0
    summary, rows = read(tmp_path, f"{dataset}.test_public.nsp_bert_few_shot.train_0")
    assert (summary["n"], len(rows)) == (8, 8)
    assert ("thresholds" in summary) == (dataset in ("ocnli", "cluewsc"))


def test_a_label_without_a_training_row_is_named(checkpoint_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(SAMPLE / "eprstmt", tmp_path / "data" / "eprstmt")
    write_rows(tmp_path / "data" / "eprstmt" / "train_0.json", [{"sentence": "好", "label": "Positive"}] * 2)
    common = ["--model", str(checkpoint_dir), "--data-dir", str(tmp_path / "data"), "--output", str(tmp_path)]
    own = ["--dataset", "eprstmt", "--train", "0", "--epochs", "1", "--limit", "4"]
    assert nsp_bert_few_shot.main([*common, *own]) == 0
    assert read(tmp_path, f"{STEM}.train_0")[0]["notes"] == ["no training row for Negative"]


def test_parts_do_not_change_the_result(whole: Path, checkpoint_dir: Path, tmp_path: Path) -> None:
    """But for dropout, which each part draws for itself; this checkpoint has none."""
    no_dropout = random_checkpoint.random_checkpoint(tmp_path / "model")
    config = json.loads((no_dropout / "bert_config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (no_dropout / "bert_config.json").write_text(json.dumps(config), encoding="utf-8")
    results = []
    for tokens in ("4096", "64"):
        folder = tmp_path / tokens
        assert nsp_bert_few_shot.main(arguments(no_dropout, folder, "eprstmt", "--part-tokens", tokens)) == 0
        results.append([row["scores"] for row in read(folder, f"{STEM}.train_0")[1]])
    np.testing.assert_allclose(results[0], results[1], atol=1e-3)


def test_what_is_refused(checkpoint_dir: Path, tmp_path: Path, expect_error: Callable[..., str]) -> None:
    common = ("--model", checkpoint_dir, "--dataset", "eprstmt", "--train", "0")
    main = nsp_bert_few_shot.main
    write_rows(tmp_path / "eprstmt" / "test_public.json", [{"sentence": "好", "label": "Positive"}])
    assert "train_0.json: no such file" in expect_error(main, *common, "--data-dir", tmp_path)
    line = expect_error(main, *common, "--data-dir", SAMPLE, "--split", "dev_0")
    assert "--split dev_0 teaches or chooses the epoch" in line
    line = expect_error(main, *common, "--data-dir", SAMPLE, "--learning-rate", "1e30", "--step-rows", "3")
    assert "no numbers any more after step 3: try a smaller --learning-rate" in line
    folder = random_checkpoint.random_checkpoint(tmp_path / "m", heads=("MLM",), hidden=16)
    assert "no pooler and no NSP head" in expect_error(main, "--model", folder, "--dataset", "eprstmt")


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2)), min_size=1, max_size=7))
def test_fitted_thresholds_are_the_best(rows: list[tuple[int, int]]) -> None:
    """No other thresholds make more rows right; scores that are equal stay together."""
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    found = fit_thresholds(scores.astype(np.float32), labels, 3)
    right = (apply_thresholds(scores, found) == labels).sum()
    places = [value / 2 for value in range(-9, 10, 1)]
    best = max(
        (apply_thresholds(scores, np.array(pair)) == labels).sum()
        for pair in itertools.combinations_with_replacement(places, 2)
    )
    assert right == best
    assert (np.diff(found) >= 0).all()
