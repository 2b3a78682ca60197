"""Rows of csv and tsv files, the datasets that come as such, and the few-shot sets of the sample."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from conftest import SAMPLE
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.cards import load_card
from nsp_bert.rows import Example, read_table
from nsp_bert_classification import main
from utils import load_examples

FEWCLUE = ["eprstmt", "tnews", "csldcp", "iflytek", "ocnli", "bustm", "csl", "chid", "cluewsc"]
cells = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)


@pytest.mark.parametrize(("name", "rows"), [("agnews", 12), ("dbpedia", 14), ("imdb", 8), ("amazon", 8)])
def test_samples_load_and_run(checkpoint_dir: Path, tmp_path: Path, name: str, rows: int) -> None:
    card = load_card(name)
    examples = load_examples(card, SAMPLE, "test")
    assert len(examples) == rows
    assert {example.label for example in examples} == set(card.labels)
    assert main(["--model", str(checkpoint_dir), "--dataset", name, "--output", str(tmp_path)]) == 0
    assert json.loads((tmp_path / f"{name}.test.json").read_text(encoding="utf-8"))["n"] == rows


def texts_of(examples: list[Example]) -> set[str]:
    """The texts of rows, of a pair both; of a cloze, whose two halves may be short, the whole."""
    slots = [example.content.slots for example in examples]
    whole = {f"{one['before']}_{one['after']}" for one in slots if "before" in one}
    return whole | {one[key] for one in slots for key in ("text", "other") if key in one}


@pytest.mark.parametrize("name", FEWCLUE)
def test_training_sets_of_the_sample(name: str) -> None:
    """Five sets, each with every label equally often, and no text that is asked for."""
    card = load_card(name)
    asked = texts_of(
        [one for split in ("dev_few_all", "test_public", "test") for one in load_examples(card, SAMPLE, split)]
    )
    sets = [load_examples(card, SAMPLE, f"train_{number}") for number in range(5)]
    for rows in sets:
        assert not texts_of(rows) & asked
        counts = Counter(row.label for row in rows)
        assert set(counts) == set(card.label_values or map(str, range(7)))
        assert len(set(counts.values())) == 1
    for left, right in combinations(sets, 2):
        shared = {(row.content, row.label) for row in left} & {(row.content, row.label) for row in right}
        assert len(shared) <= len(left) * 2 / 3


@pytest.mark.parametrize("name", FEWCLUE)
def test_dev_sets_of_the_sample(name: str) -> None:
    """Five different halves of dev_few_all that together are the whole of it."""
    card = load_card(name)
    dev = [(row.content, row.label) for row in load_examples(card, SAMPLE, "dev_few_all")]
    halves = [
        frozenset((row.content, row.label) for row in load_examples(card, SAMPLE, f"dev_{number}"))
        for number in range(5)
    ]
    assert {len(half) for half in halves} == {len(dev) // 2}
    assert len(set(halves)) == 5
    assert frozenset().union(*halves) == set(dev)


def test_a_quoted_line_break_and_quotes(tmp_path: Path) -> None:
    first = load_examples(load_card("agnews"), SAMPLE, "test")[9].content.text
    assert first.startswith("New chip halves power use, engineers say. The processor")
    assert "shout\nand vanish" in load_examples(load_card("imdb"), SAMPLE, "test")[7].content.text


@given(table=st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_tsv_reads_what_was_written(tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("tsv") / "test.tsv"
    lines = ["left\tright", *("\t".join(row) for row in table)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    rows = [(row["left"], row["right"]) for _, row in read_table(path, None, "\t")]
    assert rows == table


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"1","a","b"\n"2","c"\n', "agnews/test.csv:2: 2 columns instead of 3 (label, title, description)"),
        ('"1","a","b","c","d"\n', "agnews/test.csv:1: 5 columns instead of 3"),
        ('"9","a","b"\n', "agnews/test.csv:1: unknown label '9'"),
        ('"1","a","b"x\n', "agnews/test.csv:1: broken csv"),
        ("\xff", "agnews/test.csv: not UTF-8"),
        ("", "holds no rows"),
    ],
)
def test_bad_tables(
    expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "agnews").mkdir()
    (tmp_path / "agnews" / "test.csv").write_bytes(text.encode("latin-1"))
    arguments = ("--model", checkpoint_dir, "--data-dir", tmp_path, "--dataset", "agnews")
    assert reason in expect_error(main, *arguments)
