from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE, write_rows
from hypothesis import given
from hypothesis import strategies as st

import nsp_bert_coreference_resolution as coreference
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.answer_mapping import apply_thresholds, learn_thresholds, rank, rank_in_batches
from nsp_bert.cards import load_card
from nsp_bert.contents import Mention
from nsp_bert.encoding import encode_mentions
from nsp_bert.methods.ranking import make_curve
from nsp_bert.results.metrics import clustered_interval
from nsp_bert.tokenization import PairEncoder
from utils import load_examples

scores = st.lists(st.floats(-20, 20, width=32), min_size=3, max_size=60, unique=True).map(
    lambda values: np.array(values, np.float32)
)


def test_ranking_by_hand() -> None:
    log_odds = np.array([0.3, -1.0, 2.0, 0.1, 5.0, -3.0, 1.0], np.float32)
    assert rank(log_odds, 2).tolist() == [1, 0, 1, 0, 1, 0, 1]
    assert rank(log_odds, 3).tolist() == [1, 0, 2, 1, 2, 0, 2]
    assert rank(log_odds[:1], 2).tolist() == [1]
    assert rank_in_batches(log_odds, 2, 2).tolist() == [1, 0, 1, 0, 1, 0, 1]
    assert rank_in_batches(log_odds, 2, 4).tolist() == [1, 0, 1, 0, 1, 0, 1]


def test_thresholds_by_hand() -> None:
    dev = np.array([4.0, 1.0, 3.0, 2.0, 6.0, 5.0], np.float32)
    assert learn_thresholds(dev, 2).tolist() == [3.0]
    assert learn_thresholds(dev, 3).tolist() == [2.0, 4.0]
    test = np.array([2.0, 2.1, 4.0, 4.5, -9.0], np.float32)
    assert apply_thresholds(test, learn_thresholds(dev, 3)).tolist() == [0, 1, 1, 2, 0]
    with pytest.raises(ValueError, match="3 labels"):
        learn_thresholds(dev[:2], 3)


