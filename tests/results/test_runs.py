from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from nsp_bert.errors import UserError
from nsp_bert.results.metrics import Accuracy, clustered_interval, label_metrics
from nsp_bert.results.published import Published
from nsp_bert.results.runs import Answer, Run, Subject, prepare_output, write_run
from nsp_bert.results.tables import print_table, table_rows

SUBJECT = Subject(
    card="tnews",
    title="TNEWS",
    task="classification",
    mapping="candidates-contrast",
    split="test_public",
    model="some-model",
    labels=(),
    part="",
    method="nsp_bert",
)


def run(subject: Subject = SUBJECT, **changes: object) -> Run:
    answers = [Answer(index, index + 7, "a", "a" if index < 3 else "b", [0.5, -0.25]) for index in range(4)]
    facts = {
        "settings": {"template": "{}"},
        "default_prompt": True,
        "sample": False,
        "complete": True,
        "answers": answers,
        "published": Published(51.0, "source A"),
        "pairs": 8,
        "seconds": 2.0,
    }
    return Run(subject, **(facts | changes))  # type: ignore[arg-type]


def test_wilson_interval_by_its_formula() -> None:
    accuracy = Accuracy(n=610, correct=530)
    z, p, n = NormalDist().inv_cdf(0.975), 530 / 610, 610
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert accuracy.interval == pytest.approx((centre - half, centre + half))
    assert accuracy.value == p


def test_files(tmp_path: Path) -> None:
    write_run(run(), tmp_path)
    summary = json.loads((tmp_path / "tnews.test_public.json").read_text(encoding="utf-8"))
    assert summary["n"] == 4
    assert summary["metrics"]["accuracy"] == 0.75
    assert summary["published"] == {"accuracy": 0.51, "source": "source A", "inside_interval": True}
    assert summary["pairs_per_second"] == 4.0
    assert {"tensorflow", "bert4keras", "commit", "nsp_bert", "python"} <= summary["versions"].keys()
    lines = (tmp_path / "tnews.test_public.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[3]) == {"index": 3, "id": 10, "label": "a", "prediction": "b", "scores": [0.5, -0.25]}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tnews.test_public.json",
        "tnews.test_public.jsonl",
        "tnews.test_public.texts.jsonl",
    ]


def test_an_unlabelled_split_has_no_accuracy(tmp_path: Path) -> None:
    unlabelled = run(answers=[Answer(0, 0, None, "a", [1.0, 0.0])])
    write_run(unlabelled, tmp_path)
    assert json.loads((tmp_path / "tnews.test_public.json").read_text(encoding="utf-8"))["metrics"] is None
    assert "no labels" in printed(unlabelled)


def test_table_shows_the_published_number() -> None:
    shown = printed(run())
    assert "75.00" in shown
    assert "51.00" in shown
    assert "some-model on test_public" in shown


def printed(*runs: Run) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_table([one.summary for one in runs], console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--output .*file.*cannot be written"):
        prepare_output(tmp_path / "file" / "below")


def test_clustered_interval_by_hand_and_against_wilson() -> None:
    """One row a cluster: as wide as Wilson's. Ten equal rows a cluster: as if there were a tenth of the rows."""
    rng = np.random.default_rng(1)
    right = rng.random(400) < 0.6
    alone = clustered_interval(right, list(range(400)))
    assert alone == pytest.approx(Accuracy(400, int(right.sum())).interval, abs=0.01)
    together = clustered_interval(np.repeat(right, 10), np.repeat(np.arange(400), 10).tolist())
    assert together == pytest.approx(alone, abs=0.01)
    assert clustered_interval([True] * 20, list(range(20))) == (1.0, 1.0)
    assert clustered_interval(np.repeat(right, 10), np.repeat(np.arange(400), 10).tolist()) == together


def test_label_metrics_by_hand() -> None:
    found = label_metrics(["a", "a", "a", "b"], ["a", "a", "b", "b"], ("a", "b", "c"))
    assert found["macro_f1"] == pytest.approx((0.8 + 2 / 3 + 0) / 3)
    assert (found["majority"], found["chance"]) == (0.75, pytest.approx(1 / 3))
    assert found["confusion"] == {"labels": ["a", "b", "c"], "counts": [[2, 1, 0], [0, 1, 0], [0, 0, 0]]}


def test_rows_of_a_cluster_widen_the_interval() -> None:
    answers = [Answer(i, i, "a", "a" if i < 30 else "b", [0.0], cluster=i // 10) for i in range(60)]
    metrics = run(answers=answers).metrics
    assert metrics is not None
    assert metrics.accuracy_interval[1] - metrics.accuracy_interval[0] > 0.6
    assert metrics.interval_method == "bootstrap over clusters"
    assert "cluster" not in answers[0].row


def test_the_table_says_whether_the_published_number_lies_inside() -> None:
    shown = printed(
        run(published=Published(51.0, "source A")),
        run(replace(SUBJECT, card="b"), published=Published(2.0, "source A")),
    )
    assert "51.00 in" in shown
    assert "2.00 out" in shown
    assert "published: source A; in = within the interval, out = outside of it" in shown
    assert "no published number for this model" in printed(run(published=None))
    assert "to be tried, not compared" in printed(run(published=None, sample=True))


def test_what_several_runs_say_is_one_line() -> None:
    other = replace(SUBJECT, card="b", title="B")
    shown = printed(run(notes=("odd", "own")), run(other, notes=("odd",)), run(other, notes=("odd",)))
    assert [line for line in shown.splitlines() if line.endswith(("odd", "own"))] == ["TNEWS, B: odd", "TNEWS: own"]


def test_a_narrow_terminal_keeps_what_matters() -> None:
    console = Console(file=io.StringIO(), width=40)
    print_table([run(replace(SUBJECT, labels=("a", "b"))).summary], console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(word in shown for word in ("75.00", "95 % interval", "51.00 in"))
    told = "not shown for want of room: n, macro-F1, majority, chance; the result files of --output have them"
    assert told in shown.splitlines()
    wide = printed(run(replace(SUBJECT, labels=("a", "b"))))
    assert "majority" in wide
    assert "not shown" not in wide


@pytest.mark.parametrize("width", [24, 40, 50, 60, 80, 100])
def test_dataset_and_accuracy_are_whole_and_what_is_left_out_is_named(width: int) -> None:
    """Six runs of a dataset with a Chinese title, which differ in template and position."""
    subject = replace(SUBJECT, title="新闻分类", labels=("a", "b"))
    templates = ("{}", "这条新闻的标题说的是{}方面的内容", "以下文字属于{}")
    runs = [
        run(subject, settings={"template": text, "prompt_position": place}).summary
        for text in templates
        for place in ("prefix", "suffix")
    ]
    console = Console(file=io.StringIO(), width=width)
    print_table(runs, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    ruled = next(place for place, line in enumerate(lines) if set(line.split()[0]) == {"─"})
    end = next(place for place, line in enumerate(lines) if line.startswith(("not shown", "published:")))
    table = lines[ruled - 1 : end]
    assert max(map(cell_len, table)) <= width
    assert sum("新闻分类" in line and "75.00" in line for line in table) == len(runs)
    assert "…" not in "".join(table)
    left_out = lines[end].removeprefix("not shown for want of room: ").split(";")[0].split(", ")
    for name in table_rows(runs)[0]:
        assert (f" {name} " in f" {table[0]} ") != (name in left_out)
    assert ("template" in table[0]) == (width >= 40)
