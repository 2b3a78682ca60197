"""Cards that cannot be read: each is named once, and none stands in the way of the others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.cards import CARDS, card_names, load_card, load_cards
from nsp_bert.errors import UserError

BUSTM = (CARDS / "bustm.yaml").read_bytes()
BROKEN = {
    "no YAML": b"name: [",
    "empty": b"",
    "a list": b"- name",
    "not UTF-8": b"\xff\xfe",
    "a date that is none": b"name: 2021-99-99",
    "brackets in brackets": b"[" * 5000,
    "a key is missing": b"name: mine\ntask: cloze\n",
    "an unknown task": BUSTM.replace(b"name: bustm", b"name: mine").replace(b"sentence-pair", b"guessing"),
    "the name of another": BUSTM,
    "other braces": BUSTM.replace(b"name: bustm", b"name: mine").replace(b"{split}", b"{part}"),
}


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of cards that a test may change."""
    folder = shutil.copytree(CARDS, tmp_path / "cards")
    monkeypatch.setattr("nsp_bert.cards.CARDS", folder)
    return folder


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_card_is_named_once_and_left_out(cards: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    others = load_cards()
    (cards / "mine.yaml").write_bytes(BROKEN[kind])
    assert load_cards() == load_cards() == others
    assert capfd.readouterr().err.count("\n") == 1
    assert "mine" in card_names()
    with pytest.raises(UserError, match=r"mine\.yaml: "):
        load_card("mine")


def test_a_card_that_is_a_folder(cards: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (cards / "mine.yaml").mkdir()
    assert len(load_cards()) == len(card_names()) - 1
    assert f"left out: {cards / 'mine.yaml'}: cannot be read" in capfd.readouterr().err


@pytest.mark.usefixtures("random_scores")
def test_a_script_runs_the_other_datasets(cards: Path, checkpoint_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (cards / "mine.yaml").write_bytes(BROKEN["a key is missing"])
    assert sentence_pair.main(["--model", str(checkpoint_dir)]) == 0
    captured = capfd.readouterr()
    lines = [line for line in captured.err.splitlines() if "mine.yaml" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"left out: {cards / 'mine.yaml'}: cloze.title: Field required; ")
    assert all(title in captured.out for title in ("BUSTM", "CSL", "OCNLI"))
