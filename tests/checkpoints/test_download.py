"""Fetching and unpacking: a loopback server and archives made here. Nothing half-written, ever."""

from __future__ import annotations

import base64
import gzip
import hashlib
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback import BODY, Page, Site, names, serving, sha256

from nsp_bert.checkpoints import download
from nsp_bert.errors import UserError


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.bin"


def half(target: Path, content: bytes = BODY[:3000]) -> Path:
    """Leave what an interrupted download leaves, and return its path."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.write_bytes(content)
    return unfinished


@pytest.mark.parametrize("body", [BODY, b""])
def test_a_file_arrives_whole(site: Site, target: Path, body: bytes) -> None:
    site.pages["/a"] = Page(body)
    download.fetch(f"{site.url}/a", target, sha256(body))
    assert target.read_bytes() == body
    assert names(target.parent) == ["file.bin"]


def test_a_server_that_packs_all_the_same_is_understood(site: Site, target: Path) -> None:
    site.pages["/a"] = Page(gzip.compress(BODY), headers={"Content-Encoding": "gzip"})
    download.fetch(f"{site.url}/a", target, sha256(BODY))
    assert target.read_bytes() == BODY


def test_a_half_download_goes_on(site: Site, target: Path) -> None:
    site.pages["/a"] = Page()
    half(target)
    download.fetch(f"{site.url}/a", target, sha256(BODY))
    assert site.asked == [("/a", "bytes=3000-")]
    assert target.read_bytes() == BODY
    assert names(target.parent) == ["file.bin"]


@pytest.mark.parametrize(
    ("page", "left"),
    [
        (Page(ranges=False), BODY[:3000]),
        (Page(place=f"0-9/{len(BODY)}"), BODY[:3000]),
        (Page(), BODY + b"more"),
        (Page(), BODY),
    ],
    ids=["server without ranges", "another range", "longer than the file", "as long as the file"],
)
def test_what_cannot_go_on_starts_again(site: Site, target: Path, page: Page, left: bytes) -> None:
    site.pages["/a"] = page
    half(target, left)
    download.fetch(f"{site.url}/a", target)
    assert target.read_bytes() == BODY
    assert names(target.parent) == ["file.bin"]


def test_a_broken_connection_is_named_and_goes_on(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CHUNK", 1000)
    site.pages["/a"] = Page(sent=4000)
    with pytest.raises(UserError, match=r"/a: the connection broke; run the command again: it goes on"):
        download.fetch(f"{site.url}/a", target)
    assert not target.exists()
    site.pages["/a"] = Page()
    download.fetch(f"{site.url}/a", target)
    assert target.read_bytes() == BODY
    assert site.asked[-1] == ("/a", "bytes=4000-")


def test_a_wrong_length_is_found_out(site: Site, target: Path) -> None:
    site.pages["/a"] = Page(length=len(BODY) + 1)
    with pytest.raises(UserError, match="the connection broke"):
        download.fetch(f"{site.url}/a", target)
    half(target).unlink()
    site.pages["/a"] = Page(length=500)
    with pytest.raises(UserError, match=r"sha256 is .* expected"):
        download.fetch(f"{site.url}/a", target, sha256(BODY))
    half(target)
    site.pages["/a"] = Page(sent=10, length=10)
    with pytest.raises(UserError, match=r"3,010 of 10,240 bytes came before the end"):
        download.fetch(f"{site.url}/a", target)
    assert not target.exists()


def test_a_checksum_mismatch_leaves_nothing(site: Site, target: Path) -> None:
    site.pages["/a"] = Page()
    with pytest.raises(UserError, match=f"/a: sha256 is {sha256(BODY)}, expected {sha256(b'')}"):
        download.fetch(f"{site.url}/a", target, sha256(b""))
    assert names(target.parent) == []


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("header", ["X-Goog-Hash", "X-Linked-ETag"])
def test_a_digest_that_the_server_states_is_checked(site: Site, target: Path, header: str, right: bool) -> None:
    body = BODY if right else b"another file"
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    stated = f"crc32c=AAAAAA==, md5={md5}" if header == "X-Goog-Hash" else f'"{sha256(body)}"'
    if header == "X-Goog-Hash":
        site.pages["/a"] = Page(headers={header: stated})
    else:  # Hugging Face states it in the redirection to its storage
        site.pages["/a"] = Page(b"", status=302, headers={header: stated, "Location": "/b"})
        site.pages["/b"] = Page(headers={"ETag": '"something else"'})
    if right:
        download.fetch(f"{site.url}/a", target)
        assert target.read_bytes() == BODY
    else:
        with pytest.raises(UserError, match=r"/a: (md5|sha256) is \w+, expected \w+; it came damaged"):
            download.fetch(f"{site.url}/a", target)
        assert names(target.parent) == []


def test_http_errors_keep_what_came(site: Site, target: Path) -> None:
    unfinished = half(target)
    with pytest.raises(download.MissingFileError, match=r"/a: HTTP 404 Not Found; it may have moved"):
        download.fetch(f"{site.url}/a", target)
    site.pages["/a"] = Page(status=503, ranges=False)
    with pytest.raises(UserError, match=r"/a: HTTP 503 Service Unavailable; try again later"):
        download.fetch(f"{site.url}/a", target)
    assert unfinished.read_bytes() == BODY[:3000]


def test_a_silent_server_is_given_up(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    site.pages["/a"] = Page(wait=1)
    with pytest.raises(UserError, match=r"/a: no answer for 0\.2 s"):
        download.fetch(f"{site.url}/a", target)
    assert not target.exists()


def test_no_network_and_no_address(site: Site, target: Path) -> None:
    site.server.server_close()
    with pytest.raises(UserError, match=r"/a: no connection; check network and proxy"):
        download.fetch(f"{site.url}/a", target)
    with pytest.raises(UserError, match=r"file:///a: .*; check the address"):
        download.fetch("file:///a", target)
    assert not target.parent.exists()


def test_ctrl_c_keeps_the_half_under_another_name(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.pages["/a"] = Page()
    monkeypatch.setattr(download, "CHUNK", 1000)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(download.tqdm, "update", interrupt)
        with pytest.raises(KeyboardInterrupt):
            download.fetch(f"{site.url}/a", target)
    assert names(target.parent) == ["file.bin.unfinished"]
    download.fetch(f"{site.url}/a", target)
    assert site.asked[-1] == ("/a", "bytes=1000-")
    assert target.read_bytes() == BODY


def test_a_place_that_cannot_be_written_is_named(site: Site, tmp_path: Path) -> None:
    site.pages["/a"] = Page()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/a\.unfinished: cannot be written"):
        download.fetch(f"{site.url}/a", tmp_path / "file" / "a")


FILES = {"bert_config.json": b"{}", "vocab.txt": b"[PAD]\n", "bert_model.ckpt.index": BODY}


def write_zip(path: Path, files: dict[str, bytes], *more: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [*files.items(), *more]:
            archive.writestr(name, content)
    return path


def in_folder(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"chinese_L-12/{name}": content for name, content in files.items()}


def test_the_checkpoint_files_come_out_of_their_folder(tmp_path: Path) -> None:
    others = {"chinese_L-12/README.md": b"", "__MACOSX/chinese_L-12/._vocab.txt": b"", "chinese_L-12/": b""}
    download.unpack_zip(write_zip(tmp_path / "a.zip", in_folder(FILES) | others), tmp_path / "model")
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == FILES


def special(name: str, mode: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    return member


def spoil(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def stored(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)


def corrupted(path: Path) -> None:
    stored(path)
    spoil(path, BODY[:200], bytes(200))


def encrypted(path: Path) -> None:
    member = zipfile.ZipInfo("vocab.txt")
    write_zip(path, {}, (member, b"[PAD]\n"))
    spoil(path, b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: write_zip(path, FILES, ("../vocab.txt", b"")), r"'\.\./vocab\.txt' leads out of its folder"),
        (lambda path: write_zip(path, FILES, ("a/../../b", b"")), "leads out of its folder"),
        (lambda path: write_zip(path, FILES, ("..\\vocab.txt", b"")), "leads out of its folder"),
        (lambda path: write_zip(path, FILES, ("/etc/passwd", b"")), "'/etc/passwd' is an absolute path"),
        (lambda path: write_zip(path, FILES, ("C:\\vocab.txt", b"")), "is an absolute path"),
        (lambda path: write_zip(path, FILES, ("c:vocab.txt", b"")), "is an absolute path"),
        (lambda path: write_zip(path, FILES, (special("x", stat.S_IFLNK | 0o777), b"/")), "is a link or a device"),
        (lambda path: write_zip(path, FILES, (special("x", stat.S_IFCHR), b"")), "is a link or a device"),
        (lambda path: write_zip(path, FILES, ("vocab.txt", b"other")), "'vocab.txt' stands in it twice"),
        (lambda path: write_zip(path, FILES, ("./vocab.txt", b"other")), "stands in it twice"),
        (lambda path: write_zip(path, FILES, ("b/vocab.txt", b"")), "vocab.txt stands in it more than once"),
        (lambda path: write_zip(path, {"README": b""}), r"holds no bert_config\.json or"),
        (corrupted, "not a whole zip archive .*CRC"),
        (encrypted, "not a whole zip archive .*encrypted"),
        (lambda path: (stored(path), path.write_bytes(path.read_bytes()[:5000])), "not a whole zip archive"),
        (lambda path: path.write_text("<html>"), "not a whole zip archive"),
    ],
)
def test_harmful_and_broken_archives_are_refused(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    make(folder / "a.zip")
    with pytest.raises(UserError, match=reason):
        download.unpack_zip(folder / "a.zip", folder / "model")
    assert names(tmp_path) == ["a", "a.zip", "b"]


def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST_BOMB", 1_000_000)
    archive = write_zip(tmp_path / "a.zip", FILES | {"bert_model.ckpt.index": bytes(2_000_000)})
    with pytest.raises(UserError, match="that unpack to 2,000,008 are no checkpoint"):
        download.unpack_zip(archive, tmp_path / "model")
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_what_stops_the_check_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def check(folder: Path) -> None:
        assert names(folder) == sorted(FILES)
        raise error

    with pytest.raises(error):
        download.unpack_zip(write_zip(tmp_path / "a.zip", FILES), tmp_path / "model", check)
    assert names(tmp_path) == ["a.zip"]
