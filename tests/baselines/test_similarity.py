"""Similarity on the sample: vectors as bert4keras' model gives them, comparisons by other code, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
import random_checkpoint
import similarity
from conftest import SAMPLE, RandomScorer, write_rows

from nsp_bert.cards import load_card
from nsp_bert.errors import UserError
from nsp_bert.methods.similarity import LEAST, cosines, whiten

ROWS = 6
Runs = Callable[..., dict[str, tuple[dict, list[dict]]]]


@pytest.fixture
def run(checkpoint_dir: Path, tmp_path: Path) -> Runs:
    """Run the script on TNEWS' sample and return training set -> (summary, rows)."""

    def run(*options: str) -> dict[str, tuple[dict, list[dict]]]:
        output = tmp_path / "_".join(["out", *options])
        common = ["--model", str(checkpoint_dir), "--data-dir", str(SAMPLE), "--output", str(output)]
        assert similarity.main(["--dataset", "tnews", "--limit", str(ROWS), *common, *options]) == 0
        found = {}
        for path in sorted(output.glob("tnews.test_public.similarity.train_*.json")):
            rows = path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
            summary = json.loads(path.read_text(encoding="utf-8"))
            found[summary["train"]] = summary, [json.loads(row) for row in rows]
        return found

    return run


@pytest.fixture(scope="module")
def vector(checkpoint_dir: Path) -> Callable[[str, str], np.ndarray]:
    """Text before and after two [MASK], or a text alone -> the mean of bert4keras' last layer over all tokens."""
    from nsp_bert.environment import import_tensorflow, quiet_initializers

    import_tensorflow()
    from bert4keras.models import build_transformer_model
    from bert4keras.tokenizers import Tokenizer

    with quiet_initializers():
        model = build_transformer_model(
            str(checkpoint_dir / "bert_config.json"), str(checkpoint_dir / "bert_model.ckpt"), return_keras_model=True
        )
    tokenizer = Tokenizer(str(checkpoint_dir / "vocab.txt"), do_lower_case=True)

    def vector(before: str, after: str = "") -> np.ndarray:
        masks = [tokenizer.token_to_id("[MASK]")] * 2 if before else []
        ids = [tokenizer.tokens_to_ids(tokenizer.tokenize(text)[1:-1]) for text in (before, after)]
        token_ids = [2, *ids[0], *masks, *ids[1], 3]
        return model.predict([np.array([token_ids]), np.zeros((1, len(token_ids)))], verbose=0)[0].mean(axis=0)

    return vector


def sample(split: str) -> list[dict]:
    lines = (SAMPLE / "tnews" / f"{split}.json").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def angles(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the cosines of rows with others, spelled out."""
    lengths = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(others, axis=1)
    return rows @ others.T / lengths


def test_by_hand(run: Runs, vector: Callable[..., np.ndarray]) -> None:
    """Prompt 1, the nearest of the training rows: scores and predictions of every training set."""
    asked = [vector("下面是一则关于", f"的新闻：{row['sentence']}") for row in sample("test_public")[:ROWS]]
    labels = list(load_card("tnews").label_values)
    runs = run()
    assert list(runs) == ["0", "1", "2", "3", "4"]
    for train, (summary, rows) in runs.items():
        references = sample(f"train_{train}")
        found = angles(np.array(asked), np.array([vector("", row["sentence"]) for row in references]))
        for row, one in zip(rows, found, strict=True):
            expected = {str(reference["label"]): value for reference, value in zip(references, one, strict=True)}
            np.testing.assert_allclose(row["scores"], [expected[label] for label in labels], atol=2e-5)
            assert row["prediction"] == max(expected, key=lambda label: expected[label])
        assert (summary["method"], summary["mapping"], summary["published"]) == (
            "similarity",
            "candidates-contrast",
            None,
        )
        assert summary["settings"]["pattern"] == "下面是一则关于{label}的新闻：{text}"


def test_whitened_as_bert_whitening_writes_it(run: Runs, vector: Callable[..., np.ndarray]) -> None:
    """The kernel is U / sqrt(s) of the covariance's decomposition, cut to k columns; cosines are the same."""
    runs = run("--whitening", "8", "--train", "2", "--prompt", "none")
    asked = np.array([vector("", row["sentence"]) for row in sample("test_public")[:ROWS]])
    references = np.array([vector("", row["sentence"]) for row in sample("train_2")])
    both = np.concatenate([references, asked])
    u, s, _ = np.linalg.svd(np.cov(both.T))
    whitened = (both - both.mean(axis=0)) @ (u @ np.diag(1 / np.sqrt(s)))[:, :8]
    found = angles(whitened[len(references) :], whitened[: len(references)])
    order = [str(row["label"]) for row in sample("train_2")]
    places = [order.index(label) for label in load_card("tnews").label_values]
    summary, rows = runs["2"]
    np.testing.assert_allclose([row["scores"] for row in rows], found[:, places], atol=2e-3)
    assert summary["settings"]["whitening"] == 8


def test_a_singular_covariance_leaves_fewer_components() -> None:
    """Twenty vectors in twenty dimensions that span four."""
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(20, 4)) @ rng.normal(size=(4, 20))).astype(np.float32)
    references, rows, kept = whiten(vectors[:12], vectors[12:], 256)
    assert (kept, references.shape, rows.shape) == (4, (12, 4), (8, 4))
    both = np.concatenate([references, rows])
    np.testing.assert_allclose(np.cov(both.T), np.eye(4), atol=1e-4)
    with pytest.raises(UserError, match="alike"):
        whiten(np.ones((3, 4), np.float32), np.ones((2, 4), np.float32), 2)


