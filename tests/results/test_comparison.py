"""Methods compared on made-up runs: what is a cell, what is tested against what, and what the tables say."""

from __future__ import annotations

from statistics import stdev

import numpy as np
import pytest
from made_up_runs import made_up

from nsp_bert.results import comparison_tables
from nsp_bert.results.benchmark_tables import FEWCLUE, Table
from nsp_bert.results.comparison import Comparison, Outcome, PairedTest, compare
from nsp_bert.results.comparison_tables import accuracy_table, cost_table, significance_table
from nsp_bert.results.costs import cost
from nsp_bert.results.metrics import mcnemar

ZERO = made_up([True] * 10 + [False] * 10)
PET = made_up([True] * 2 + [False] * 8 + [False] * 9 + [True], "pet")


def few(method: str, *shares: int, **more: object) -> list[Outcome]:
    """Return a run for each training set, of which so many of 20 rows are right."""
    rows = ([True] * share + [False] * (20 - share) for share in shares)
    return [made_up(right, method, str(train), **more) for train, right in enumerate(rows)]


def only_test(comparison: Comparison) -> PairedTest:
    (found,) = comparison.tests
    return found


def test_single_runs_by_mcnemar() -> None:
    found = only_test(compare([ZERO, PET]))
    assert (found.gained, found.lost, found.runs) == (1, 8, 1)
    assert found.difference
    assert found.difference.mean == pytest.approx(-7 / 20)
    assert found.difference.p == found.corrected == mcnemar(1, 8)
    assert found.significant


def test_rows_that_belong_together_are_not_tested_as_independent() -> None:
    clusters = [place // 5 for place in range(20)]
    pair = [made_up(one.right.tolist(), one.summary.method, clusters=clusters) for one in (ZERO, PET)]
    found = only_test(compare(pair))
    assert found.difference
    assert found.difference.p > mcnemar(1, 8)
    old = [Outcome(one.summary, one.index, one.right, None) for one in pair]
    assert "does not say which rows belong together" in only_test(compare(old)).missing


def test_training_sets_are_paired() -> None:
    """Run by run: on each training set one method is right on two rows more, whatever the order of the runs."""
    base, other = few("nsp_bert_few_shot", 10, 14, 6, 8, 12), few("pet", 12, 16, 8, 10, 14)
    comparison = compare([*base, *reversed(other)])
    found = next(test for test in comparison.tests if test.cell.line.method == "pet")
    assert (found.reference.method, found.runs, found.gained, found.lost) == ("nsp_bert_few_shot", 5, 10, 0)
    assert found.difference
    assert found.difference.mean == pytest.approx(0.1)
    accuracies = [0.6, 0.8, 0.4, 0.5, 0.7]
    assert sorted(found.cell.accuracies) == sorted(accuracies)
    assert found.cell.accuracy == pytest.approx(0.6)
    assert found.cell.deviation == pytest.approx(stdev(accuracies))


def test_few_shot_nsp_bert_is_compared_with_zero_shot() -> None:
    found = only_test(compare([ZERO, *few("nsp_bert_few_shot", 12, 14, 16)]))
    assert (found.reference.method, found.runs, found.gained, found.lost) == ("nsp_bert", 3, 12, 0)


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        ([PET], "nsp_bert has not been run"),
        ([ZERO, made_up([True] * 20, "pet", checkpoint="another")], "nsp_bert has not been run"),
        ([ZERO, made_up([True] * 20, "pet", model="another")], "nsp_bert has not been run"),
        ([ZERO, made_up([True] * 20, "pet", split="dev_few_all")], "nsp_bert has not been run"),
        ([ZERO, made_up([True] * 20, "pet", data="other")], "nsp_bert was run on other data"),
        ([ZERO, made_up([True] * 20, "pet", first=1)], "nsp_bert was run on other rows"),
        ([ZERO, made_up([True] * 9, "pet")], "nsp_bert was run on other rows"),
        ([ZERO, *few("pet", 9, 9)], "nsp_bert_few_shot has not been run"),
    ],
)
def test_what_cannot_be_compared_says_why(outcomes: list[Outcome], reason: str) -> None:
    found = only_test(compare(outcomes))
    assert found.missing == reason
    assert found.difference is found.corrected is None
    assert not found.significant


