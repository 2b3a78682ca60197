"""--precision auto predicts as float32 does, whatever the deviations of the fast arithmetic are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nsp_bert_classification as classification
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.answer_mapping import (
    apply_thresholds,
    best_undecided,
    candidates_contrast,
    cuts_in_batches_undecided,
    cuts_undecided,
    learn_thresholds,
    rank,
    rank_in_batches,
    split_by_sizes,
    thresholds_undecided,
)
from nsp_bert.errors import UserError
from nsp_bert.scoring import exact
from nsp_bert.scoring.exact import Check, Engine, PairTable, Question, Scored, settle, settle_and_check
from nsp_bert.scoring.scorer import Scores
from nsp_bert.terminal import INTERRUPTED
from nsp_bert.zero_shot import PairScorer, ZeroShotClassifier

FAST = "bfloat16"


class Given:
    """A scorer whose scores are given; a pair is its number. `ends_at` is the call that Ctrl-C ends."""

    def __init__(self, values: np.ndarray, ends_at: int | None = None):
        self.values, self.ends_at, self.asked = values.astype(np.float32), ends_at, []

    def score(self, pairs: Iterable[int], total: int, journal: object = None, **_options: object) -> Scores:
        places = np.array(list(pairs), np.int64)
        assert len(places) == total
        self.asked.append(places)
        if self.ends_at == len(self.asked):
            return Scores(np.full(total, np.nan, np.float32), False, 0.0, 0)
        return Scores(self.values[places], True, 0.0, total)


def numbered(sizes: Sequence[int]) -> PairTable:
    """Pairs that are their numbers."""
    starts = np.cumsum([0, *sizes])
    return PairTable(
        lambda rows: (place for row in rows for place in range(starts[row], starts[row + 1])), range(len(sizes)), sizes
    )


def engine_of(truth: np.ndarray, fast: np.ndarray, monkeypatch: pytest.MonkeyPatch, **ends: int) -> Engine:
    monkeypatch.setattr(exact, "fast_precision", lambda: FAST)
    scorers = {FAST: Given(fast), "float32": Given(truth, ends.get("ends_at"))}
    return Engine(scorers.__getitem__, "auto")  # type: ignore[arg-type]


def best(sizes: Sequence[int]) -> Callable[[np.ndarray], list[int]]:
    return lambda values: candidates_contrast(split_by_sizes(sizes, values)).tolist()


def classify(engine: Engine, sizes: Sequence[int]) -> tuple[Scored, Check]:
    scored = engine.score(numbered(sizes))
    question = Question([scored], lambda low, high: best_undecided(low, high, sizes))
    return scored, settle_and_check([question], scored, sizes, best(sizes))


@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=60),
    spread=st.sampled_from([0.0, 0.01, 0.3, 5.0]),
)
def test_candidates_end_in_float32_s_predictions(seed: int, sizes: list[int], spread: float) -> None:
    """Few pairs: the first sample sees each of them, so that no deviation is a surprise."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=sum(sizes)).round(1).astype(np.float32)  # with ties
    fast = truth + random.uniform(-spread, spread, len(truth))
    with pytest.MonkeyPatch.context() as patch:
        scored, _ = classify(engine_of(truth, fast, patch), sizes)
    assert best(sizes)(scored.values) == best(sizes)(truth)
    assert np.array_equal(scored.values[scored.exact], truth[scored.exact])


def test_few_pairs_are_scored_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    sizes = [15] * 2000
    truth = random.normal(scale=3, size=30_000).astype(np.float32)
    engine = engine_of(truth, truth + random.uniform(-0.1, 0.1, len(truth)), monkeypatch)
    scored, check = classify(engine, sizes)
    assert best(sizes)(scored.values) == best(sizes)(truth)
    assert 0.01 < scored.exact.mean() < 0.06
    assert (check.rows, check.flips) == (20, 0)
    assert 0.099 < engine.deviation <= 0.1001


