"""What scripts and documents say: commands run, published numbers are the data file's, links lead somewhere.

The commands of README.md are run in test_readme.py.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest
from conftest import ROOT, write_rows
from test_readme import CHINESE, COMMANDS, README

from nsp_bert.results.published import find

READMES = [README, CHINESE]
TRAINED = (
    "nsp_bert_few_shot.py",
    *(f"baselines/{name}.py" for name in ("adapet", "efl", "fine_tuning", "lm_bff", "p_tuning", "tcbert")),
)
DOCUMENTS = [
    *READMES,
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("*/README.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("models/*/README.md"),
]
PUBLISHED_AS = {"pet": "pet_zero", "gpt": "gpt_zero", "fine_tuning": "fine_tuning_bert"} | {
    name: name for name in ("efl", "lm_bff", "adapet", "p_tuning")
}


def script_commands() -> list[str]:
    """Return the `python nsp_bert_*.py` commands in what the scripts say of themselves, less those of README.md."""
    scripts = [*ROOT.glob("nsp_bert_*.py"), *ROOT.glob("baselines/*.py")]
    texts = [path.read_text(encoding="utf-8").split('"""')[1] for path in scripts]
    lines = re.sub(r"\\\n\s+", "", "\n".join(texts))
    found = set(re.findall(r"^ +python ((?:nsp_bert_|baselines/)\w+\.py .*)$", lines, re.MULTILINE))
    return sorted(command for command in found if f"python {command}" not in COMMANDS)


def test_there_are_commands() -> None:
    assert len(script_commands()) >= 5


@pytest.mark.usefixtures("eager_training")
@pytest.mark.parametrize("command", script_commands())
def test_commands_of_the_scripts_run(
    command: str, checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word but for what a user brings along: a random checkpoint and texts stand in, a few rows will do."""
    (tmp_path / "texts.txt").write_text("主场取胜\n央行降息\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    script, *words = shlex.split(command)
    if script == "nsp_bert_report.py":
        scored = ["--dataset", "eprstmt", "--limit", "3", "--model", str(checkpoint_dir), "--output", "results"]
        assert importlib.import_module("nsp_bert_classification").main(scored) == 0
    elif script == "nsp_bert_benchmark.py":
        words += ["--dataset", "eprstmt", "chid", "--limit", "3", "--models", str(checkpoint_dir)]
        words += ["--train", "0", "--epochs", "1"] if "--methods" in words else []
    else:
        words += ["--model", str(checkpoint_dir), *([] if "--labels" in words else ["--limit", "3"])]
        trains = "--train" in words or script in TRAINED
        words += ["--train", "0", "--epochs", "1"] if trains else []
    assert importlib.import_module(Path(script).stem).main(words) == 0


def test_python_of_the_api_document_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})


def test_published_numbers_are_the_file_s() -> None:
    printed = {"method": "nsp_bert", "source": "A", "model": "uer-mixed-bert-base", "split": "test_public"}
    figures = {one.dataset: one.value for one in [*find(**printed, template=3), *find(**printed, mapping="thresholds")]}
    assert len(figures) == 8
    scripts = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in ROOT.glob("nsp_bert_*.py"))
    for dataset, value in figures.items():
        figure = f"{value:.2f}"
        assert f"{dataset.upper()} {figure}" in scripts
        for readme in READMES:
            row = next(
                line for line in readme.read_text(encoding="utf-8").splitlines() if f"| {dataset.upper()} |" in line
            )
            assert figure in row


def test_published_means_of_other_methods_are_the_file_s() -> None:
    for script, method in PUBLISHED_AS.items():
        (record,) = find(method=method, source="A", dataset="score")
        for readme in READMES:
            lines = readme.read_text(encoding="utf-8").splitlines()
            assert f"{record.value:.2f}" in next(
                line for line in lines if line.startswith(f"| `baselines/{script}.py`")
            )


def test_the_example_of_a_card_runs(
    checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In every script that takes its kind of task."""
    text = (ROOT / "datasets" / "README.md").read_text(encoding="utf-8")
    (card,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (row,) = re.findall(r"`(\{\"review.*?\})`", text)
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "reviews.yaml").write_text(card, encoding="utf-8")
    monkeypatch.setattr("nsp_bert.cards.CARDS", cards)
    for split in ("test", "train_0"):
        write_rows(tmp_path / "reviews" / f"{split}.json", [json.loads(row)])
    common = ["--model", str(checkpoint_dir), "--data-dir", str(tmp_path), "--dataset", "reviews"]
    for script in ("nsp_bert_classification", "pet", "gpt", "similarity"):
        own = ["--train", "0"] if script == "similarity" else []
        assert importlib.import_module(script).main([*common, *own]) == 0
        assert "Shop reviews" in capsys.readouterr().out


def test_both_readmes_say_the_same_figures() -> None:
    one, other = (re.findall(r"\d+[.,]\d+", path.read_text(encoding="utf-8")) for path in READMES)
    assert set(one) ^ set(other) == {"5.4"}  # million parameters: 540 万


def columns(document: Path) -> dict[str, list[str]]:
    """Return dataset -> cells of the measured methods, which a document has one table of."""
    lines = document.read_text(encoding="utf-8").splitlines()
    (start,) = (place for place, line in enumerate(lines) if line.startswith("| | EPRSTMT |"))
    table = takewhile(lambda line: line.startswith("|"), lines[start:])
    return {
        name: cells
        for name, _, *cells in zip(*([cell.strip() for cell in line.split("|")] for line in table), strict=True)
    }


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_the_short_table_of_measured_methods_is_part_of_the_whole(readme: Path) -> None:
    whole, short = columns(ROOT / "docs" / "results.md"), columns(readme)
    for dataset in filter(None, short):
        assert short[dataset] == whole[dataset]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target
