"""A kill between any two writes of a run: --resume ends with the bytes of an unbroken run, or what was there stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import RandomScorer

import nsp_bert_sentence_pair as script
from nsp_bert import files
from nsp_bert.scoring import score_files

RUN = ["--dataset", "bustm", "--calibration", "content-free"]


class Killed(BaseException):
    """No handler of the project takes it: as after SIGKILL, nothing more is written."""


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Kill at the n-th step that changes a file: replacing one, writing to a journal or removing it."""
    replace, write, unlink = os.replace, score_files.ScoreFile._write, os.unlink

    def kill(at: int) -> list[int]:
        steps: list[int] = []

        def step(action: Callable[..., object]) -> Callable[..., object]:
            def stepped(*arguments: object) -> object:
                steps.append(len(steps))
                if len(steps) > at:
                    raise Killed
                return action(*arguments)

            return stepped

        monkeypatch.setattr(files.os, "replace", step(replace))
        monkeypatch.setattr(score_files.ScoreFile, "_write", step(write))
        monkeypatch.setattr(score_files.os, "unlink", step(unlink))
        return steps

    return kill


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("first", ["nothing", "another complete run"])
def test_a_kill_anywhere(
    random_scores: type[RandomScorer],
    kill: Callable[[int], list[int]],
    checkpoint_dir: Path,
    tmp_path: Path,
    first: str,
) -> None:
    def run(folder: Path, *more: str) -> int:
        return script.main(["--model", str(checkpoint_dir), "--output", str(folder), *RUN, *more])

    assert run(tmp_path / "whole") == 0
    whole = content(tmp_path / "whole")
    assert len(whole) == 3
    at, killed = 0, True
    while killed:
        folder, killed = tmp_path / str(at), False
        if first != "nothing":
            kill(10**6)
            assert run(folder, "--limit", "5") == 0
        steps = kill(at)
        try:
            run(folder, "--resume", "--overwrite")
        except Killed:
            killed = True
        kill(10**6)
        assert run(folder, "--resume", "--overwrite") == 0
        assert content(folder) == whole
        at += 1
    assert len(steps) == at - 1 > 6


def test_an_interrupted_rerun_leaves_the_complete_result(
    random_scores: type[RandomScorer],
    checkpoint_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--model", str(checkpoint_dir), "--output", str(tmp_path), *RUN]
    assert script.main(arguments) == 0
    before = content(tmp_path)
    monkeypatch.setattr(RandomScorer, "complete", False)
    assert script.main(arguments) == 130
    assert {name: data for name, data in content(tmp_path).items() if "unfinished" not in name} == before
    assert "the complete result that is there stays" in capfd.readouterr().out


def test_two_runs_at_once_do_not_share_a_folder(
    random_scores: type[RandomScorer], expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path
) -> None:
    arguments = ("--model", checkpoint_dir, "--output", tmp_path, *RUN)
    with files.locked_folder(tmp_path):
        assert "another run is writing there" in expect_error(script.main, *arguments)
    assert script.main([str(word) for word in arguments]) == 0