def test_other_training_sets_are_not_compared() -> None:
    base, other = few("nsp_bert_few_shot", 9, 9), few("pet", 9, 9, 9, 9)
    found = [test for test in compare([*base[:1], *other[2:]]).tests if test.cell.line.method == "pet"]
    assert [test.missing for test in found] == ["nsp_bert_few_shot was trained on other training sets"]
    (shared,) = [test for test in compare([*base, *other]).tests if test.cell.line.method == "pet"]
    assert shared.runs == 2


def test_what_has_no_place() -> None:
    """Runs that are unfinished, without labels, under another prompt, on all training sets; a second of the same."""
    rows = [True] * 20
    without = [
        made_up(rows, "pet", complete=False),
        made_up(rows, "pet", metrics=None),
        made_up(rows, "pet", default_prompt=False),
        made_up(rows, "pet", fingerprint=None),
        made_up(rows, "pet", "few_all"),
    ]
    assert not compare(without).cells
    assert compare([]).lines == []
    pets = few("pet", 9, 9)
    fingerprint = pets[0].summary.fingerprint
    assert fingerprint
    of_other_code = made_up(rows, "pet", "2", fingerprint=fingerprint.model_copy(update={"code": "d"}))
    comparison = compare([*pets, of_other_code, made_up(rows, "pet", "0"), PET])
    sizes = {line.name: len(cell.outcomes) for (line, _), cell in comparison.cells.items()}
    assert sizes == {"pet, few-shot": 2, "pet": 1}


def test_holm_counts_every_test() -> None:
    second = [made_up(one.right.tolist(), one.summary.method, dataset="bustm") for one in (ZERO, PET)]
    comparison = compare([ZERO, PET, *second, *few("similarity", 9, 9)])
    assert (comparison.tested, len(comparison.tests)) == (2, 3)
    assert [test.corrected for test in comparison.tests] == [pytest.approx(2 * mcnemar(1, 8))] * 2 + [None]


def cells(table: Table) -> dict[str, dict[str, str]]:
    return {row[0]: dict(zip(table.headers, row, strict=True)) for row in table.rows}


def test_the_main_table_has_published_rows_above_each_method() -> None:
    comparison = compare([ZERO, PET, *few("pet", 12, 14, 16, 12, 11), *few("efl", 12)])
    published = {("pet", False): ("pet_zero",), ("pet", True): ("pet",), ("efl", True): ("efl",)}
    table = accuracy_table(comparison, published, ["gpt, some-model, not on ChID: a reason"])
    names = [name.split(" [")[0] for name in cells(table)]
    assert names == [
        "nsp_bert, some-model",
        "PET-zero, A, hfl-roberta-wwm-ext, zero-shot",
        "PET-zero, B, hfl-roberta-wwm-ext, zero-shot",
        "pet, some-model",
        "PET, A, hfl-roberta-wwm-ext, a single run",
        "PET, B, hfl-roberta-wwm-ext, mean of five",
        "PET, B, ernie-1.0, mean of five",
        "pet, few-shot, some-model",
        "EFL, A, hfl-roberta-wwm-ext, a single run",
        "EFL, B, hfl-roberta-wwm-ext, mean of five",
        "EFL, B, ernie-1.0, mean of five",
        "efl, few-shot, some-model",
    ]
    rows = cells(table)
    assert rows["pet, few-shot, some-model"]["TNEWS"] == "65.00 ± 10.00"
    low, high = ZERO.summary.metrics.accuracy_interval if ZERO.summary.metrics else (0, 0)
    assert rows["nsp_bert, some-model"]["TNEWS"] == f"50.00 ({100 * low:.2f}–{100 * high:.2f})"
    assert rows["pet, some-model"]["TNEWS"].startswith("15.00 (")
    assert rows["pet, some-model"]["TNEWS"].endswith(") *")
    assert rows["nsp_bert, some-model"]["EPRSTMT"] == rows["nsp_bert, some-model"]["score"] == ""
    means = next(row for name, row in rows.items() if name.startswith("PET, B, hfl"))
    assert means["EPRSTMT"] == "86.70 ± 1.00"
    assert table.below[-1] == "gpt, some-model, not on ChID: a reason"


