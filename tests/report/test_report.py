"""The report: one page from result files, and no file that it cannot read without its name."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_rows
from matplotlib import pyplot

import nsp_bert_benchmark
import nsp_bert_classification
import nsp_bert_entity_linking
from nsp_bert.files import digest
from nsp_bert.report.examples import LONGEST, browser_data, segments, shortened
from nsp_bert.report.figures import run_figures
from nsp_bert.report.page import build_page, run_names, script_json
from nsp_bert.report.paper_figures import curves_figure
from nsp_bert.report.reader import ResultRow, ResultRun, read_results
from nsp_bert.report.statistics import margin_histogram, reliability, score_histogram
from nsp_bert.results.summary import ROWS, TEXTS, Confusion, Metrics, Summary
from nsp_bert.results.tables import percent, varied_settings
from nsp_bert_report import main

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(1)> & \u2028"


@pytest.fixture(scope="module")
def results(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of all nine datasets, of two templates, of entity linking, and of texts without labels that attack."""
    folder = tmp_path_factory.mktemp("report")
    model = ["--model", str(checkpoint_dir)]
    assert nsp_bert_benchmark.main(["--models", str(checkpoint_dir), "--limit", "12", "--output", str(folder)]) == 0
    eprstmt = [*model, "--dataset", "eprstmt"]
    short = ["--limit", "12", "--template", "1", "--output", str(folder / "first")]
    assert nsp_bert_classification.main([*eprstmt, *short]) == 0
    assert nsp_bert_entity_linking.main([*model, "--limit", "12", "--output", str(folder / "duel")]) == 0
    rows = [{"id": f"<b>{index}</b>", "sentence": f"{ATTACK} {index}"} for index in range(3)]
    write_rows(folder / "data" / "eprstmt" / "test.json", rows)
    own = ["--split", "test", "--data-dir", str(folder / "data"), "--output", str(folder / "unlabelled")]
    assert nsp_bert_classification.main([*eprstmt, *own]) == 0
    return folder


