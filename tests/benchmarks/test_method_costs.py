"""benchmarks/method_costs.py takes a few rows and reckons with the whole; how long that takes does not matter here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import method_costs
import pytest
from conftest import SAMPLE


def test_methods_with_and_without_training(
    checkpoint_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Thresholds and training sets are cut too, and what is finished is not run again."""
    output = tmp_path / "costs"
    some = ["--dataset", "ocnli", "--methods", "nsp_bert", "fine_tuning", "tcbert", "--rows", 4, "--scored", 3]
    command = [*map(str, ["--model", checkpoint_dir, "--data-dir", SAMPLE, "--output", output, *some])]
    assert method_costs.main(command) == 0
    shown = capsys.readouterr().out
    tables = {title: shown.split(title)[1].split("\n\n")[0] for title in method_costs.TABLES}
    for title, table in tables.items():
        rows = dict(line.split() for line in table.splitlines()[3:])
        untrained = set() if title.startswith("training") else {"nsp_bert"}
        assert set(rows) == untrained | {"fine_tuning"}
        assert all(float(text.replace(",", "")) > 0 for text in rows.values())
    for split, most in (("train_0", 4), ("dev_0", 3), ("dev_few_all", 3), ("test_public", 3)):
        whole = (SAMPLE / "ocnli" / f"{split}.json").read_text(encoding="utf-8").splitlines()
        taken = (output / "data" / "ocnli" / f"{split}.json").read_text(encoding="utf-8").splitlines()
        assert taken == whole[:: -(-len(whole) // most)]
        assert 1 < len(taken) <= most
    results = output / "results" / checkpoint_dir.name
    before = {path: path.stat().st_mtime_ns for path in results.glob("*.json")}
    assert len(before) == 2
    assert method_costs.main(command) == 0
    assert capsys.readouterr().out.endswith(shown.split("\n", 1)[1])
    assert {path: path.stat().st_mtime_ns for path in results.glob("*.json")} == before


def test_what_is_wrong_is_one_line(expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path) -> None:
    options = ["--model", checkpoint_dir, "--dataset", "ocnli", "--output", tmp_path / "costs"]
    (tmp_path / "ocnli").mkdir()
    said = expect_error(method_costs.main, *options, "--data-dir", tmp_path)
    assert str(tmp_path / "ocnli" / "train_0.json") in said