def test_few_texts_leave_fewer_components_than_would_make_all_of_them_alike() -> None:
    """With as many components as vectors less one, the cosine of any two whitened vectors is the same."""
    vectors = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    references, rows, kept = whiten(vectors[:10], vectors[10:], 256)
    assert kept == 15
    assert angles(rows, references).std() > 0.1


def test_nearest_and_mean_of_several_rows_and_none() -> None:
    references = np.array([[1, 0], [0, 1], [-1, 0.0]], np.float32)
    places = np.array([0, 0, 2])
    rows = np.array([[2, 0]], np.float32)
    np.testing.assert_allclose(cosines(rows, references, places, 3, "nearest"), [[1, LEAST, -1]], atol=1e-6)
    np.testing.assert_allclose(cosines(rows, references, places, 3, "mean"), [[0.5**0.5, LEAST, -1]], atol=1e-6)


def test_the_mean_of_five(run: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = run("--reference", "mean", "--train", "0", "1", "3")
    accuracies = [summary["metrics"]["accuracy"] for summary, _ in runs.values()]
    (path,) = tmp_path.rglob("*.few_shot.json")
    assert path.name == "tnews.test_public.similarity.few_shot.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["mean"] == pytest.approx(mean(accuracies))
    assert found["deviation"] == pytest.approx(stdev(accuracies))
    out = capsys.readouterr().out
    assert f"TNEWS: mean {100 * mean(accuracies):.2f}, standard deviation" in out
    assert "first 6 of 60 rows + 45 training rows = 51 sequences" in out


def test_the_mean_is_that_of_the_runs_in_the_folder(run: Runs, tmp_path: Path, checkpoint_dir: Path) -> None:
    """Also of runs one by one; of runs that another one has replaced there is none."""
    output = tmp_path / "folder"
    common = ["--model", str(checkpoint_dir), "--data-dir", str(SAMPLE), "--dataset", "tnews", "--limit", str(ROWS)]
    common += ["--output", str(output), "--overwrite"]
    mean_file = output / "tnews.test_public.similarity.few_shot.json"
    assert similarity.main([*common, "--train", "3"]) == 0
    assert not mean_file.exists()
    assert similarity.main([*common, "--train", "0"]) == 0
    assert list(json.loads(mean_file.read_text(encoding="utf-8"))["accuracies"]) == ["0", "3"]
    assert similarity.main([*common, "--train", "0", "--reference", "mean"]) == 0
    assert not mean_file.exists()


def test_a_submission_is_of_one_training_set(checkpoint_dir: Path, expect_error: Callable[..., str]) -> None:
    line = expect_error(similarity.main, "--model", checkpoint_dir, "--submission", "s", "--dataset", "tnews")
    assert "name one training set with --train" in line


def test_resume_and_another_run(
    run: Runs,
    checkpoint_dir: Path,
    tmp_path: Path,
    expect_error: Callable[..., str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    run("--train", "0", "1")
    output = tmp_path / "out_--train_0_1"
    common = [
        "--model",
        checkpoint_dir,
        "--data-dir",
        SAMPLE,
        "--output",
        output,
        "--dataset",
        "tnews",
        "--limit",
        ROWS,
    ]
    again = [*map(str, common), "--train", "0", "1"]
    capfd.readouterr()
    assert similarity.main([*again, "--resume"]) == 0
    assert f"TNEWS test_public: is there already in {output}" in capfd.readouterr().out
    line = expect_error(similarity.main, *again, "--reference", "mean")
    assert "is the result of another run (reference nearest, now mean)" in line


def test_a_training_set_without_a_label_says_so(
    checkpoint_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "tnews" / "test_public.json", sample("test_public")[:4])
    write_rows(tmp_path / "tnews" / "train_0.json", [row for row in sample("train_0") if row["label"] != 108])
    common = ["--model", str(checkpoint_dir), "--data-dir", str(tmp_path), "--dataset", "tnews", "--train", "0"]
    assert similarity.main(common) == 0
    assert "TNEWS: no training row for 108: never predicted" in capsys.readouterr().out


def test_auto_is_float32(run: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nsp_bert.scoring.exact.fast_precision", lambda: "bfloat16")
    plain, auto = run("--train", "0")["0"], run("--train", "0", "--precision", "auto")["0"]
    assert [row["scores"] for row in auto[1]] == [row["scores"] for row in plain[1]]
    assert auto[0]["settings"]["precision"] == "float32"


def test_an_interrupted_run_keeps_rows_that_are_compared(
    random_scores: type[RandomScorer], checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training rows come first; without all of them, and with whitening without all rows, nothing is compared."""

    class Interrupted(RandomScorer):
        complete = False

        def score(self, pairs: Any, total: int, *arguments: Any, width: int = 1, **options: Any) -> Any:
            scores = super().score(pairs, total, *arguments, width=width, **options)
            scores.values[-2 * width :] = np.nan
            return scores

    monkeypatch.setattr("nsp_bert.session.Scorer", Interrupted)
    common = ["--model", str(checkpoint_dir), "--data-dir", str(SAMPLE), "--dataset", "tnews", "--train", "0"]
    for options, count in (([], 4), (["--whitening"], 0)):
        output = tmp_path / f"out{count}"
        assert similarity.main([*common, "--limit", "6", "--output", str(output), *options]) != 0
        summary = json.loads((output / "tnews.test_public.similarity.train_0.json").read_text(encoding="utf-8"))
        assert (summary["complete"], summary["n"]) == (False, count)


def test_vectors_that_are_no_numbers(tmp_path: Path, expect_error: Callable[..., str]) -> None:
    config = random_checkpoint.config(hidden=16)
    broken = random_checkpoint.weights(config)
    broken["bert/encoder/layer_0/output/dense/kernel"][0, 0] = np.nan
    folder = random_checkpoint.write(tmp_path / "m", broken, config, random_checkpoint.vocabulary())
    line = expect_error(similarity.main, "--model", folder, "--data-dir", SAMPLE, "--dataset", "tnews", "--train", "0")
    assert "the model's scores are not finite numbers" in line


def test_what_is_refused(checkpoint_dir: Path, tmp_path: Path, expect_error: Callable[..., str]) -> None:
    common = ("--model", checkpoint_dir, "--dataset")
    write_rows(tmp_path / "csldcp" / "test_public.json", [{"content": "论坐忘", "label": "哲学"}])
    line = expect_error(similarity.main, *common, "csldcp", "--data-dir", tmp_path)
    assert "train_0.json: no such file; the splits that are there: test_public" in line
    assert "eprstmt.yaml has no topic under methods" in expect_error(similarity.main, *common, "eprstmt")
    write_rows(tmp_path / "tnews" / "test_public.json", sample("test_public")[:4])
    write_rows(tmp_path / "tnews" / "train_0.json", [{"sentence": "无标签"}])
    line = expect_error(similarity.main, *common, "tnews", "--data-dir", tmp_path, "--train", "0")
    assert "train_0.json: the rows have no labels" in line


def test_datasets_without_a_pattern_are_left_out(
    checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--limit", "2", "--train", "0", "--output", str(tmp_path)]
    assert similarity.main(["--model", str(checkpoint_dir), "--data-dir", str(SAMPLE), *options]) == 0
    out = capfd.readouterr().out
    assert "left out: datasets/cards/eprstmt.yaml has no topic under methods" in out
    assert all(f"{title} test_public" in out for title in ("TNEWS", "CSLDCP", "IFLYTEK"))