@given(log_odds=scores, labels=st.integers(2, 3))
def test_thresholds_rank_their_own_rows_alike(log_odds: np.ndarray, labels: int) -> None:
    predictions = apply_thresholds(log_odds, learn_thresholds(log_odds, labels))
    np.testing.assert_array_equal(predictions, rank(log_odds, labels))
    assert np.bincount(predictions, minlength=labels)[:-1].tolist() == [len(log_odds) // labels] * (labels - 1)


@given(log_odds=scores, labels=st.integers(2, 3), seed=st.integers(0, 99))
def test_ranking_does_not_depend_on_row_order(log_odds: np.ndarray, labels: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(log_odds))
    np.testing.assert_array_equal(rank(log_odds[order], labels), rank(log_odds, labels)[order])
    np.testing.assert_array_equal(rank_in_batches(log_odds, labels, len(log_odds)), rank(log_odds, labels))


def test_batch_curve_shows_what_file_order_does() -> None:
    """Perfect scores in a file that is sorted by label: batches in file order are at chance, shuffled ones are not."""
    truths = np.repeat([0, 1], 64)
    curve = make_curve(truths + np.linspace(0, 0.5, 128), truths, 2, seeds=3)
    assert [point.batch for point in curve] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert [point.file_order for point in curve] == [0.5] * 7 + [1.0]
    assert curve[5].shuffled > 0.85


@pytest.mark.parametrize("name", ["bustm", "ocnli", "csl"])
def test_sentence_pair_run(checkpoint_dir: Path, tmp_path: Path, name: str) -> None:
    arguments = ["--model", str(checkpoint_dir), "--dataset", name, "--max-length", "128", "--output", str(tmp_path)]
    assert sentence_pair.main([*arguments, "--batch-curve", "--seeds", "2"]) == 0
    check_run(tmp_path, name)


def test_rows_of_one_abstract_are_drawn_together(checkpoint_dir: Path, tmp_path: Path) -> None:
    """CSL's card names the key of a row whose equal values make a cluster; the interval is a bootstrap over these."""
    assert sentence_pair.main(["--model", str(checkpoint_dir), "--dataset", "csl", "--output", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "csl.test_public.json").read_text(encoding="utf-8"))["metrics"]
    rows = [json.loads(line) for line in (tmp_path / "csl.test_public.jsonl").open(encoding="utf-8")]
    given = [json.loads(line) for line in (SAMPLE / "csl" / "test_public.json").open(encoding="utf-8")]
    key = load_card("csl").clusters
    assert key
    clusters = [row[key] for row in given]
    assert len(set(clusters)) < len(clusters)
    right = [row["prediction"] == row["label"] for row in rows]
    assert metrics["interval_method"] == "bootstrap over clusters"
    assert tuple(metrics["accuracy_interval"]) == clustered_interval(right, clusters)


def test_coreference_run(checkpoint_dir: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(checkpoint_dir), "--output", str(tmp_path), "--batch-curve"]
    assert coreference.main(arguments) == 0
    two = check_run(tmp_path, "cluewsc")
    assert coreference.main([*arguments, "--stages", "1", "--overwrite"]) == 0
    assert check_run(tmp_path, "cluewsc") != two


def check_run(folder: Path, name: str) -> list[float]:
    """The files hold one score a row, predictions follow from the thresholds, metrics from the predictions."""
    summary = json.loads((folder / f"{name}.test_public.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / f"{name}.test_public.jsonl").open(encoding="utf-8")]
    labels = load_card(name).labels
    assert [row["index"] for row in rows] == list(range(len(rows)))
    for row in rows:
        assert row["prediction"] == labels[sum(row["scores"][0] > edge for edge in summary["thresholds"])]
    accuracy = np.mean([row["prediction"] == row["label"] for row in rows])
    assert summary["metrics"]["accuracy"] == summary["metrics"]["accuracy_thresholds"] == pytest.approx(accuracy)
    log_odds = np.array([row["scores"][0] for row in rows])
    ranked = [labels[index] for index in rank(log_odds, len(labels))]
    expected = np.mean([guess == row["label"] for guess, row in zip(ranked, rows, strict=True)])
    assert summary["metrics"]["accuracy_ranked"] == pytest.approx(expected, abs=0.03)  # scores are rounded in files
    assert summary["batch_curve"][-1]["file_order"] == summary["metrics"]["accuracy_ranked"]
    return [row["scores"][0] for row in rows]


def test_unlabelled_rows_are_predicted(checkpoint_dir: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(checkpoint_dir), "--dataset", "bustm", "--split", "test", "--output", str(tmp_path)]
    assert sentence_pair.main([*arguments, "--batch-curve"]) == 0
    summary = json.loads((tmp_path / "bustm.test.json").read_text(encoding="utf-8"))
    assert (summary["n"], summary["metrics"]) == (10, None)


def test_dev_is_scored_once_where_it_is_asked_for(
    checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(checkpoint_dir), "--dataset", "bustm", "--output", str(tmp_path)]
    assert sentence_pair.main([*arguments, "--split", "dev_few_all"]) == 0
    summary = json.loads((tmp_path / "bustm.dev_few_all.json").read_text(encoding="utf-8"))
    assert f"{summary['n']} rows = {summary['n']} pairs" in capfd.readouterr().out
    assert summary["metrics"]["accuracy_ranked"] == summary["metrics"]["accuracy_thresholds"]
    assert sentence_pair.main([*arguments, "--split", "dev_few_all", "--limit", "5", "--overwrite"]) == 0
    limited = json.loads((tmp_path / "bustm.dev_few_all.json").read_text(encoding="utf-8"))
    assert (limited["n"], limited["thresholds"]) == (5, summary["thresholds"])


def test_too_few_dev_rows(expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path) -> None:
    row = {"sentence1": "一", "sentence2": "二", "label": "neutral", "id": 1}
    for split in ("dev_few_all", "test_public"):
        write_rows(tmp_path / "ocnli" / f"{split}.json", [row, row])
    arguments = ("--model", checkpoint_dir, "--data-dir", tmp_path, "--dataset", "ocnli")
    assert "2 rows cannot teach the thresholds between 3 labels" in expect_error(sentence_pair.main, *arguments)


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def spell(token_ids: list[int]) -> str:
    return "".join(chr(token_id) if token_id > 2 else " |"[token_id - 1] for token_id in token_ids)


def test_mention_prompts() -> None:
    mention = Mention("abcXdefYghi", "X", 3, "Y", 7)
    wide, narrow = PairEncoder(letters, 1, 2, 99), PairEncoder(letters, 1, 2, 18)
    encode = lambda encoder, position, stages: spell(  # noqa: E731
        next(encode_mentions(encoder, [mention], "<{}>", position, stages)).token_ids
    )
    assert encode(wide, "suffix", 2) == " abcXdefYghi<Y>|X|"
    assert encode(wide, "prefix", 2) == " X|abcXdefYghi<Y>|"
    assert encode(wide, "suffix", 1) == " abcXdefYghi|<Y>X|"
    cut = encode(narrow, "suffix", 2)
    assert "XdefY" in cut
    assert cut.endswith("<Y>|X|")
    assert len(cut) == 18


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"target": None}, 'no "target" with the spans'),
        ({"text": "短"}, "is not at"),
        ({"label": "maybe"}, "unknown label 'maybe'"),
    ],
)
def test_bad_coreference_rows(
    expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path, change: dict, reason: str
) -> None:
    rows = [json.loads(line) for line in (SAMPLE / "cluewsc" / "dev_few_all.json").open(encoding="utf-8")]
    write_rows(tmp_path / "cluewsc" / "dev_few_all.json", rows)
    write_rows(tmp_path / "cluewsc" / "test_public.json", [rows[0], rows[1] | change])
    line = expect_error(coreference.main, "--model", checkpoint_dir, "--data-dir", tmp_path)
    assert "cluewsc/test_public.json:2: " in line
    assert reason in line


@pytest.mark.parametrize("prompt", [None, [], ["a", 3], 5])
def test_bad_sentence_pair_rows(
    expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path, prompt: object
) -> None:
    rows = [json.loads(line) for line in (SAMPLE / "csl" / "dev_few_all.json").open(encoding="utf-8")]
    write_rows(tmp_path / "csl" / "dev_few_all.json", [rows[0], rows[1] | {"keyword": prompt}])
    arguments = ("--model", checkpoint_dir, "--data-dir", tmp_path, "--dataset", "csl")
    assert 'csl/dev_few_all.json:2: no "keyword"' in expect_error(sentence_pair.main, *arguments)


@pytest.mark.parametrize(
    ("name", "rows"), [("bustm", 1772), ("ocnli", 2520), ("csl", 2838), ("cluewsc", 976), ("chid", 2002)]
)
def test_real_files_load_whole(fewclue_dir: Path, name: str, rows: int) -> None:
    card = load_card(name)
    assert len(load_examples(card, fewclue_dir, "test_public")) == rows
    assert all(example.label is None for example in load_examples(card, fewclue_dir, "test"))
