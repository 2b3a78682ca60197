"""models/download.py and the cards it reads."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import random_checkpoint
import yaml
from conftest import ROOT
from loopback import BODY, Page, Site, load_script, names, serving

from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.model_cards import load_model_cards
from nsp_bert.errors import UserError
from nsp_bert.results.published import find

models = load_script("models")


def zip_of(folder: Path, top: str = "") -> bytes:
    """Return a zip of a folder's files."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, top + file.name)
    return path.read_bytes()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def card(*sources: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Return the card of the random checkpoint."""
    facts = {"title": "Tiny", "organisation": "nobody", "language": "zh", "do_lower_case": True, "licence": "none"}
    shape = {"layers": 2, "hidden": 32, "heads_count": 4, "parameters": 0.7, "heads": ["encoder", "pooler", "NSP"]}
    return facts | shape | {"sources": list(sources)} | changes


def archive(url: str) -> dict[str, str]:
    return {"kind": "archive", "url": url, "format": "tensorflow"}


REPOSITORY = {"kind": "huggingface", "repository": "a/b", "revision": "1f", "format": "pytorch"}


@pytest.fixture
def into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder without cards."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr("nsp_bert.checkpoints.model_cards.MODELS", folder)
    monkeypatch.setattr("nsp_bert.checkpoints.checkpoint.MODELS", folder)
    return folder


def write_cards(into: Path, **cards: dict[str, Any]) -> None:
    (into / "cards.yaml").write_text(yaml.safe_dump(cards), encoding="utf-8")


def get(into: Path, *arguments: str) -> int:
    return models.main(["tiny", "--into", str(into), *arguments])


@pytest.fixture(scope="module")
def zipped(checkpoint_dir: Path) -> bytes:
    """The random checkpoint as its makers would publish it."""
    return zip_of(checkpoint_dir, "chinese_L-2_H-32_A-4/")


def test_an_archive_becomes_a_model(site: Site, into: Path, zipped: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    write_cards(into, tiny=card(archive(f"{site.url}/a.zip"), note="Mind the gap."))
    site.pages["/a.zip"] = Page(zipped)
    assert get(into) == 0
    assert "NSP" in open_checkpoint("tiny").heads
    assert sorted(path.name for path in into.iterdir()) == ["cards.yaml", "tiny"]
    shown = capfd.readouterr().out
    assert "not verified: its makers publish no checksum" in shown
    assert "Mind the gap." in shown
    assert get(into) == 0
    assert "already there and whole" in capfd.readouterr().out
    assert len(site.asked) == 1


def test_sources_are_tried_in_turn(
    site: Site, into: Path, zipped: bytes, capfd: pytest.CaptureFixture[str], expect_error: Callable[..., str]
) -> None:
    write_cards(into, tiny=card(*(archive(f"{site.url}/{name}.zip") for name in "abc")))
    site.pages |= {"/b.zip": Page(b"<html>"), "/c.zip": Page(zipped)}
    line = expect_error(models.main, "tiny", "--into", into, "--source", 2)
    assert re.search(r"tiny\.zip: not a whole zip archive", line)
    assert names(into) == ["cards.yaml"]
    assert "--source 4: tiny has 3" in expect_error(models.main, "tiny", "--into", into, "--source", 4)
    assert get(into) == 0
    shown = capfd.readouterr().out
    assert re.search(r"source 1 does not work \(.*HTTP 404.*\); trying the next", shown)
    assert re.search(r"source 2 does not work \(.*zip archive.*\); trying the next", shown)
    assert open_checkpoint("tiny").name == "tiny"


def test_when_no_source_works_the_way_by_hand_is_told(site: Site, into: Path, expect_error: Callable[..., str]) -> None:
    sources = (archive(f"{site.url}/a.zip"), REPOSITORY)
    write_cards(into, tiny=card(*sources, by_hand="ask a friend"))
    line = expect_error(models.main, "tiny", "--into", into, "--endpoint", site.url)
    assert "/a/b/resolve/1f/config.json: HTTP 404" in line
    assert line.endswith("by hand: ask a friend")
    assert names(into) == ["cards.yaml"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"layers": 3}, "num_hidden_layers is 2, expected 3; these files are not Tiny"),
        ({"hidden": 64}, "hidden_size is 32, expected 64"),
        ({"heads_count": 2}, "num_attention_heads is 4, expected 2"),
    ],
)
def test_another_model_is_refused(
    site: Site, into: Path, zipped: bytes, changes: dict[str, int], reason: str, expect_error: Callable[..., str]
) -> None:
    write_cards(into, tiny=card(archive(f"{site.url}/a.zip"), **changes))
    site.pages["/a.zip"] = Page(zipped)
    assert reason in expect_error(models.main, "tiny", "--into", into)
    assert names(into) == ["cards.yaml"]


def test_a_head_that_the_card_promises_must_be_there(
    site: Site, into: Path, tmp_path: Path, expect_error: Callable[..., str]
) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "wwm", heads=("pooler", "MLM"))
    site.pages["/a.zip"] = Page(zip_of(folder))
    write_cards(into, tiny=card(archive(f"{site.url}/a.zip")))
    assert "no NSP head (it has: encoder, pooler" in expect_error(models.main, "tiny", "--into", into)
    assert names(into) == ["cards.yaml"]


def test_a_folder_that_is_not_whole_is_left_alone(into: Path, expect_error: Callable[..., str]) -> None:
    write_cards(into, tiny=card(REPOSITORY))
    (into / "tiny").mkdir()
    (into / "tiny" / "notes.txt").touch()
    line = expect_error(models.main, "tiny", "--into", into)
    assert re.search(r"tiny: is there, but not as its card says: move it away \(.*bert_config\.json", line)
    assert names(into / "tiny") == ["notes.txt"]


def serve_repository(site: Site, folder: Path) -> None:
    for file in folder.iterdir():
        site.pages[f"/a/b/resolve/1f/{file.name}"] = Page(file.read_bytes())


def test_a_repository_becomes_pytorch_files(
    site: Site,
    into: Path,
    tmp_path: Path,
    checkpoint_dir: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{site.url}/")
    write_cards(into, tiny=card(REPOSITORY, heads=["encoder", "pooler", "MLM"]))
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "config.json").write_bytes((checkpoint_dir / "bert_config.json").read_bytes())
    (folder / "vocab.txt").write_bytes((checkpoint_dir / "vocab.txt").read_bytes())
    (folder / "pytorch_model.bin").write_bytes(BODY)
    serve_repository(site, folder)
    assert get(into) == 0
    assert names(into / "pytorch" / "tiny") == names(folder)
    shown = capfd.readouterr().out
    assert re.search(r"now convert it: python \S*models/convert\.py \S*pytorch/tiny \S*models/tiny\n", shown)
    assert "The task scripts need a trained NSP head." in shown
    asked = len(site.asked)
    assert get(into) == 0
    assert len(site.asked) == asked


def test_a_page_instead_of_the_configuration_is_not_kept(
    site: Site, into: Path, checkpoint_dir: Path, expect_error: Callable[..., str]
) -> None:
    write_cards(into, tiny=card(REPOSITORY))
    site.pages["/a/b/resolve/1f/config.json"] = Page(b"<html>please log in</html>")
    site.pages["/a/b/resolve/1f/vocab.txt"] = Page((checkpoint_dir / "vocab.txt").read_bytes())
    assert "config.json: broken JSON" in expect_error(models.main, "tiny", "--into", into, "--endpoint", site.url)
    assert list((into / "pytorch").rglob("*.*")) == []


def test_the_command_that_is_told_converts(
    site: Site, into: Path, tmp_path: Path, checkpoint_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("safetensors.numpy", reason="safetensors is not installed: conversion is optional")
    import convert

    write_cards(into, tiny=card(REPOSITORY))
    assert convert.main([str(checkpoint_dir), str(tmp_path / "repository")]) == 0
    serve_repository(site, tmp_path / "repository")
    assert get(into, "--endpoint", site.url) == 0
    told = re.search(r"now convert it: python (.*)", capfd.readouterr().out)
    assert told
    assert convert.main(shlex.split(told[1])[1:]) == 0
    assert open_checkpoint("tiny").heads == ("encoder", "pooler", "NSP")


def test_a_causal_model_is_one_by_its_card(into: Path) -> None:
    """Its weights may hold segments that nobody trained."""
    write_cards(into, tiny=card(by_hand="ask a friend", causal=True, heads=["encoder", "MLM"]))
    random_checkpoint.random_checkpoint(into / "tiny", heads=("MLM",))
    assert get(into) == 0
    assert open_checkpoint("tiny", ("encoder", "MLM"), causal=True).causal
    with pytest.raises(UserError, match="tiny: a causal language model"):
        open_checkpoint(str(into / "tiny"), ("encoder", "MLM"))


def test_what_has_no_direct_download_is_told(into: Path, expect_error: Callable[..., str]) -> None:
    write_cards(into, tiny=card(by_hand="ask a friend"))
    assert expect_error(models.main, "tiny", "--into", into) == "error: tiny: no direct download; ask a friend"
    line = expect_error(models.main, "big", "--into", into)
    assert line == "error: big: no such model; models/cards.yaml has tiny"


@pytest.mark.parametrize("width", [50, 60, 80])
def test_the_list_shows_every_model_and_its_heads(
    width: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert models.main(["--list"]) == 0
    out = capfd.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert set(load_model_cards()) <= set(rows)
    assert all(len(rows[name]) <= width for name in load_model_cards())
    assert "pooler MLM NSP download" in rows["google-bert-large-uncased"]
    assert "pooler MLM     download" in rows["hfl-rbt3"]
    assert "by hand" in rows["uer-mixed-bert-base"]
    assert "MLM causal     by hand" in rows["nezha-gen"]
    left_out = "not shown for want of room: size, params; models/cards.yaml has them"
    assert (left_out in out, "not shown" in out) == (width == 60, width < 80)


@pytest.mark.parametrize("script", ["models/download.py", "datasets/download.py"])
def test_scripts_run_from_anywhere(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / script), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"python {script}" in done.stdout


def test_cards_say_what_the_weights_must_hold() -> None:
    cards = load_model_cards()
    assert {record.model for record in find(method="nsp_bert")} <= set(cards)
    assert {name for name, one in cards.items() if "NSP" not in one.heads} == {
        "hfl-roberta-wwm-ext",
        "hfl-roberta-wwm-ext-large",
        "hfl-rbt3",
        "hfl-rbtl3",
        "hfl-macbert-base",
        "hfl-macbert-large",
        "erlangshen-tcbert-110m",
        "erlangshen-tcbert-330m",
        "erlangshen-tcbert-110m-se",
        "erlangshen-tcbert-330m-se",
        "nezha-gen",
    }
    assert [name for name, one in cards.items() if one.causal] == ["nezha-gen"]
    assert cards["nsp_bert_mini"].heads == list(open_checkpoint("nsp_bert_mini").heads)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (card(REPOSITORY, author="me"), r"tiny: author: Extra inputs"),
        (card(REPOSITORY | {"sha": "1"}), r"tiny: sources\.0\.huggingface\.sha: Extra inputs"),
        (card(REPOSITORY | {"kind": "torrent"}), r"tiny: sources\.0: .*torrent"),
        (card(REPOSITORY, heads=["SOP"]), r"tiny: heads\.0: "),
        (card(REPOSITORY, layers="2"), "tiny: layers: "),
        (card(), "neither sources nor by_hand"),
        ({}, "tiny: title: Field required"),
        (None, "tiny: "),
    ],
)
def test_a_wrong_card_is_named(into: Path, entry: Any, reason: str) -> None:
    write_cards(into, tiny=entry)
    with pytest.raises(UserError, match=f"cards.yaml: {reason}" if reason.startswith("tiny") else reason):
        load_model_cards()


def test_errors_tell_how_to_get_a_checkpoint(into: Path, tmp_path: Path) -> None:
    lacking = card(REPOSITORY, heads=["encoder", "pooler", "MLM"])
    write_cards(into, tiny=card(REPOSITORY), other=card(by_hand="ask a friend"), lacking=lacking)
    with pytest.raises(UserError, match=r"tiny: no such checkpoint folder; get it .*python models/download\.py tiny"):
        open_checkpoint("tiny")
    with pytest.raises(UserError, match="other: no such checkpoint folder; ask a friend"):
        open_checkpoint("other")
    folder = random_checkpoint.random_checkpoint(tmp_path / "wwm", heads=("pooler", "MLM"), hidden=16)
    with pytest.raises(UserError, match=r"no NSP head .*e\.g\. other, tiny$"):
        open_checkpoint(str(folder))
