"""Equal pairs once, scores on disk, and a killed run that goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import slow_run
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.scoring import scorer as scoring
from nsp_bert.scoring.backends import Backend
from nsp_bert.scoring.score_files import ScoreFile
from nsp_bert.scoring.scorer import Scorer, read_ahead
from nsp_bert.tokenization import EncodedPair


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


@given(pairs=some_pairs(), window=st.integers(1, 20))
def test_every_pair_gets_its_score_and_equal_ones_are_scored_once(pairs: list[EncodedPair], window: int) -> None:
    calls: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "WINDOW_PAIRS", window)
        scores = Scorer(Checkpoint, load=by_sum(calls)).score(pairs, len(pairs))  # type: ignore[arg-type]
    assert scores.complete
    assert scores.values.tolist() == [expected(pair) for pair in pairs]
    windows = [pairs[start : start + window] for start in range(0, len(pairs), window)]
    assert sum(calls) == sum(len({str(pair) for pair in one}) for one in windows)


def test_reading_ahead_keeps_order_and_errors() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("after two")

    seen: list[int] = []
    with pytest.raises(ValueError, match="after two"):
        seen.extend(read_ahead(broken()))
    assert seen == [1, 2]


def test_values_that_are_there_are_not_scored_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of two windows the first was scored before: none of its pairs reaches the backend, and its values stay."""
    monkeypatch.setattr(scoring, "WINDOW_PAIRS", 10)
    calls: list[int] = []
    pairs = [EncodedPair([number, 3], 1) for number in range(5, 25)]
    journal = ScoreFile(tmp_path / "scores", {}, 20)
    journal.add(np.arange(10), np.full(10, -1, np.float32))
    heard: list[int] = []
    scores = Scorer(Checkpoint, load=by_sum(calls)).score(pairs, 20, journal, progress=heard.append)  # type: ignore[arg-type]
    assert scores.values.tolist() == [-1.0] * 10 + [expected(pair) for pair in pairs[10:]]
    assert sum(calls) == scores.pairs == 10
    assert sum(heard) == 20
    np.testing.assert_array_equal(ScoreFile(tmp_path / "scores", {}, 20).values, scores.values)


@pytest.mark.parametrize("options", [[], ["--calibration", "content-free"]])
def test_a_killed_run_goes_on_and_ends_with_the_same_files(
    checkpoint_dir: Path, tmp_path: Path, options: list[str]
) -> None:
    def start(folder: str, pause: float) -> subprocess.Popen[str]:
        arguments = ["--model", str(checkpoint_dir), "--dataset", "eprstmt", "--output", str(tmp_path / folder)]
        return slow_run.start([*arguments, "--resume", *options], pause)

    def scored(folder: str) -> int:
        process = start(folder, pause=0)
        out, errors = process.communicate()
        assert process.returncode == 0, errors
        return int(out.split("scored ")[1])

    whole = scored("whole")
    process = start("killed", pause=0.5)
    slow_run.wait_for_scores(tmp_path / "killed", 20, process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed" / "eprstmt.test_public.json").exists()
    assert scored("killed") <= whole - 20
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == names
    for name in (name for name in names if name.endswith(".jsonl")):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
