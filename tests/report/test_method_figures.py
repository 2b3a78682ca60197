"""The report's section about methods: a heat map, accuracy against cost, rows that methods dispute."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pet
import pytest
from conftest import RandomScorer
from made_up_runs import made_up

import nsp_bert_classification
from nsp_bert.report.method_figures import disputed_rows, method_figures
from nsp_bert.report.reader import ResultRow, ResultRun
from nsp_bert_report import main


def run_of(predictions: str, method: str = "nsp_bert", train: str | None = None, **more: object) -> ResultRun:
    """Return a run of rows whose label is a, with these predictions."""
    rows = [
        ResultRow(index=place, label="a", prediction=letter, scores=[1.0, 0.0])
        for place, letter in enumerate(predictions)
    ]
    right = [letter == "a" for letter in predictions]
    return ResultRun(made_up(right, method, train, **more).summary, rows, [{} for _ in rows])  # type: ignore[arg-type]


def test_methods_by_datasets() -> None:
    runs = [
        run_of("aabb", "pet", "0"),
        run_of("aaab", "pet", "1"),
        run_of("aaaa"),
        run_of("abbb", dataset="bustm"),
    ]
    heat, costs = method_figures(runs)
    (trace,) = heat.plot["data"]
    assert trace["x"] == ["TNEWS", "BUSTM"]
    assert trace["y"] == ["nsp_bert, some-model", "pet, few-shot, some-model"]
    assert trace["z"] == [[1.0, 0.25], [0.625, None]]
    assert trace["text"] == [["100.00", "25.00"], ["62.50 ± 17.68", ""]]
    assert costs.plot["layout"]["xaxis"]["type"] == "log"
    assert [points["name"] for points in costs.plot["data"]] == trace["y"]
    assert costs.plot["data"][0]["y"] == [1.0, 0.25]
    assert costs.plot["data"][0]["x"] == [500.0, 500.0]  # 20 passes in 2 seconds for 4 rows


def test_one_method_is_no_comparison() -> None:
    assert method_figures([run_of("aab"), run_of("abb", dataset="bustm")]) == []
    assert method_figures([]) == []


def test_disputed_rows() -> None:
    """Of the same dataset and model; two runs of one method dispute nothing."""
    runs = [
        run_of("aabb"),
        run_of("abba", "pet"),
        run_of("bbbb", dataset="bustm"),
        run_of("bbbb", "pet", model="another"),
    ]
    assert disputed_rows(runs) == [[1, 3], [1, 3], [], []]
    assert disputed_rows([run_of("ab", "pet", "0"), run_of("ba", "pet", "1")]) == [[], []]
    assert disputed_rows([run_of("aab"), run_of("b", "pet")]) == [[0], [0]]


@pytest.mark.parametrize("methods", [1, 2])
def test_the_page(random_scores: type[RandomScorer], checkpoint_dir: Path, tmp_path: Path, methods: int) -> None:
    common = ["--model", str(checkpoint_dir), "--dataset", "eprstmt", "--output", str(tmp_path)]
    for script in (nsp_bert_classification, pet)[:methods]:
        assert script.main(common) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nsp_bert.report.page.get_plotlyjs", lambda: "")
        assert main([str(tmp_path), "--output", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ('<section id="methods">' in page) is ('href="#methods"' in page) is (methods == 2)
    browser = json.loads(re.findall(r'id="browser">(.*?)</script>', page, re.DOTALL)[0])
    predictions = [{row[0]: run["labels"][row[4]] for row in run["rows"]} for run in browser["runs"]]
    differing = [index for index in predictions[0] if predictions[0][index] != predictions[-1][index]]
    assert [run["disputed"] for run in browser["runs"]] == [differing] * methods
    assert bool(differing) is (methods == 2)
