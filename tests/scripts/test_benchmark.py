"""The benchmark: tables from the scripts' results, nothing computed twice."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import random_checkpoint
import yaml
from conftest import SAMPLE, RandomScorer
from rich.console import Console

from nsp_bert.cards import CARDS
from nsp_bert.results.tables import latex, print_groups
from nsp_bert_benchmark import main


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of cards that a test may change."""
    folder = shutil.copytree(CARDS, tmp_path / "cards")
    for place in ("nsp_bert.cards", "nsp_bert.results.fingerprint"):
        monkeypatch.setattr(f"{place}.CARDS", folder)
    return folder


def own_card(cards: Path, like: str, name: str, **more: str) -> None:
    card = yaml.safe_load((cards / f"{like}.yaml").read_text(encoding="utf-8")) | {"name": name} | more
    (cards / f"{name}.yaml").write_text(yaml.safe_dump(card, allow_unicode=True, sort_keys=False), encoding="utf-8")


def test_tables_and_resumption(checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--models", str(checkpoint_dir), "--limit", "4", "--output", str(tmp_path)]
    assert main([*arguments, "--dataset", "eprstmt", "bustm"]) == 0
    first = capfd.readouterr().out
    assert main(arguments) == 0
    second = capfd.readouterr().out
    assert "is there already" not in first
    assert second.count("is there already") == 2
    table = read(tmp_path / "table1.csv")
    published = next(row for row in table if row["method"] == "NSP-BERT (published)")
    assert (published["score"], published["TNEWS"], published["CLUEWSC"]) == ("55.96", "51.00", "59.40")
    ours = table[-1]
    assert ours["method"] == "random (sample, first 4 rows)"
    figures = [float(value) for name, value in ours.items() if name not in ("method", "score")]
    assert float(ours["score"]) == pytest.approx(sum(figures) / 9, abs=0.01)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert main(arguments) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before
    printed = second[second.index("Table 1: published methods, then ours") :].splitlines()[:-1]
    assert max(map(len, printed)) <= 80
    assert [line.split()[:3] for line in printed if line.startswith("NSP-BERT")] == [["NSP-BERT", "55.96", "86.90"]]
    assert ours["score"] in second.split()
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


def test_own_datasets_are_beside_the_nine(
    checkpoint_dir: Path, cards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One has a title of the nine, one a title that LaTeX would read; the score stays that of the nine."""
    own_card(cards, "eprstmt", "mine")
    own_card(cards, "bustm", "pairs", title="R&D_pairs 100%", split="dev_few_all")
    out = tmp_path / "out"
    arguments = ["--models", str(checkpoint_dir), "--limit", "3", "--data-dir", str(SAMPLE), "--output", str(out)]
    assert main(arguments) == 0
    nine = read(out / "table1.csv")[-1]
    names = ["eprstmt", "csldcp", "tnews", "iflytek", "ocnli", "bustm", "csl", "chid", "cluewsc"]
    capfd.readouterr()
    assert main([*arguments, "--dataset", *names, "MINE", "pairs", "duel"]) == 0
    table = read(out / "table1.csv")
    assert {name: value for name, value in table[-1].items() if name in nine} == nine
    assert list(table[-1])[11:] == ["EPRSTMT (mine)", "R&D_pairs 100%", "DuEL2.0 linking", "DuEL2.0 typing"]
    assert table[-1]["EPRSTMT (mine)"] == table[-1]["EPRSTMT"]
    assert not table[0]["R&D_pairs 100%"]
    assert all(table[-1].values())
    printed = capfd.readouterr().out
    printed = printed[printed.index("Table 1:") :]
    assert all(value in printed for value in table[-1].values() if value != table[-1]["method"])
    assert "R&D_pairs 100%" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    contrast = [row["model"] for row in read(out / "samples_contrast.csv") if row["dataset"] == "R&D_pairs 100%"]
    assert contrast == ["random (sample, first 3 rows), file order", "random (sample, first 3 rows), shuffled"]
    assert [row["model"] for row in read(out / "templates.csv") if row["dataset"] == "EPRSTMT (mine)"] == [
        "random (sample, first 3 rows)"
    ]
    latex_files = sorted(out.glob("*.tex"))
    assert [path.stem for path in latex_files] == sorted(path.stem for path in out.glob("*.csv"))
    for path in latex_files:
        check_latex(path.read_text(encoding="utf-8"), 1 + len(read(path.with_suffix(".csv"))))


def check_latex(text: str, rows: int) -> None:
    """Assert that a table has as many rows, each with a cell a column, and no character that LaTeX would read."""
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    kinds = re.fullmatch(r"\\begin{tabular}{([lr]+)}", lines[0])
    assert kinds
    assert lines[-1] == r"\end{tabular}"
    assert [lines[place] for place in (1, 3, -2)] == [r"\toprule", r"\midrule", r"\bottomrule"]
    table = [lines[2], *lines[4:-2]]
    assert len(table) == rows
    for line in table:
        assert line.endswith(r" \\")
        plain = re.sub(r"\\text\w+{}|\\[&%$#_{}]", "", line.removesuffix(r"\\"))
        assert plain.count("&") == len(kinds[1]) - 1
        assert not re.search(r"[%$#_~^\\<>|]", plain)
        assert plain.count("{") == plain.count("}") == len(re.findall(r"{[\[*]}", plain))


def test_latex_takes_any_text() -> None:
    strange = r"\ & % $ # _ { } ~ ^ < > | [0] * {} 50 %"
    text = latex(["name", strange], [[strange, "1.00"], ["[b", ""], ["*", "+2.00"]])
    check_latex(text, 4)
    assert text.startswith(r"\begin{tabular}{lr}")
    assert r"\textbackslash{} \& \% \$ \# \_ \{ \} \textasciitilde{}" in text


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_nothing_is_dropped_on_a_narrow_terminal(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    headers = ["method", *(f"d{number}" for number in range(20)), "a-title-that-is-long" * 2]
    rows = [[name, *(f"{row}.{number:02}" for number in range(21))] for row, name in enumerate(("one", "a-long-name"))]
    print_groups(headers, [rows[:1], rows[1:]], Console(width=width))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert all(cell in printed for cell in (*headers[1:-1], *rows[0], *rows[1][1:]))
    assert headers[-1] in "".join(printed.split()).replace("method", "")  # folded, the first column's header between


def test_an_empty_column_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_groups(["method", "score", "EPRSTMT"], [[["one", "", "61.97"]], [["other", "", "60.33"]]], Console(width=80))
    printed = capsys.readouterr().out
    assert "EPRSTMT" in printed
    assert "score" not in printed


def test_a_card_that_cannot_be_read_is_left_out(
    expect_error: Callable[..., str], checkpoint_dir: Path, cards: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    (cards / "iflytek.yaml").write_text("name: iflytek\ntask: classification\n", encoding="utf-8")
    arguments = ["--models", str(checkpoint_dir), "--limit", "2", "--output", str(tmp_path / "out")]
    assert f"{cards / 'iflytek.yaml'}: classification.title" in expect_error(main, *arguments, "--dataset", "iflytek")
    assert "no dataset 'eprstmnt'" in expect_error(main, *arguments, "--dataset", "eprstmnt")
    assert main(arguments) == 0
    error = capfd.readouterr().err
    assert error.count("iflytek.yaml") == 1
    ours = read(tmp_path / "out" / "table1.csv")[-1]
    assert [name for name, value in ours.items() if not value] == ["score", "iflytek"]


def test_a_name_is_no_identity(random_scores: type[RandomScorer], tmp_path: Path) -> None:
    """Two checkpoints of one name have folders and rows of their own; results of a replaced one are left out."""
    weights = [random_checkpoint.weights(random_checkpoint.config(hidden=16), seed) for seed in (1, 2, 3)]

    def write_model(place: str, number: int) -> str:
        config = random_checkpoint.config(hidden=16)
        folder = tmp_path / place / "twin"
        return str(random_checkpoint.write(folder, weights[number], config, random_checkpoint.vocabulary()))

    models = [write_model("a", 0), write_model("b", 1)]
    output = ["--limit", "4", "--output", str(tmp_path / "out")]
    assert main(["--models", *models, "--dataset", "bustm", *output]) == 0
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert len(folders) == 2
    assert all(name.startswith("twin.") and len(name) == len("twin.") + 8 for name in folders)
    rows = [row["method"] for row in read(tmp_path / "out" / "table1.csv") if row["method"].startswith("twin")]
    assert sorted(rows) == [f"{name.replace('.', ' ')} (sample, first 4 rows)" for name in folders]
    single = ["--models", models[0], "--limit", "4", "--output", str(tmp_path / "one")]
    assert main([*single, "--dataset", "bustm"]) == 0
    shutil.rmtree(models[0])
    write_model("a", 2)
    assert main([*single, "--dataset", "bustm", "ocnli", "--splits", "dev_few_all"]) == 0
    assert main([*single, "--dataset", "ocnli"]) == 0
    ours = read(tmp_path / "one" / "table1.csv")[-1]
    assert (ours["BUSTM"], bool(ours["OCNLI"])) == ("", True)
