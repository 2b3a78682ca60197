"""The benchmark over methods: every method by its own script, nothing twice, what cannot be run left out."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import random_checkpoint
from conftest import RandomScorer

import nsp_bert_benchmark
from nsp_bert.methods.demonstrations import SETS
from nsp_bert.results.published import load_published
from nsp_bert.results.summary import ROWS, TEXTS, Summary
from nsp_bert_benchmark import METHODS, main

pytestmark = pytest.mark.usefixtures("eager_training")

SHORT = ["--limit", "6", "--train", "0", "1", "--epochs", "1"]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_entry_has_a_script_and_published_methods() -> None:
    names = [entry.name for entry in METHODS]
    assert len(names) == len(set(names))
    for entry in METHODS:
        assert set(entry.published) <= load_published().method_names.keys()
        places = (nsp_bert_benchmark.ROOT, nsp_bert_benchmark.ROOT / "baselines")
        assert entry.name == "nsp_bert" or any((place / f"{entry.script}.py").is_file() for place in places)


def test_methods_side_by_side_and_nothing_twice(
    checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    methods = ["--methods", "nsp_bert", "pet", "nsp_bert_few_shot", "pet_few_shot"]
    arguments = ["--models", str(checkpoint_dir), "--dataset", "eprstmt", *SHORT, "--output", str(tmp_path)]
    assert main([*arguments, *methods]) == 0
    first = capfd.readouterr().out
    assert "is there already" not in first
    folder = tmp_path / "random"
    own = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.jsonl")}
    tables = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert main([*arguments, *methods]) == 0
    assert capfd.readouterr().out.count("is there already") == 6
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.jsonl")} == own
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == tables

    names = [row["method"] for row in read(tmp_path / "methods.csv") if "random" in row["method"]]
    tail = "random (sample, first 6 rows)"
    assert names == [f"{name}, {tail}" for name in ("nsp_bert", "pet", "nsp_bert_few_shot", "pet, few-shot")]
    texts = (path.read_text(encoding="utf-8") for path in folder.glob("*.train_*.json"))
    trained = [Summary.from_json(text, "") for text in texts]
    assert {(one.method, one.train) for one in trained} == {
        (method, train) for method in ("pet", "nsp_bert_few_shot") for train in ("0", "1")
    }
    assert {one.settings["epochs"] for one in trained} == {"1"}
    tests = [(row["method"].removesuffix(f", {tail}"), row["against"]) for row in read(tmp_path / "methods_tests.csv")]
    assert tests == [("pet", "nsp_bert"), ("nsp_bert_few_shot", "nsp_bert"), ("pet, few-shot", "nsp_bert_few_shot")]
    assert all(row["p"] and not row["no test"] for row in read(tmp_path / "methods_tests.csv"))
    costs = {row["method"].removesuffix(f", {tail}"): row for row in read(tmp_path / "methods_costs.csv")}
    assert {name: row["passes a row"] for name, row in costs.items()} == {
        "nsp_bert": "2.00",
        "pet": "1.00",
        "nsp_bert_few_shot": "2.00",
        "pet, few-shot": "1.00",
    }
    assert all(float(row["memory, MiB"]) > 0 for row in costs.values())
    assert [name for name, row in costs.items() if row["training, s"]] == ["nsp_bert_few_shot", "pet, few-shot"]


def test_rows_that_options_of_a_script_make(checkpoint_dir: Path, tmp_path: Path) -> None:
    options = ["--limit", "4", "--train", "0", "--epochs", "1", "--output", str(tmp_path)]
    methods = ["p_tuning_causal", "p_tuning_nsp", "lm_bff_demonstrations"]
    assert main(["--models", str(checkpoint_dir), "--dataset", "eprstmt", *options, "--methods", *methods]) == 0
    written = [tmp_path / "random" / f"eprstmt.test_public.{method}.train_0.json" for method in methods]
    found = [Summary.from_json(path.read_text(encoding="utf-8"), "") for path in written]
    assert [one.method for one in found] == methods
    assert found[2].settings["demonstrations"] == str(SETS)
    rows = [row["method"].split(",")[0] for row in read(tmp_path / "methods.csv") if "random" in row["method"]]
    assert rows == methods


def test_what_a_method_cannot_do_is_left_out(
    random_scores: type[RandomScorer], checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Another task, words that cannot be compared, no training rows: a line each, and the rest goes on."""
    arguments = ["--models", str(checkpoint_dir), "--methods", "nsp_bert", "pet", "similarity"]
    assert main([*arguments, "--dataset", "chid", "agnews", *SHORT[:2], "--output", str(tmp_path / "out")]) == 0
    out = capfd.readouterr().out
    left_out = [line for line in out.splitlines() if line.startswith("left out: ")]
    names = [line.split(", random, not on ")[0] for line in left_out]
    assert names == ["left out: pet", "left out: similarity", "left out: similarity"]
    assert "AG News: AG News, words" in left_out[0]
    assert "ChID: another task" in left_out[1]
    assert "AG News: no training rows, agnews/train_0.csv" in left_out[2]
    tables = (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    assert all(line.removeprefix("left out: ") in tables for line in left_out)
    (pet,) = [row for row in read(tmp_path / "out" / "methods.csv") if row["method"].startswith("pet, random")]
    assert (bool(pet["ChID"]), pet["AG News"]) == (True, "")


def test_a_checkpoint_without_a_head(
    random_scores: type[RandomScorer], expect_error: Callable[..., str], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """Alone NSP-BERT is refused, as ever; among others its row is empty."""
    config = random_checkpoint.config(hidden=16)
    weights = {
        name: value for name, value in random_checkpoint.weights(config, 1).items() if "seq_relationship" not in name
    }
    folder = random_checkpoint.write(tmp_path / "headless", weights, config, random_checkpoint.vocabulary())
    arguments = [
        "--models",
        str(folder),
        "--dataset",
        "bustm",
        "tnews",
        "--limit",
        "4",
        "--output",
        str(tmp_path / "o"),
    ]
    assert "no NSP head" in expect_error(main, *arguments)
    assert main([*arguments, "--methods", "nsp_bert", "pet"]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("left out: ")]
    assert line.startswith("left out: nsp_bert, headless, not on BUSTM, TNEWS: ")
    ours = [row["method"].split(",")[0] for row in read(tmp_path / "o" / "methods.csv") if "headless" in row["method"]]
    assert ours == ["pet"]


def test_rows_of_an_abstract_are_told_in_the_result(
    random_scores: type[RandomScorer], checkpoint_dir: Path, tmp_path: Path
) -> None:
    arguments = ["--models", str(checkpoint_dir), "--dataset", "csl", "bustm", "--output", str(tmp_path)]
    assert main([*arguments, "--methods", "nsp_bert", "pet"]) == 0
    folder = tmp_path / "random"
    for stem in ("csl.test_public", "csl.test_public.pet"):
        rows, texts = (
            [json.loads(line) for line in (folder / f"{stem}{ending}").open(encoding="utf-8")]
            for ending in (ROWS, TEXTS)
        )
        together = {(row["cluster"], text["text"]) for row, text in zip(rows, texts, strict=True)}
        assert len(together) == len({row["cluster"] for row in rows}) == len({text["text"] for text in texts})
        assert len({row["cluster"] for row in rows}) < len(rows)
    assert "cluster" not in (folder / "bustm.test_public.jsonl").read_text(encoding="utf-8")
    assert all(row["p"] for row in read(tmp_path / "methods_tests.csv"))


@pytest.mark.parametrize("name", ["nothing", "few_shot"])
def test_a_name_that_is_no_method(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--methods", name, "--output", str(tmp_path)])
    assert "pet_few_shot" in capsys.readouterr().err