def test_a_far_larger_deviation_widens_what_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pair that looks close deviates ten times more than the sample: others that look safe are no more."""
    random = np.random.default_rng(1)
    sizes = [2] * 4000
    truth = random.normal(size=8000).astype(np.float32)
    fast = truth + random.uniform(-0.01, 0.01, 8000)
    close, far = 100, 7000
    truth[close : close + 2], fast[close : close + 2] = [0.1, 0.0], [0.0, 0.0]  # seen, since the two are equal
    truth[far : far + 2], fast[far : far + 2] = [0.0, 0.05], [0.1, 0.05]  # flipped, ten times the sample's deviation
    engine = engine_of(truth, fast, monkeypatch)
    scored, _ = classify(engine, sizes)
    assert best(sizes)(scored.values) == best(sizes)(truth)
    assert engine.deviation >= 0.1
    assert scored.exact[far : far + 2].all()


def test_flips_among_untouched_rows_are_found_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the rows is flipped by far more than the sample shows: the last look finds it."""
    monkeypatch.setattr(exact, "sample_size", lambda pairs: 40)
    sizes = [2] * 3000
    truth = np.tile(np.array([1.0, 0.0], np.float32), 3000)
    fast = truth.copy()
    fast.reshape(-1, 2)[1::3] = [0.0, 1.0]
    drawn = exact.draw

    def first_sample_sees_nothing(among: np.ndarray, count: int, seed: int = exact.SEED) -> np.ndarray:
        if seed == exact.SEED:
            return np.arange(len(among)) < 2
        return drawn(among, count, seed)

    monkeypatch.setattr(exact, "draw", first_sample_sees_nothing)
    scored, check = classify(engine_of(truth, fast, monkeypatch), sizes)
    assert check.flips > 0
    assert best(sizes)(scored.values) == best(sizes)(truth)


