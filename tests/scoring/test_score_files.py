"""A score that was never computed cannot pass for one: broken journals are told and made again."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.errors import UserError
from nsp_bert.scoring import score_files
from nsp_bert.scoring.score_files import ScoreFile, ScoreFiles

TOTAL = 12
SCORES = np.linspace(-3, 3, TOTAL).astype(np.float32)


def write(path: Path, batches: tuple[tuple[int, ...], ...] = ((0, 5, 3), (1, 2), (4,))) -> ScoreFile:
    journal = ScoreFile(path, {"run": "a"}, TOTAL)
    for places in batches:
        journal.add(np.array(places), SCORES[list(places)])
    return journal


def reread(path: Path) -> np.ndarray:
    return ScoreFile(path, {"run": "a"}, TOTAL).values


def is_right(values: np.ndarray) -> bool:
    return bool((np.isnan(values) | (values == SCORES)).all())


def test_it_continues_where_it_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "j").close()
    values = reread(tmp_path / "j")
    assert is_right(values)
    assert np.flatnonzero(~np.isnan(values)).tolist() == [0, 1, 2, 3, 4, 5]
    write(tmp_path / "j", ((6, 7),)).close()
    assert int((~np.isnan(reread(tmp_path / "j"))).sum()) == 8
    assert capfd.readouterr().out == ""


@given(data=st.data())
def test_no_damage_yields_a_wrong_score(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut, overwritten, zeroed or foreign: what is read is right or NaN, and the journal goes on from there."""
    path = tmp_path_factory.mktemp("journal") / "j"
    write(path).close()
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content)))
    kind = data.draw(st.sampled_from(["cut", "zeros", "bytes", "foreign", "tail"]))
    if kind == "cut":
        content = content[:start]
    elif kind == "zeros":
        content[start:] = bytes(len(content) - start)
    elif kind == "bytes":
        noise = data.draw(st.binary(min_size=1, max_size=40))
        content[start : start + len(noise)] = noise
    elif kind == "foreign":
        content = bytearray(data.draw(st.binary(max_size=200)))
    else:
        content += data.draw(st.binary(max_size=100)) + bytes(24)
    path.write_bytes(content)
    assert is_right(reread(path))
    rest = np.flatnonzero(np.isnan(reread(path)))
    write(path, (tuple(rest.tolist()),)).close()
    np.testing.assert_array_equal(reread(path), SCORES)


@pytest.mark.parametrize(("header", "total"), [({"run": "b"}, TOTAL), ({"run": "a"}, TOTAL + 1)])
def test_another_run_s_journal_is_told_and_begun_anew(
    tmp_path: Path, header: dict[str, str | int], total: int, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "j").close()
    assert np.isnan(ScoreFile(tmp_path / "j", header, total).values).all()
    assert "not whole or of another run; those scores are made again" in capfd.readouterr().out


class FullDisk(io.FileIO):
    """A disk with room for so many bytes."""

    room = 300

    def write(self, data: bytes) -> int:  # type: ignore[override]
        taken = min(self.room, len(data))
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= taken
        return super().write(data[:taken])


def test_a_full_disk_is_told_and_nothing_wrong_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nsp_bert.files.FileIO", FullDisk)
    journal = ScoreFile(tmp_path / "j", {"run": "a"}, TOTAL)
    with pytest.raises(UserError, match=r"j: cannot be written \(No space left on device\); make room"):  # noqa: PT012
        for place in range(TOTAL):
            journal.add(np.array([place]), SCORES[[place]])
    monkeypatch.undo()
    values = reread(tmp_path / "j")
    assert is_right(values)
    assert 0 < int((~np.isnan(values)).sum()) < TOTAL


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine", encoding="utf-8")
    (tmp_path / "j").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="a symbolic link"):
        write(tmp_path / "j")
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "mine"
    (tmp_path / "d").mkdir()
    with pytest.raises(UserError, match=r"d: cannot be written"):
        write(tmp_path / "d")


def test_files_serve_the_same_run_alone(tmp_path: Path) -> None:
    def open_files(fingerprint: str, resume: bool) -> ScoreFiles:
        return ScoreFiles(tmp_path, "tnews.test", fingerprint, resume)

    open_files("a", resume=False).open(5, "float32").add(np.array([0, 1]), np.array([1, 2], np.float32))
    again = open_files("a", resume=True)
    np.testing.assert_array_equal(again.open(5, "float32").values, np.array([1, 2, np.nan, np.nan, np.nan]))
    assert np.isnan(again.open(5, "float32").values).all()  # the second call of a run has a file of its own
    assert np.isnan(open_files("a", resume=True).open(5, "bfloat16").values).all()  # in another arithmetic
    assert np.isnan(open_files("b", resume=True).open(5, "float32").values).all()
    assert len(list(tmp_path.iterdir())) == 1  # what another run left is gone
    last = open_files("b", resume=False)
    assert np.isnan(last.open(5, "float32").values).all()
    last.remove()
    assert not list(tmp_path.iterdir())


def test_a_record_of_zeros_is_none() -> None:
    assert score_files._sealed(0, b"") != bytes(score_files.RECORD.size)