def test_footnotes_are_below_once_each() -> None:
    comparison = compare(few("p_tuning", 12, 13))
    table = accuracy_table(comparison, {("p_tuning", True): ("p_tuning", "lm_bff")}, [])
    texts = [line.split("] ", 1)[1] for line in table.below]
    assert len(texts) == len(set(texts))
    notes = {f"[{place}]": text for place, text in enumerate(texts, 1)}
    marked = {name: row for name, row in cells(table).items() if name.startswith("P-tuning, A")}
    ((_, row),) = marked.items()
    marks = row["TNEWS"].split(" [")[1].removesuffix("]").split(", ")
    assert [notes[f"[{mark}]"] for mark in marks] == [
        "without the rows of news_stock, a label that the script does not know",
        "on 1,876 of 2,010 rows",
    ]
    assert "[" not in row["OCNLI"]
    lm_bff = next(row for name, row in cells(table).items() if name.startswith("LM-BFF, A"))
    assert notes["[" + lm_bff["ChID"].rsplit(", ", 1)[1]] == "a single run"
    own = cells(table)["p_tuning, few-shot, some-model"]["TNEWS"]
    assert notes["[" + own.rsplit("[", 1)[1]] == "of the training sets 0, 1"


def test_the_score_needs_all_nine() -> None:
    nine = [made_up([True] * place + [False] * 9, dataset=name) for place, name in enumerate(FEWCLUE)]
    other = made_up([True] * 9, dataset="agnews")
    table = accuracy_table(compare([*nine, other]), {}, [])
    (row,) = table.rows
    shares = [place / (place + 9) for place in range(9)]
    assert row[1] == f"{100 * np.mean(shares):.2f}"
    assert table.headers[-1] == "AGNEWS"
    (row,) = accuracy_table(compare([*nine[1:], other]), {}, []).rows
    assert row[1:3] == ["", ""]


def test_two_checkpoints_of_one_name_are_told_apart() -> None:
    twin = made_up([True] * 20, checkpoint="ffffffff00")
    names = [row[0] for row in accuracy_table(compare([ZERO, twin]), {}, []).rows]
    assert names == ["nsp_bert, some-model 00ac8eb3", "nsp_bert, some-model ffffffff"]
    part = made_up([True] * 4, sample=True, settings={"rows": "first 4 rows"})
    assert [row[0] for row in accuracy_table(compare([part]), {}, []).rows] == [
        "nsp_bert, some-model (sample, first 4 rows)"
    ]


def test_the_table_of_tests() -> None:
    table = significance_table(compare([ZERO, PET, *few("similarity", 9, 9)]))
    pet, similarity = (dict(zip(table.headers, row, strict=True)) for row in table.rows)
    assert (pet["against"], pet["gain"], pet["gained"], pet["lost"]) == ("nsp_bert", "-35.00", "1", "8")
    assert pet["p"] == pet["p corrected"] == f"{mcnemar(1, 8):.2g}"
    assert pet["no test"] == ""
    assert similarity["no test"] == "nsp_bert_few_shot has not been run"
    assert similarity["p"] == similarity["gain"] == ""
    assert "all 1 tests" in table.note


def test_costs() -> None:
    """20 pairs in 2 seconds where a result does not say its passes; else 60 at the same speed."""
    old, new = made_up([True] * 10), made_up([True] * 10, passes=60, peak_memory_mib=900)
    assert cost([old.summary]).passes_per_row == 2
    assert cost([old.summary]).milliseconds_per_row == pytest.approx(200)
    assert cost([old.summary]).peak_memory_mib is cost([old.summary]).training_seconds is None
    found = cost([new.summary])
    assert (found.passes_per_row, found.milliseconds_per_row, found.peak_memory_mib) == (6, pytest.approx(600), 900)
    trained = cost([one.summary for one in few("pet", 9, 9, 9)])
    assert (trained.training_seconds, trained.peak_memory_mib) == (6, 702)
    kept = made_up([True] * 10, seconds=0.0, pairs_per_second=0.0, passes=10)
    assert (cost([kept.summary]).passes_per_row, cost([kept.summary]).seconds_per_row) == (1, None)
    rows = cells(cost_table(compare([new, *few("pet", 9, 9)])))
    assert rows["nsp_bert, some-model"] == {
        "method": "nsp_bert, some-model",
        "dataset": "TNEWS",
        "runs": "1",
        "scoring, s": "2.0",
        "passes a row": "6.00",
        "ms a row": "600",
        "training, s": "",
        "memory, MiB": "900",
    }
    assert rows["pet, few-shot, some-model"]["training, s"] == "6.0"


def test_nothing_to_compare_is_no_table() -> None:
    assert comparison_tables.comparison_tables(compare([]), {}) == []
    assert [table.name for table in comparison_tables.comparison_tables(compare([ZERO]), {})] == [
        "methods",
        "methods_costs",
    ]
