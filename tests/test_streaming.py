"""Equal pairs once, scores on disk, and a killed run that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert import scorer as scoring
from nsp_bert.backends import Backend
from nsp_bert.checkpoint import Checkpoint
from nsp_bert.score_files import ScoreFiles
from nsp_bert.scorer import EncodedPair, PairMemory, Scorer, make_windows, read_ahead

SLOW_RUN = """
import os, sys, time
from nsp_bert import backends, cli, scorer
import nsp_bert_classification
scorer.WINDOW_PAIRS = 32
whole, calls = backends.BACKENDS["tensorflow"], []
def load(*arguments):
    backend = whole(*arguments)
    def log_odds(*inputs):
        calls.append(len(inputs[0]))
        time.sleep(float(os.environ["PAUSE"]))
        return backend(*inputs)
    return backends.Backend(log_odds, 1, 512)
backends.BACKENDS["tensorflow"] = load
status = nsp_bert_classification.main(sys.argv[1:])
print("scored", sum(calls))
sys.exit(status)
"""


def by_sum(calls: list[int]) -> Callable[..., Backend]:
    """Return a loader of a backend that adds up token ids, and notes the rows of every batch."""

    def load(*_arguments: object) -> Backend:
        def log_odds(ids: np.ndarray, segments: np.ndarray, positions: np.ndarray) -> np.ndarray:
            calls.append(len(ids))
            return (ids.sum(1) + 0.5 * segments.sum(1) + 0.25 * positions.sum(1)).astype(np.float32)

        return Backend(log_odds, streams=2, batch_tokens=64)

    return load


def expected(pair: EncodedPair) -> float:
    positions = pair.position_ids or range(len(pair.token_ids))
    return sum(pair.token_ids) + 0.5 * (len(pair.token_ids) - pair.first_length) + 0.25 * sum(positions)


@st.composite
def some_pairs(draw: st.DrawFn) -> list[EncodedPair]:
    few = st.lists(st.integers(1, 3), min_size=2, max_size=4)
    pair = st.builds(
        lambda ids, first, shift: EncodedPair(ids, first, [n + 1 for n in range(len(ids))] if shift else None),
        few,
        st.integers(1, 2),
        st.booleans(),
    )
    return draw(st.lists(pair, max_size=60))


@given(pairs=some_pairs(), window=st.integers(1, 20), slots=st.sampled_from([1, 7, 1 << 10]))
def test_every_pair_gets_its_score_and_equal_ones_are_scored_once(
    pairs: list[EncodedPair], window: int, slots: int
) -> None:
    calls: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "WINDOW_PAIRS", window)
        patch.setattr(scoring, "REMEMBERED", slots)
        scores = Scorer(Checkpoint, load=by_sum(calls)).score(pairs, len(pairs))  # type: ignore[arg-type]
    assert scores.complete
    assert scores.values.tolist() == [expected(pair) for pair in pairs]
    different = len({str(pair) for pair in pairs})
    assert different <= sum(calls) <= len(pairs)
    if window >= len(pairs):
        assert sum(calls) == different


def test_pairs_are_remembered_beyond_their_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "WINDOW_PAIRS", 4)
    pairs = [EncodedPair([2, number % 6 + 5, 3], 2) for number in range(30)]
    windows = list(make_windows(pairs, 100))
    assert [len(window.repeats) for window in windows] == [0, 2, 4, 4, 4, 4, 4, 2]
    assert all((window.repeats % 6 == window.originals).all() for window in windows)


def test_a_full_memory_mistakes_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "REMEMBERED", 2)
    memory = PairMemory()
    pairs = [EncodedPair([number, 3], 1) for number in range(20)]
    assert memory.originals(pairs, 0).tolist() == list(range(20))
    again = memory.originals(pairs, 20)
    assert all(place == index or place == 20 + index for index, place in enumerate(again))


def test_reading_ahead_keeps_order_and_errors() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("after two")

    seen: list[int] = []
    with pytest.raises(ValueError, match="after two"):
        seen.extend(read_ahead(broken()))
    assert seen == [1, 2]


def test_values_that_are_there_are_not_scored_again() -> None:
    calls: list[int] = []
    pairs = [EncodedPair([number, 3], 1) for number in range(5, 25)]
    values = np.full(20, np.nan, np.float32)
    values[:] = [-1] * 10 + [np.nan] * 10
    found = Scorer(Checkpoint, load=by_sum(calls)).score(pairs, 20, values).values  # type: ignore[arg-type]
    assert found[10:].tolist() == [expected(pair) for pair in pairs[10:]]
    whole = Scorer(Checkpoint, load=by_sum([])).score(pairs, 20).values  # type: ignore[arg-type]
    kept = found[:10] == -1
    assert (kept | (found[:10] == whole[:10])).all()
    assert sum(calls) < 32


def test_files_serve_the_same_run_alone(tmp_path: Path) -> None:
    ScoreFiles(tmp_path, "tnews.test", {"data": "a"}, resume=False).open(5)[:2] = [1, 2]
    again = ScoreFiles(tmp_path, "tnews.test", {"data": "a"}, resume=True)
    np.testing.assert_array_equal(again.open(5), np.array([1, 2, np.nan, np.nan, np.nan], np.float32))
    assert np.isnan(again.open(5)).all()  # the second call of a run has a file of its own
    assert np.isnan(ScoreFiles(tmp_path, "tnews.test", {"data": "b"}, resume=True).open(5)).all()
    assert len(list(tmp_path.iterdir())) == 1  # what another run left is gone
    last = ScoreFiles(tmp_path, "tnews.test", {"data": "b"}, resume=False)
    assert np.isnan(last.open(5)).all()
    last.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [[], ["--calibration", "content-free"]])
def test_a_killed_run_goes_on_and_ends_with_the_same_files(
    checkpoint_dir: Path, tmp_path: Path, options: list[str]
) -> None:
    def command(folder: str) -> list[str]:
        arguments = ["--model", str(checkpoint_dir), "--dataset", "eprstmt", "--output", str(tmp_path / folder)]
        return [sys.executable, "-c", SLOW_RUN, *arguments, "--resume", *options]

    def run(folder: str) -> str:
        environment = os.environ | {"PAUSE": "0"}
        return subprocess.run(
            command(folder), cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        ).stdout

    whole = run("whole")
    process = subprocess.Popen(
        command("killed"), cwd=ROOT, env=os.environ | {"PAUSE": "0.5"}, stdout=subprocess.DEVNULL, stderr=-3
    )
    done = 0
    while done < 20 and process.poll() is None:
        time.sleep(0.05)
        files = list((tmp_path / "killed").glob("*.scores.unfinished"))
        done = sum(int(np.isfinite(np.fromfile(path, np.float32)).sum()) for path in files)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "eprstmt.test_public.json").exists()
    resumed = run("killed")
    scored = [int(text.split("scored ")[1].split()[0]) for text in (whole, resumed)]
    assert scored[1] <= scored[0] - 20
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
    for path in (tmp_path / "whole").glob("*.jsonl"):
        assert path.read_bytes() == (tmp_path / "killed" / path.name).read_bytes()