@given(seed=st.integers(0, 10_000), count=st.integers(3, 60), labels=st.integers(2, 3), same=st.booleans())
def test_thresholds_end_in_float32_s_predictions(seed: int, count: int, labels: int, same: bool) -> None:
    random = np.random.default_rng(seed)
    truth = random.normal(size=2 * count).round(1).astype(np.float32)
    fast = truth + random.uniform(-0.2, 0.2, len(truth))
    dev, test = np.arange(count), np.arange(count) if same else np.arange(count, 2 * count)

    def undecided(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        found = np.zeros(len(low), bool)
        of_dev, of_test = thresholds_undecided((low[dev], high[dev]), (low[test], high[test]), labels)
        found[dev] |= of_dev
        found[test] |= of_test
        return found

    def predict(values: np.ndarray) -> list[int]:
        return apply_thresholds(values[test], learn_thresholds(values[dev], labels)).tolist()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "SAMPLED_PAIRS", 1)
        engine = engine_of(truth, fast, patch)
        engine.deviation = 0.21  # known beforehand: the question alone is asked here
        scored = engine.score(numbered([1] * len(truth)))
        settle([Question([scored], undecided)])
    assert predict(scored.values) == predict(truth)


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 80),
    labels=st.integers(2, 3),
    size=st.sampled_from([1, 2, 5, 16, 128]),
)
def test_rankings_end_as_float32_s(seed: int, count: int, labels: int, size: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.normal(size=count).round(1).astype(np.float32)
    fast = (truth + random.uniform(-0.2, 0.2, count)).astype(np.float32)
    whole = cuts_undecided(fast - 0.21, fast + 0.21, labels)
    in_batches = cuts_in_batches_undecided(fast - 0.21, fast + 0.21, labels, size)
    assert np.array_equal(rank(np.where(whole, truth, fast), labels), rank(truth, labels))
    known = np.where(in_batches, truth, fast)
    assert np.array_equal(rank_in_batches(known, labels, size), rank_in_batches(truth, labels, size))


def test_where_nothing_is_close_only_the_samples_are_scored_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [2] * 5000
    truth = np.tile(np.array([5.0, -5.0], np.float32), 5000)
    engine = engine_of(truth, truth, monkeypatch)
    scored, check = classify(engine, sizes)
    assert scored.exact.sum() <= 200
    assert (engine.deviation, check.flips) == (0.0, 0)


def test_an_interrupt_while_scoring_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.random.default_rng(0).normal(size=600).astype(np.float32)
    engine = engine_of(truth, truth + 0.01, monkeypatch, ends_at=2)
    scored, check = classify(engine, [2] * 300)
    assert not scored.complete
    assert not np.isnan(scored.values).any()
    assert check.rows == 0


def test_without_a_faster_arithmetic_it_is_float32(
    monkeypatch: pytest.MonkeyPatch, checkpoint_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exact, "fast_precision", lambda: None)
    options = ["--model", str(checkpoint_dir), "--dataset", "eprstmt", "--precision", "auto"]
    assert classification.main([*options, "--output", str(tmp_path)]) == 0
    assert "random, float32 (nothing faster here)" in capsys.readouterr().out
    found = json.loads((tmp_path / "eprstmt.test_public.json").read_text(encoding="utf-8"))
    assert found["settings"]["precision"] == "float32"
    assert "precision_check" not in found


SCRIPTS = [
    (classification, "eprstmt", ("--calibration", "content-free", "ensemble")),
    (sentence_pair, "bustm", ("--batch-curve", "--calibration", "content-free")),
]


@pytest.mark.parametrize(("script", "name", "options"), SCRIPTS)
def test_scripts_predict_as_in_float32(
    script: ModuleType,
    name: str,
    options: tuple[str, ...],
    checkpoint_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exact, "fast_precision", lambda: FAST)

    def run(precision: str) -> tuple[dict, list[dict]]:
        folder = tmp_path / precision
        arguments = ["--model", str(checkpoint_dir), "--dataset", name, "--output", str(folder), *options]
        assert script.main([*arguments, "--precision", precision]) == 0
        summary = json.loads((folder / f"{name}.test_public.json").read_text(encoding="utf-8"))
        lines = (folder / f"{name}.test_public.jsonl").open(encoding="utf-8")
        rows = [{key: value for key, value in json.loads(line).items() if key != "scores"} for line in lines]
        return summary, rows

    (plain, expected), (summary, rows) = run("float32"), run("auto")
    assert rows == expected
    assert summary["metrics"] == plain["metrics"]
    assert summary.get("batch_curve") == plain.get("batch_curve")
    assert summary["settings"]["precision"] == "auto"
    check = summary["precision_check"]
    assert check["fast"] == FAST
    assert 0 < check["pairs_twice"] <= check["pairs"]
    assert check["margin"] == 2 * check["largest_deviation"]


def test_a_killed_run_ends_as_one_that_was_not(
    checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in every call of the scorers in turn, then resumed."""
    monkeypatch.setattr(exact, "fast_precision", lambda: FAST)
    score = exact.Twofold.refine
    calls = {"left": 0}

    def refine(self: exact.Twofold, wanted: np.ndarray) -> None:
        if calls["left"] == 0:
            self.complete = False
        else:
            calls["left"] -= 1
            score(self, wanted)

    arguments = ["--model", str(checkpoint_dir), "--dataset", "tnews", "--precision", "auto", "--output"]
    assert classification.main([*arguments, str(tmp_path / "whole")]) == 0
    monkeypatch.setattr(exact.Twofold, "refine", refine)
    for calls["left"] in (0, 1, 2):
        assert classification.main([*arguments, str(tmp_path / "killed"), "--resume"]) == INTERRUPTED
        assert list((tmp_path / "killed").glob("*.scores.unfinished"))
    monkeypatch.setattr(exact.Twofold, "refine", score)
    assert classification.main([*arguments, str(tmp_path / "killed"), "--resume"]) == 0
    for ending in ("jsonl", "texts.jsonl"):
        name = f"tnews.test_public.{ending}"
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    checks = [
        json.loads((tmp_path / folder / "tnews.test_public.json").read_text(encoding="utf-8"))["precision_check"]
        for folder in ("whole", "killed")
    ]
    assert checks[0] == checks[1]


def test_own_texts_and_the_python_api(
    checkpoint_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "fast_precision", lambda: FAST)
    own = ["--labels", "体育,财经", "--text", "主场取胜", "--precision", "auto", "--model", str(checkpoint_dir)]
    assert classification.main(own) == 0
    assert "bfloat16, float32 where it decides" in capsys.readouterr().out
    texts = [f"第{number}件东西{'好' * (number % 7)}" for number in range(60)]
    options = {"labels": ["好", "坏", "一般"], "template": ["这是{}", "{}"]}
    answers = {
        precision: [one.label for one in ZeroShotClassifier(str(checkpoint_dir), precision=precision)(texts, **options)]
        for precision in ("float32", "auto")
    }
    assert answers["auto"] == answers["float32"]


def test_plain_pairs_decide_nothing(checkpoint_dir: Path) -> None:
    with pytest.raises(UserError, match="plain pairs decide nothing"):
        PairScorer(str(checkpoint_dir), precision="auto")
