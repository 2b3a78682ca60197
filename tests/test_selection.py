"""Which rows of a file are asked for: --limit, --sample and --seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import RandomScorer, RunScript
from hypothesis import given
from hypothesis import strategies as st

import nsp_bert_classification as classification
import nsp_bert_entity_linking as entity_linking
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.cards import load_card
from nsp_bert.rows import Example, Selection
from utils import load_examples

labels = st.lists(st.sampled_from("甲乙丙"), min_size=1, max_size=200)


def examples_of(names: list[str | None]) -> list[Example]:
    return [Example(index, None, None, name) for index, name in enumerate(names)]


@given(names=labels, count=st.integers(1, 250), seed=st.integers(0, 5))
def test_a_sample_keeps_the_share_of_each_label(names: list[str], count: int, seed: int) -> None:
    chosen = Selection(sample=count, seed=seed).choose(examples_of(sorted(names))).examples
    places = [example.index for example in chosen]
    assert places == sorted(set(places))
    assert len(places) == min(count, len(names))
    counts, share = Counter(example.label for example in chosen), len(chosen) / len(names)
    assert all(abs(counts[name] - share * number) < 1 for name, number in Counter(names).items())


def test_seeds_draw_different_rows_and_each_the_same_again() -> None:
    rows = examples_of(["甲"] * 500)
    drawn = {seed: [one.index for one in Selection(sample=50, seed=seed).choose(rows).examples] for seed in (1, 2)}
    assert drawn[1] != drawn[2]
    assert drawn[1] == [one.index for one in Selection(sample=50, seed=1).choose(rows).examples]


def test_every_row_is_as_likely() -> None:
    rows = examples_of(["甲"] * 3 + ["乙"] * 17)
    times = Counter(one.index for seed in range(2000) for one in Selection(sample=5, seed=seed).choose(rows).examples)
    assert all(420 < times[index] < 580 for index in range(20))  # 500 expected, 4 standard deviations


def test_rows_without_labels() -> None:
    assert len(Selection(sample=7).choose(examples_of([None] * 20)).examples) == 7


@pytest.mark.parametrize(
    ("selection", "words", "number"),
    [
        (Selection(), "all", "2,010 rows"),
        (Selection(limit=40), "first 40 rows", "first 40 of 2,010 rows"),
        (Selection(limit=9999), "first 9,999 rows", "2,010 rows"),
        (Selection(sample=40, seed=3), "40 random rows (seed 3)", "40 random of 2,010 rows (seed 3)"),
    ],
)
def test_words(selection: Selection, words: str, number: str) -> None:
    assert str(selection) == words
    assert selection.choose(examples_of(["甲"] * 2010)).number == number


def test_the_first_line_and_the_result_say_which_rows(
    random_scores: type[RandomScorer], run_script: RunScript, capsys: pytest.CaptureFixture[str]
) -> None:
    summary, rows = run_script(classification, "tnews", "--sample", "20", "--seed", "2")
    assert (
        "TNEWS test_public (bundled sample): 20 random of 60 rows (seed 2) x 15 labels = 300" in capsys.readouterr().out
    )
    assert (summary["settings"]["rows"], summary["n"]) == ("20 random rows (seed 2)", 20)
    assert len({row["label"] for row in rows}) == 15
    summary, rows = run_script(classification, "tnews", "--limit", "20")
    assert "first 20 of 60 rows x 15 labels" in capsys.readouterr().out
    assert [row["index"] for row in rows] == list(range(20))


def test_drawn_rows_have_the_scores_of_the_whole_run(run_script: RunScript) -> None:
    """Also where the rows are those of dev, which is scored whole."""
    for split in ("dev_few_all", "test_public"):
        whole = {row["index"]: row for row in run_script(sentence_pair, "bustm", split=split)[1]}
        _, rows = run_script(sentence_pair, "bustm", "--sample", "5", split=split)
        assert 0 < len(rows) == 5 < len(whole)
        for row in rows:
            assert row["prediction"] == whole[row["index"]]["prediction"]
            assert row["scores"] == pytest.approx(whole[row["index"]]["scores"], abs=1e-4)


def test_mentions_are_drawn(random_scores: type[RandomScorer], tmp_path: Path, checkpoint_dir: Path) -> None:
    arguments = ["--model", str(checkpoint_dir), "--sample", "9", "--output", str(tmp_path)]
    assert entity_linking.main(arguments) == 0
    lines = [line for path in tmp_path.glob("duel_*.dev.jsonl") for line in path.open(encoding="utf-8")]
    assert 0 < len(lines) <= 9


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--seed", "3"), "--seed is about --sample"),
        (("--labels", "好,坏", "--text", "好", "--sample", "3"), "--sample: about a dataset's files"),
    ],
)
def test_refusals(
    expect_error: Callable[..., str], checkpoint_dir: Path, options: tuple[str, ...], reason: str
) -> None:
    assert reason in expect_error(classification.main, "--model", checkpoint_dir, *options)


def test_real_rows(fewclue_dir: Path) -> None:
    rows = load_examples(load_card("tnews"), fewclue_dir, "test_public")
    whole = Counter(row.label for row in rows)
    drawn = Counter(row.label for row in Selection(sample=200).choose(rows).examples)
    assert all(abs(drawn[label] - count * 200 / len(rows)) < 1 for label, count in whole.items())
