"""A fingerprint changes with whatever the run depends on, and with nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLE

from nsp_bert.cards import load_card
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.results import fingerprint
from nsp_bert.results.fingerprint import import_closure, take_fingerprint
from nsp_bert.results.summary import Fingerprint

SCRIPT = "nsp_bert_cloze_style.py"


@pytest.fixture
def house(tmp_path: Path, checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code, the cards, a dataset and a checkpoint that a test may change."""
    shutil.copytree(ROOT / "nsp_bert", tmp_path / "nsp_bert", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "datasets" / "cards", tmp_path / "cards")
    shutil.copytree(SAMPLE / "chid", tmp_path / "data" / "chid")
    shutil.copytree(checkpoint_dir, tmp_path / "model")
    for path in [*ROOT.glob("nsp_bert_*.py"), ROOT / "utils.py"]:
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(fingerprint, "CARDS", tmp_path / "cards")
    closure = import_closure
    monkeypatch.setattr(fingerprint, "import_closure", lambda script: closure(script, tmp_path))
    return tmp_path


def take(house: Path, **settings: str) -> Fingerprint:
    card = load_card("chid")
    checkpoint = open_checkpoint(str(house / "model"))
    return take_fingerprint(house / SCRIPT, card, ("test_public", card.dev_split), house / "data", checkpoint, settings)


def touch(path: Path) -> None:
    """Change a file so that it still can be read."""
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\n", b"\r\n") if path.suffix == ".txt" else content + b"\n# \n")


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (SCRIPT, "code"),
        ("utils.py", "code"),
        ("nsp_bert/encoding.py", "code"),
        ("nsp_bert/scoring/forward.py", "code"),  # imported inside a function alone
        ("nsp_bert/methods/__init__.py", "code"),
        ("cards/chid.yaml", "code"),
        ("data/chid/test_public.json", "data"),
        ("data/chid/dev_few_all.json", "data"),
        ("model/vocab.txt", "checkpoint"),
        ("model/bert_model.ckpt.data-00000-of-00001", "checkpoint"),
    ],
)
def test_it_changes_with_what_the_run_reads(house: Path, place: str, part: str) -> None:
    before = take(house)
    touch(house / place)
    after = take(house)
    changed = [name for name in Fingerprint.model_fields if getattr(before, name) != getattr(after, name)]
    assert changed == [part]


@pytest.mark.parametrize(
    "place",
    [
        "nsp_bert_sentence_pair.py",
        "nsp_bert_report.py",
        "nsp_bert/checkpoints/download.py",
        "nsp_bert/methods/ranking.py",
        "nsp_bert/pretraining/pairs.py",
        "nsp_bert/report/page.py",
        "cards/tnews.yaml",
        "data/chid/test.json",
    ],
)
def test_it_stays_where_something_else_changes(house: Path, place: str) -> None:
    before = take(house)
    touch(house / place)
    assert take(house) == before


def test_it_changes_with_a_setting(house: Path) -> None:
    assert take(house, limit="5") == take(house, limit="5") != take(house, limit="6")


def test_the_closure_follows_every_kind_of_import(tmp_path: Path) -> None:
    files = {
        "script.py": "import a.b\n",
        "a/__init__.py": "",
        "a/b.py": "def f():\n    from a import c\n",
        "a/c.py": "from a.d import value\n",
        "a/d.py": "value = 1\n",
        "a/e.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = {path.relative_to(tmp_path).as_posix() for path in import_closure(tmp_path / "script.py", tmp_path)}
    assert found == files.keys() - {"a/e.py"}
