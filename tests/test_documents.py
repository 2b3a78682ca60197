"""What the documents say: commands run, published numbers are those of the data file, links lead somewhere."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, SAMPLE

READMES = [ROOT / "README.md", ROOT / "README_zh.md"]
DOCUMENTS = [
    *READMES,
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("*/README.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("models/*/README.md"),
]
TINY = "--layers 1 --hidden 32 --heads 2 --vocab-size 900 --lengths 32:1 --batch-tokens 512 --max-steps 2"


def commands(text: str) -> list[str]:
    """Return the `python nsp_bert_*.py` commands of a text, continued lines joined."""
    return re.findall(r"^\s*(?:\.venv/bin/)?python (nsp_bert_\w+\.py .*)$", text.replace("\\\n", " "), re.MULTILINE)


def all_commands() -> list[str]:
    scripts = [path.read_text(encoding="utf-8").split('"""')[1] for path in sorted(ROOT.glob("nsp_bert_*.py"))]
    found = {
        command
        for text in [*scripts, *(path.read_text(encoding="utf-8") for path in READMES)]
        for command in commands(text)
    }
    return sorted(found)


def test_there_are_commands() -> None:
    assert len(all_commands()) >= 5


@pytest.mark.parametrize("command", all_commands())
def test_documented_commands_run(
    command: str, checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word but for what a user brings along: a random checkpoint, a text and short training stand in."""
    (tmp_path / "texts.txt").write_text("主场取胜\n央行降息\n", encoding="utf-8")
    (tmp_path / "texts.csv").write_text("text,label\n主场取胜,体育\n央行降息,财经\n", encoding="utf-8")
    (tmp_path / "corpus").mkdir()
    lines = ["春天来了，花开了，鸟也叫。\n出门去，看风景。", "秋天到了，叶落了。\n天凉，加衣服。"] * 20
    (tmp_path / "corpus" / "a.txt").write_text("\n\n".join(lines), encoding="utf-8")
    words = shlex.split(command)
    if words[0] == "nsp_bert_pretraining.py":
        words += shlex.split(TINY)
    elif words[0] == "nsp_bert_report.py":
        scored = ["--dataset", "eprstmt", "--limit", "3", "--model", str(checkpoint_dir), "--output", "results"]
        monkeypatch.chdir(tmp_path)
        assert importlib.import_module("nsp_bert_classification").main(scored) == 0
    elif "--submission" in words:
        words += ["--data-dir", str(shutil.copytree(SAMPLE, tmp_path / "data"))]
    elif "--labels" not in words:
        words += ["--limit", "3"]
    if "--init-checkpoint" not in words and words[0] not in ("nsp_bert_pretraining.py", "nsp_bert_report.py"):
        words += ["--models" if words[0] == "nsp_bert_benchmark.py" else "--model", str(checkpoint_dir)]
    stand_ins = {"corpus/*.txt": "corpus/a.txt", "models/nsp_bert_mini": str(checkpoint_dir)}
    monkeypatch.chdir(tmp_path)
    script = importlib.import_module(words[0].removesuffix(".py"))
    assert script.main([stand_ins.get(word, word) for word in words[1:]]) == 0


@pytest.mark.parametrize("document", [*READMES, ROOT / "docs" / "api.md"], ids=lambda path: path.name)
def test_documented_python_runs(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
    assert document.name == "api.md" or "体育" in capsys.readouterr().out


def test_published_numbers_are_the_file_s() -> None:
    tables = yaml.safe_load((ROOT / "datasets" / "published_results.yaml").read_text(encoding="utf-8"))
    figures = {name: models["uer-mixed-bert-base"][2][1] for name, models in tables["per_model_A"].items()}
    contrast = tables["samples_contrast_A"]
    place = contrast["columns"].index("thresholds")
    figures |= {name: row[place] for name, row in contrast.items() if name != "columns"}
    scripts = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in ROOT.glob("nsp_bert_*.py"))
    for dataset, value in figures.items():
        figure = f"{value:.2f}"
        assert f"{dataset.upper()} {figure}" in scripts
        for readme in READMES:
            row = next(
                line for line in readme.read_text(encoding="utf-8").splitlines() if f"| {dataset.upper()} |" in line
            )
            assert figure in row


def test_both_readmes_say_the_same_figures() -> None:
    one, other = (re.findall(r"\d+[.,]\d+", path.read_text(encoding="utf-8")) for path in READMES)
    assert set(one) ^ set(other) == {"5.4"}  # million parameters: 540 万


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target
