"""The benchmark: tables from the scripts' results, nothing computed twice."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nsp_bert_benchmark import main


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_tables_and_resumption(checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--models", str(checkpoint_dir), "--limit", "4", "--output", str(tmp_path)]
    assert main([*arguments, "--dataset", "eprstmt", "bustm"]) == 0
    first = capfd.readouterr().out
    assert main(arguments) == 0
    second = capfd.readouterr().out
    assert "is there already" not in first
    assert second.count("is there already") == 2
    table = read(tmp_path / "table1.csv")
    published = next(row for row in table if row["method"] == "nsp_bert (published)")
    assert (published["score"], published["TNEWS"], published["CLUEWSC"]) == ("55.96", "51.00", "59.40")
    ours = table[-1]
    assert ours["method"] == "random (sample, first 4 rows)"
    figures = [float(value) for name, value in ours.items() if name not in ("method", "score")]
    assert float(ours["score"]) == pytest.approx(sum(figures) / 9, abs=0.01)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert main(arguments) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before
    contrast = read(tmp_path / "samples_contrast.csv")
    assert [row["model"] for row in contrast if row["dataset"] == "BUSTM"] == [
        "uer-mixed-bert-base (published)",
        "random (sample, first 4 rows), file order",
        "random (sample, first 4 rows), shuffled",
    ]
    assert contrast[0]["thresholds"]
    assert "| method | score | EPRSTMT |" in (tmp_path / "tables.md").read_text(encoding="utf-8")


def test_templates_and_ablations(checkpoint_dir: Path, tmp_path: Path) -> None:
    arguments = ["--models", str(checkpoint_dir), "--limit", "3", "--dataset", "eprstmt", "chid"]
    assert main([*arguments, "--prompts", "templates", "--output", str(tmp_path / "t")]) == 0
    row = read(tmp_path / "t" / "templates.csv")[-1]
    assert (row["dataset"], row["model"]) == ("EPRSTMT", "random (sample, first 3 rows)")
    assert all(row[f"template {number}, test"] and not row[f"template {number}, dev"] for number in (1, 2, 3))
    assert main([*arguments, "--prompts", "all", "--output", str(tmp_path / "a")]) == 0
    rows = read(tmp_path / "a" / "ablations.csv")
    assert len([row for row in rows if row["dataset"] == "EPRSTMT"]) == 6
    assert {(row["position"], row["positions"]) for row in rows if row["dataset"] == "ChID"} == {
        (position, positions) for position in ("prefix", "suffix") for positions in ("soft", "hard")
    }


def test_calibration_table(checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Ensemble is asked of the tasks that have templates alone; the headline of the other tables stays."""
    arguments = ["--models", str(checkpoint_dir), "--limit", "5", "--dataset", "eprstmt", "chid", "cluewsc"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    assert not (tmp_path / "calibration.csv").exists()
    main_table = read(tmp_path / "table1.csv")
    both = [*arguments, "--calibration", "ensemble", "content-free"]
    assert main([*both, "--output", str(tmp_path)]) == main([*both, "--output", str(tmp_path)]) == 0
    assert capfd.readouterr().out.count("is there already") == 3
    assert read(tmp_path / "table1.csv") == main_table
    rows = {row["dataset"]: row for row in read(tmp_path / "calibration.csv")}
    assert list(rows) == ["EPRSTMT", "ChID", "CLUEWSC"]
    for title, row in rows.items():
        assert row["model"] == "random (sample, first 5 rows)"
        assert row["accuracy"] == main_table[-1][title]
        assert bool(row["ensemble"]) == bool(row["ensemble gain"]) == (title != "ChID")
        gain = float(row["content-free"]) - float(row["accuracy"])
        assert float(row["content-free gain"]) == pytest.approx(gain, abs=0.011)
    assert main([*arguments, "--prompts", "all", "--output", str(tmp_path)]) == 0
    assert {row["dataset"]: row for row in read(tmp_path / "calibration.csv")} == rows
