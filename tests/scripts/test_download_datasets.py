"""datasets/download.py and the list of files it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import SAMPLE
from loopback import BODY, Page, Site, load_script, names, serving, sha256

from nsp_bert.cards import load_cards
from nsp_bert.checkpoints import download

datasets = load_script("datasets")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def fewclue(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[object]]:
    """A list of three files, one of them empty, that are served; return the arguments of a download of them."""
    contents = {"tnews/a.json": b"1\r\n", "tnews/b.json": b"", "chid/a.json": BODY}
    site.pages |= {f"/{path}": Page(content) for path, content in contents.items()}
    lines = ["# comment", *(f"{sha256(content)}  {path}" for path, content in contents.items())]
    (tmp_path / "fewclue_files.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(datasets, "DATASETS", tmp_path)
    return lambda *more: ["fewclue", "--mirror", site.url, "--into", str(tmp_path / "fewclue"), *more]


def test_fewclue_arrives_file_by_file(
    site: Site, fewclue: Callable[..., list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert datasets.main(fewclue("--only", "tnews")) == 0
    assert names(tmp_path / "fewclue") == ["a.json", "b.json", "tnews"]
    assert datasets.main(fewclue()) == 0
    assert [path for path, _ in site.asked] == ["/tnews/a.json", "/chid/a.json"]  # nobody asks for an empty file
    assert "tnews: 2 files, 0 of them downloaded\nchid: 1 files, 1 of" in capfd.readouterr().out
    assert (tmp_path / "fewclue" / "tnews" / "a.json").read_bytes() == b"1\r\n"


def test_fewclue_files_that_differ_are_named_and_kept(
    fewclue: Callable[..., list[str]], tmp_path: Path, expect_error: Callable[..., str]
) -> None:
    mine = tmp_path / "fewclue" / "tnews" / "a.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    line = expect_error(datasets.main, *fewclue())
    assert line.endswith("fewclue: tnews/a.json differ from the published files; --force replaces them")
    assert mine.read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "fewclue" / "chid" / "a.json").read_bytes() == BODY
    assert datasets.main(fewclue("--force")) == 0
    assert mine.read_bytes() == b"1\r\n"


def test_fewclue_refuses_what_is_not_the_published_file(
    site: Site, fewclue: Callable[..., list[str]], tmp_path: Path, expect_error: Callable[..., str]
) -> None:
    site.pages["/tnews/a.json"] = Page(b"1\n")
    assert "tnews/a.json: sha256 is " in expect_error(datasets.main, *fewclue())
    assert list((tmp_path / "fewclue").rglob("*.*")) == []
    line = expect_error(datasets.main, *fewclue("--only", "tnews,cifar"))
    assert "--only tnews,cifar: no cifar in FewCLUE; it has tnews, chid" in line


def test_the_list_has_every_file_that_the_cards_read() -> None:
    known = datasets.chosen(None)
    assert len(known) == 9
    paths = {path for files in known.values() for path in files}
    cards = [one for one in load_cards() if one.name in known]
    assert len(cards) == 9
    assert {one.path.format(split=split) for one in cards for split in one.splits} <= paths


def test_the_list_is_of_the_real_files(fewclue_dir: Path) -> None:
    for files in datasets.chosen(None).values():
        assert {path: download.digest(fewclue_dir / path) for path in files} == files


def test_duel_is_told_and_checked(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, expect_error: Callable[..., str]
) -> None:
    assert datasets.main(["duel"]) == 0
    assert "https://aistudio.baidu.com/aistudio/competition/detail/83" in capfd.readouterr().out
    assert datasets.main(["duel", "--check", str(SAMPLE / "duel")]) == 0
    shown = capfd.readouterr().out
    texts = len((SAMPLE / "duel" / "dev.json").read_bytes().splitlines())
    assert re.search(rf"texts +{texts} +10,000\n", shown)
    assert re.search(r"to type +\d+ +6,465\n", shown)
    assert "kb.json: no such file; python datasets/download.py duel" in expect_error(
        datasets.main, "duel", "--check", tmp_path
    )
    (tmp_path / "kb.json").write_bytes((SAMPLE / "duel" / "kb.json").read_bytes())
    (tmp_path / "dev.json").write_text(json.dumps({"text_id": "1"}), encoding="utf-8")
    assert 'dev.json:1: no "text"' in expect_error(datasets.main, "duel", "--check", tmp_path)