@pytest.fixture(scope="module")
def page(results: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert main([str(results), "--output", str(path)]) == 0
    return path.read_text(encoding="utf-8")


def embedded(page: str, name: str) -> Any:
    found = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert len(found) == 1
    return json.loads(found[0])


def own_parts(page: str) -> str:
    """Return the page without plotly.js."""
    start = page.index("<script>/**\n* plotly.js")
    return page[:start] + "<script>" + page[page.index("</script>", start) :]


def main_table(page: str) -> list[list[str]]:
    body = page[page.index('<table id="main">') : page.index("</table>")]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)[1:]
    return [
        [re.sub(r"<[^>]+>|\s+", " ", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", r, re.DOTALL)] for r in rows
    ]


def test_nothing_is_loaded(page: str) -> None:
    parts = own_parts(page)
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["']?(?!#|data:)[^"'#]""", parts.replace("img src=x", ""))
    assert not re.search(r"https?://|\bfetch\(|XMLHttpRequest|@import|url\(|import\(", parts)
    assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:" in parts
    assert page.count("* plotly.js v") == 1
    assert len(page.encode()) < 6e6


def test_every_run_is_there_with_its_numbers(results: Path, page: str) -> None:
    summaries = [json.loads(path.read_text(encoding="utf-8")) for path in results.rglob("*.*.json")]
    table = main_table(page)
    assert len(table) == len(summaries) == 13
    for one in summaries:
        metrics = one["metrics"]
        keys = [key for key in ("accuracy", "macro_f1", "majority", "chance") if key in (metrics or {})]
        shown = [percent(metrics[key]) for key in keys]
        shown += [percent(bound) for bound in metrics["accuracy_interval"]] if metrics else []
        rows = [" ".join(cells) for cells in table if one["title"] in cells[0] and one["split"] in cells[2]]
        assert any(all(number in row for number in shown) for row in rows)
    assert all("bundled sample" in cells[0] for cells in table if "test_public" in cells[2])
    assert sum("no labels" in " ".join(cells) for cells in table) == 1
    assert "published</button>" not in page


def test_published_numbers_stand_where_the_summary_has_one(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "first", tmp_path / "first")
    path = next(tmp_path.rglob("*.json"))
    summary = json.loads(path.read_text(encoding="utf-8"))
    summary["published"] = {"accuracy": 0.8689, "source": "a <paper>", "inside_interval": False}
    path.write_text(json.dumps(summary), encoding="utf-8")
    row = build_page(read_results(tmp_path)).rows[0]
    assert (row.published.text, row.inside, row.accuracy.value) == ("86.89", False, summary["metrics"]["accuracy"])
    assert main([str(tmp_path), "--output", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'class="tick" style="left:86.89%"' in page
    assert '86.89 <b class="out">out</b>' in page
    assert "a &lt;paper&gt;" in page


def test_texts_stay_texts(page: str) -> None:
    assert ATTACK[:20] not in page
    assert "<script>alert" not in page
    assert page.count("</script>") == len(re.findall(r"<script[ >]", own_parts(page))) == 6
    browser = embedded(page, "browser")
    run = next(one for one in browser["runs"] if one["rows"][0][3] is None)
    index, own_id, fields, truth, guess, candidates, scores, rank = run["rows"][2]
    assert (index, own_id, truth, rank) == (2, "<b>2</b>", None, None)
    assert browser["strings"][fields[0]] == f"{ATTACK} 2"
    assert candidates[0] == guess
    assert scores == sorted(scores, reverse=True)


def test_the_browser_holds_every_row(results: Path, page: str) -> None:
    browser = embedded(page, "browser")
    strings = browser["strings"]
    assert len(strings) == len(set(strings))
    runs = read_results(results)
    assert len({one["name"] for one in browser["runs"]}) == len(runs)
    for run, entry in zip(runs, browser["runs"], strict=True):
        assert len(entry["rows"]) == run.summary.n
        for row, text, found in zip(run.rows, run.texts, entry["rows"], strict=True):
            assert entry["labels"][found[4]] == row.prediction
            assert (None if found[3] is None else entry["labels"][found[3]]) == row.label
            assert found[6] == sorted(found[6], reverse=True)
            assert found[6][0] == round(max(row.scores), 2)
            assert len(found[6]) <= 11
            if found[5]:
                assert entry["labels"][found[5][0]] == row.prediction
            if row.label is not None and len(row.scores) > 1:
                assert found[3] in found[5]
            if "candidates" in text:
                assert strings[found[8][0]] == text["candidates"][int(row.prediction)]
    chid = next(one for one in browser["runs"] if one["name"] == "ChID")
    assert chid["segments"] == ["{before}＿＿＿＿{after}", "{candidate}"]


@pytest.mark.parametrize(
    ("settings", "keys", "expected"),
    [
        ({"prompt_position": "prefix", "template": "这是{}"}, ["text"], ["{candidate}", "{text}"]),
        ({"prompt_position": "prefix"}, ["prompt", "text"], ["{prompt}", "{text}"]),
        (
            {"prompt_position": "suffix", "template": "上文中{}是指", "stages": 2},
            ["text", "span", "pronoun"],
            ["{text}上文中{pronoun}是指", "{span}"],
        ),
        (
            {"prompt_position": "suffix", "template": "上文中{}是指", "stages": 1},
            ["text", "span", "pronoun"],
            ["{text}", "上文中{pronoun}是指{span}"],
        ),
        (
            {"prompt_position": "suffix", "template": "上文中{}是指", "stages": 2},
            ["text", "name"],
            ["{text}上文中{name}是指", "{candidate}"],
        ),
    ],
)
def test_the_pair_that_was_scored(settings: dict, keys: list[str], expected: list[str]) -> None:
    assert segments(settings, keys) == expected


def test_long_texts_keep_what_is_near_the_blank() -> None:
    assert LONGEST["before"] == 1
    assert shortened("before", "abcdef", 4) == "…cdef"
    assert shortened("after", "abcdef", 4) == "abcd…"
    assert shortened("text", "abcdef", 4) == "abcdef"
    assert shortened("text", "abcdefg", 4) == "abcdef…"


def run_of(rows: list[tuple[str | None, str, list[float]]], **more: Any) -> ResultRun:
    summary = Summary.model_construct(title="x", dataset="x", metrics=None, settings={}, labels=[])
    lines = [
        ResultRow(index=index, label=label, prediction=prediction, scores=scores)
        for index, (label, prediction, scores) in enumerate(rows)
    ]
    return ResultRun(summary.model_copy(update=more), lines, [{}] * len(lines))


def test_reliability_and_histograms_count_every_row() -> None:
    rows: list[tuple[str | None, str, list[float]]] = [("a", "a", [3.0, 0.0])] * 19 + [("b", "a", [3.0, 0.0])]
    run = run_of(rows)
    found = reliability(run)
    confidence = 1 / (1 + np.exp(-3))
    assert (found.counts, found.accuracy) == ([20], [0.95])
    assert found.confidence == [pytest.approx(confidence, abs=1e-4)]
    assert found.error == pytest.approx(abs(confidence - 0.95), abs=1e-4)
    groups = margin_histogram(run).groups
    assert {name: sum(counts) for name, counts in groups.items()} == {"right": 19, "wrong": 1}
    contrast = run_of([("0", "0", [-1.0]), ("1", "1", [2.0]), ("1", "0", [0.0])], thresholds=[0.5])
    assert {name: sum(counts) for name, counts in score_histogram(contrast).groups.items()} == {"0": 1, "1": 2}
    unlabelled = run_of([(None, "0", [-1.0])], thresholds=[0.5])
    assert sum(score_histogram(unlabelled).groups["all rows"]) == 1


def test_figures_and_confusions_are_the_summaries(results: Path, page: str) -> None:
    plots = embedded(page, "plots")
    matrices = [plot["data"][0]["text"] for plot in plots if plot["data"][0]["type"] == "heatmap"]
    summaries = [run.summary for run in read_results(results)]
    assert matrices == [one.metrics.confusion.counts for one in summaries if one.metrics and one.metrics.confusion]
    assert page.count('class="plot"') == len(plots)
    titles = re.findall(r'<figure class="(.*?)">', page)
    assert titles.count("reliability") == 8  # nine less four by samples-contrast, and one again, and DuEL2.0's two
    assert titles.count("curve") == titles.count("scores") == 4
    assert titles.count("wide") == 1


def test_names_tell_runs_apart(results: Path) -> None:
    summaries = [run.summary for run in read_results(results)]
    names = run_names([*summaries, *summaries], varied_settings(summaries))
    assert len(set(names)) == len(names)


def test_figures_for_a_paper(results: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        assert main([str(results), "--output", str(tmp_path / "r.html"), "--figures", str(folder)]) == 0
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    begins = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert set(written[0]) == {name + kind for name in ("accuracy", "batch_curves") for kind in begins}
    assert all(content.startswith(begins[Path(name).suffix]) for name, content in written[0].items())
    assert not any(b"CreationDate" in content or b"<dc:date>" in content for content in written[0].values())
    assert "missing from" not in capfd.readouterr().err
    assert not list(tmp_path.glob("*.unfinished"))


def test_no_legend_lies_on_the_data(results: Path, page: str) -> None:
    legends = [plot["layout"]["legend"] for plot in embedded(page, "plots")]
    assert all((legend["y"] >= 1, legend["yanchor"]) == (True, "bottom") for legend in legends)
    figure = curves_figure([run.summary for run in read_results(results)])
    assert len(figure.legends) == 1
    assert not any(axis.get_legend() for axis in figure.axes)
    pyplot.close(figure)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("eprstmt.test_public.json", '{"dataset"', "eprstmt.test_public.json: broken JSON"),
        (
            "eprstmt.test_public.json",
            '{"dataset": 1, "split": 1, "metrics": {}}',
            "dataset: Input should be",
        ),
        ("eprstmt.test_public.jsonl", "{}\n", "eprstmt.test_public.jsonl:1: index: Field required"),
        ("eprstmt.test_public.jsonl", "{\n", "eprstmt.test_public.jsonl:1: "),
        ("eprstmt.test_public.jsonl", "", "0 rows instead of 12"),
        ("eprstmt.test_public.texts.jsonl", "x", "eprstmt.test_public.texts.jsonl:1: "),
    ],
)
def test_a_broken_file_is_named(
    expect_error: Callable[..., str], results: Path, tmp_path: Path, name: str, content: str, reason: str
) -> None:
    folder = shutil.copytree(results / "first", tmp_path / "first")
    (folder / name).write_text(content, encoding="utf-8")
    if name.endswith(".jsonl"):
        seal(folder)
    assert reason in expect_error(main, tmp_path, "--output", tmp_path / "report.html")


def seal(folder: Path) -> None:
    """Let the summary of a folder name the files beside it as they are."""
    path = next(folder.glob("*.*.json"))
    files = {ending: digest(path.with_suffix(ending)) for ending in (ROWS, TEXTS)}
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"files": files}), encoding="utf-8")


@pytest.mark.parametrize("name", ["eprstmt.test_public.jsonl", "eprstmt.test_public.texts.jsonl"])
@pytest.mark.parametrize("change", ["another run's", "cut", "gone"])
def test_files_of_different_runs_are_not_shown_as_one(
    expect_error: Callable[..., str], results: Path, tmp_path: Path, name: str, change: str
) -> None:
    path = shutil.copytree(results / "first", tmp_path / "first") / name
    if change == "another run's":
        shutil.copy(results / "unlabelled" / name.replace("test_public", "test"), path)
    elif change == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.unlink()
    if change == "gone" and "texts" in name:
        assert main([str(tmp_path), "--output", str(tmp_path / "report.html")]) == 0
    else:
        line = expect_error(main, tmp_path, "--output", tmp_path / "report.html")
        assert f"{name}: missing, or not what was written with eprstmt.test_public.json" in line


def test_no_results_and_results_without_texts(expect_error: Callable[..., str], results: Path, tmp_path: Path) -> None:
    assert "no such folder" in expect_error(main, tmp_path / "nowhere")
    (tmp_path / "other.kind.json").write_text("[]", encoding="utf-8")
    assert "no results in there" in expect_error(main, tmp_path)
    shutil.copytree(results / "first", tmp_path / "first")
    (tmp_path / "first" / "eprstmt.test_public.texts.jsonl").unlink()
    assert main([str(tmp_path), "--output", str(tmp_path / "report.html")]) == 0
    entry = browser_data(read_results(tmp_path), ["x"], [[]])["runs"][0]
    assert (entry["fields"], len(entry["rows"])) == ([], 12)


def test_an_interrupted_run_without_rows(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "first", tmp_path / "first")
    path = next(tmp_path.rglob("*.json"))
    summary = json.loads(path.read_text(encoding="utf-8")) | {"n": 0, "metrics": None, "complete": False}
    path.write_text(json.dumps(summary), encoding="utf-8")
    for rows in tmp_path.rglob("*.jsonl"):
        rows.write_text("", encoding="utf-8")
    seal(path.parent)
    page = build_page(read_results(tmp_path))
    assert (page.rows[0].accuracy.text, page.rows[0].marks) == ("no rows", "bundled sample, first 12 rows, interrupted")
    assert main([str(tmp_path), "--output", str(tmp_path / "report.html")]) == 0


def test_labels_are_no_markup_in_figures() -> None:
    confusion = Confusion(labels=["<b>x</b>"], counts=[[1]])
    metrics = Metrics.model_construct(accuracy=1.0, confusion=confusion)
    run = run_of([("<b>x</b>", "<b>x</b>", [1.0])], labels=["<b>x</b>"], metrics=metrics)
    assert run_figures(run)[0].plot["data"][0]["x"] == ["&lt;b&gt;x&lt;/b&gt;"]


def test_places_that_cannot_be_written(expect_error: Callable[..., str], results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    page, inside = tmp_path / "report.html", tmp_path / "file" / "inside"
    assert "cannot be written" in expect_error(main, results, "--output", inside)
    assert "accuracy.png: cannot be written" in expect_error(
        main, results / "first", "--output", page, "--figures", inside
    )


def test_json_cannot_leave_its_element() -> None:
    text = str(script_json({"<!--": ATTACK}))
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"<!--": ATTACK}


def test_a_browser_says_nothing(page: str, tmp_path: Path) -> None:
    browser = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(browser).exists():
        pytest.skip(f"no Chromium at {browser}; CHROMIUM can name one")
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'user'}"]
    flags += ["--enable-logging=stderr", "--virtual-time-budget=20000", "--window-size=1280,8000", "--dump-dom"]
    command = [browser, *flags, (tmp_path / "report.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert "CONSOLE" not in done.stderr
    assert len(re.findall("<article>", done.stdout)) == 12
    assert done.stdout.count("plot drawn") >= 5
    assert 'aria-sort="ascending"' in done.stdout
