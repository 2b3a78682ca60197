from __future__ import annotations

import io
import json
from pathlib import Path
from statistics import NormalDist

import pytest
from rich.console import Console

from nsp_bert.errors import UserError
from nsp_bert.results import (
    Accuracy,
    Answer,
    Published,
    Run,
    prepare_output,
    print_table,
    published_by_template,
    write_run,
)


def run(**changes: object) -> Run:
    answers = [Answer(index, index + 7, "a", "a" if index < 3 else "b", [0.5, -0.25]) for index in range(4)]
    facts = {
        "dataset": "tnews",
        "title": "TNEWS",
        "split": "test_public",
        "model": "some-model",
        "settings": {"template": "{}"},
        "sample": False,
        "complete": True,
        "answers": answers,
        "published": Published(51.0, "source A"),
        "pairs": 8,
        "seconds": 2.0,
    }
    return Run(**(facts | changes))  # type: ignore[arg-type]


def test_wilson_interval_by_its_formula() -> None:
    accuracy = Accuracy(n=610, correct=530)
    z, p, n = NormalDist().inv_cdf(0.975), 530 / 610, 610
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert accuracy.interval == pytest.approx((centre - half, centre + half))
    assert accuracy.value == p


def test_published_numbers_are_those_of_the_same_model_template_and_split() -> None:
    found = published_by_template("tnews", "uer-mixed-bert-base", 3, "test_public")
    assert found is not None
    assert (found.accuracy, "2109.03564" in found.source) == (51.0, True)
    assert published_by_template("tnews", "uer-mixed-bert-base", 1, "dev_few_all").accuracy == 41.26  # type: ignore[union-attr]
    assert published_by_template("tnews", "uer-mixed-bert-base", None, "test_public") is None
    assert published_by_template("tnews", "nsp_bert_mini", 3, "test_public") is None
    assert published_by_template("tnews", "uer-mixed-bert-base", 3, "test") is None
    assert published_by_template("mine", "uer-mixed-bert-base", 3, "test_public") is None


def test_files(tmp_path: Path) -> None:
    write_run(run(), tmp_path)
    summary = json.loads((tmp_path / "tnews.test_public.json").read_text(encoding="utf-8"))
    assert summary["n"] == 4
    assert summary["metrics"]["accuracy"] == 0.75
    assert summary["published"] == {"accuracy": 0.51, "source": "source A"}
    assert summary["pairs_per_second"] == 4.0
    assert {"tensorflow", "bert4keras", "commit", "nsp_bert", "python"} <= summary["versions"].keys()
    lines = (tmp_path / "tnews.test_public.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[3]) == {"index": 3, "id": 10, "label": "a", "prediction": "b", "scores": [0.5, -0.25]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tnews.test_public.json", "tnews.test_public.jsonl"]


def test_an_unlabelled_split_has_no_accuracy(tmp_path: Path) -> None:
    unlabelled = run(answers=[Answer(0, 0, None, "a", [1.0, 0.0])])
    write_run(unlabelled, tmp_path)
    assert json.loads((tmp_path / "tnews.test_public.json").read_text(encoding="utf-8"))["metrics"] == {}
    assert "no labels" in printed(unlabelled)


def test_table_shows_the_published_number() -> None:
    shown = printed(run())
    assert "75.00" in shown
    assert "51.00" in shown
    assert "some-model on test_public" in shown


def printed(one: Run) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_table([one], console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--output .*file.*cannot be written"):
        prepare_output(tmp_path / "file" / "below")
