"""float32's predictions at nearly the speed of a faster arithmetic (`--precision auto`).

Every pair is scored in the fast arithmetic, then in float32 what could still change a prediction. What could is a
matter of intervals: a fast score may be off by the largest deviation that this run has seen, a score in float32 by
nothing. The deviations come from a random sample and from every pair that is scored twice; where one is larger than
those before, more becomes undecided, and scoring goes on until nothing is left. In the end some rows without a score in
float32 are looked at as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Generic, Protocol, TypeVar

import numpy as np

from nsp_bert.scoring.outputs import SETTLED, Output
from nsp_bert.scoring.precision import AUTO, fast_precision
from nsp_bert.scoring.score_files import Journal, JournalPart
from nsp_bert.scoring.scorer import Progress, Scorer
from nsp_bert.scoring.windows import Stretchable
from nsp_bert.tokenization import EncodedPair

EXACT = "float32"
SAMPLED_PAIRS, SAMPLED_SHARE = 64, 0.01  # of the pairs, at least so many; once at first, once among untouched rows
SEED = 0

RowT = TypeVar("RowT")
Undecided = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From the least and the largest that each score float64 (n,) can be: bool (n,), which of them must be known better."""
OpenJournal = Callable[[int, str], Journal | None]


@dataclass(frozen=True)
class PairTable(Generic[RowT]):
    """The pairs of rows, all in turn or some of them.

    Row i has `sizes[i]` scores, one at least, and a pair `width` of them: one, or a score for every candidate.
    """

    encode: Callable[[Iterable[RowT]], Iterable[EncodedPair]]
    rows: Sequence[RowT]
    sizes: Sequence[int]
    width: int = 1

    @property
    def total(self) -> int:
        """Number of scores."""
        return sum(self.sizes)

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return self.total // self.width

    def whole(self, wanted: np.ndarray) -> np.ndarray:
        """Return a mask bool (total,) with all scores of each pair of which it has one."""
        return np.repeat(self._of_pairs(wanted), self.width)

    def _of_pairs(self, wanted: np.ndarray) -> np.ndarray:
        return np.logical_or.reduce(wanted.reshape(-1, self.width), axis=1)

    def all(self) -> Iterable[EncodedPair]:
        """Return all pairs."""
        return self.encode(self.rows)

    def at(self, wanted: np.ndarray) -> Iterable[EncodedPair]:
        """Return the pairs of the scores that a mask bool (total,) wants, in their order."""
        touched = any_of_row(wanted, self.sizes)
        kept = self._of_pairs(wanted[np.repeat(touched, self.sizes)])
        pairs = self.encode(compress(self.rows, touched))
        return pairs.at(np.flatnonzero(kept)) if isinstance(pairs, Stretchable) else compress(pairs, kept)


def any_of_row(mask: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return bool (rows,): whether any pair of a row is in the mask bool (pairs,)."""
    return np.logical_or.reduceat(mask, np.cumsum(sizes, dtype=np.int64) - sizes)


class Scored:
    """The scores of a table in one arithmetic: `values` float32 (n,), NaN where an interrupt came first.

    `pairs` were scored in `seconds`, without those that were there before.
    """

    def __init__(self, values: np.ndarray, complete: bool, seconds: float, pairs: int):
        """Take what a scorer found."""
        self.values, self.complete, self.seconds, self.pairs = values, complete, seconds, pairs

    @property
    def exact(self) -> np.ndarray:
        """Which values, bool (n,), are all that will be known of them."""
        return np.ones(len(self.values), bool)

    @property
    def bound(self) -> float:
        """How far the other values may be off."""
        return 0.0

    @property
    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest that each score can be, float64 (n,)."""
        off = np.where(self.exact, 0.0, self.bound)
        return self.values - off, self.values + off

    def refine(self, wanted: np.ndarray) -> None:
        """Know the values of a mask bool (n,) exactly."""


class Twofold(Scored):
    """The scores in the fast arithmetic, and of some pairs, which grow in number, in float32."""

    def __init__(self, first: Scored, table: PairTable, engine: Engine, journal: Journal | None, progress: Progress):
        """Take the scores of the fast arithmetic. `journal` holds those in float32 that are there already."""
        super().__init__(first.values.copy(), first.complete, first.seconds, first.pairs)
        self._fast, self._table, self._engine, self._progress = first.values, table, engine, progress
        self._exact = np.zeros(len(self.values), bool)
        self._journal = journal

    @property
    def exact(self) -> np.ndarray:
        """Which values, bool (n,), are of float32."""
        return self._exact

    @property
    def bound(self) -> float:
        """The largest deviation that has been seen, in any table of the engine."""
        return self._engine.deviation

    def refine(self, wanted: np.ndarray) -> None:
        """Score the pairs of a mask bool (n,) in float32; an interrupt leaves all as it is."""
        wanted = self._table.whole(wanted & ~self._exact)
        places = np.flatnonzero(wanted)
        if not len(places):
            return
        part = JournalPart(self._journal, places) if self._journal else None
        scorer = self._engine.scorer(EXACT)
        show = self._progress is True
        pairs, width = self._table.at(wanted), self._table.width
        title = "again in float32"
        found = scorer.score(pairs, len(places) // width, part, progress=show, title=title, width=width)
        self.seconds += found.seconds
        self.complete = found.complete
        if found.complete:
            self.values[places] = found.values
            self._exact[places] = True
            self._engine.see(np.abs(found.values - self._fast[places]))


class Engine:
    """Scores tables in one precision, or with `auto` in two.

    `deviation` is the largest between the two that has been seen, 0 where one is all.
    """

    def __init__(self, scorer: Callable[[str], Scorer], precision: str, output: Output = "next-sentence"):
        """`scorer` returns the one of a precision.

        Without a faster arithmetic on this machine auto is float32; so it is for vectors, of which a deviation does not
        tell what it does to a comparison.
        """
        self.scorer, self.asked = scorer, precision
        self.fast = fast_precision() if precision == AUTO and output in SETTLED else None
        self.precision = precision if precision != AUTO or self.fast else EXACT
        self.deviation = 0.0

    @property
    def words(self) -> str:
        """What is computed in, in words."""
        if self.fast:
            return f"{self.fast}, float32 where it decides"
        return self.precision + (" (nothing faster here)" if self.asked == AUTO else "")

    def load(self) -> None:
        """Load what scores first."""
        self.scorer(self.fast or self.precision)

    def score(self, table: PairTable, open_journal: OpenJournal | None = None, progress: Progress = True) -> Scored:
        """Return the scores of a table, with `auto` not yet settled: `settle` makes predictions certain.

        `open_journal` is asked for (number, precision). An interrupt ends early. Raises UserError as `Scorer.score`.
        """
        first = self.fast or self.precision
        journal = open_journal(table.total, first) if open_journal else None
        found = self.scorer(first).score(table.all(), table.pairs, journal, progress=progress, width=table.width)
        scored = Scored(found.values, found.complete, found.seconds, found.pairs)
        if not self.fast:
            return scored
        again = open_journal(table.total, EXACT) if open_journal else None
        twofold = Twofold(scored, table, self, again, progress)
        if twofold.complete:
            twofold.refine(draw(np.ones(table.total, bool), sample_size(table.total)))
        return twofold

    def see(self, deviations: np.ndarray) -> None:
        """Take the deviations float32 (n,) of pairs that were scored twice."""
        self.deviation = max(self.deviation, float(deviations.max()))


def sample_size(pairs: int) -> int:
    """Return how many pairs are drawn to see deviations."""
    return min(max(SAMPLED_PAIRS, int(SAMPLED_SHARE * pairs)), pairs)


def draw(among: np.ndarray, count: int, seed: int = SEED) -> np.ndarray:
    """Return a mask bool (n,) of `count` random ones of those that a mask bool (n,) has."""
    places = np.flatnonzero(among)
    drawn = np.zeros(len(among), bool)
    drawn[np.random.default_rng(seed).permutation(places)[:count]] = True
    return drawn


@dataclass(frozen=True)
class Question:
    """What scores decide together: `undecided` is asked for those of all parts, one after the other."""

    parts: Sequence[Scored]
    undecided: Undecided

    @property
    def complete(self) -> bool:
        """Whether no part was interrupted."""
        return all(part.complete for part in self.parts)

    def refine(self) -> bool:
        """Score in float32 what is undecided; return whether something was."""
        exact = np.concatenate([part.exact for part in self.parts])
        if exact.all():
            return False
        low, high = (np.concatenate(side) for side in zip(*(part.interval for part in self.parts), strict=True))
        left = self.undecided(low, high) & ~exact
        if not left.any():
            return False
        ends = np.cumsum([len(part.values) for part in self.parts])
        for part, wanted in zip(self.parts, np.split(left, ends[:-1]), strict=True):
            part.refine(wanted)
        return self.complete


def settle(questions: Sequence[Question]) -> None:
    """Score in float32 until no question has anything undecided; deviations of one may widen the others'."""
    asked = [question for question in questions if question.complete]
    while any(question.refine() for question in asked):
        asked = [question for question in asked if question.complete]


@dataclass
class Check:
    """How many rows without a score in float32 were looked at after all, and how many predictions that changed."""

    rows: int = 0
    flips: int = 0


class Predict(Protocol):
    """Scores float32 (pairs,) -> predictions that can be compared."""

    def __call__(self, values: np.ndarray) -> Sequence[object]:
        """Return a prediction each."""


def settle_and_check(questions: Sequence[Question], scored: Scored, sizes: Sequence[int], predict: Predict) -> Check:
    """Settle the questions, and look at rows of `scored` that are decided without float32.

    A prediction that this changes is a deviation larger than all before: it widens the intervals, what is undecided
    then is scored, and other rows are looked at, until none changes.
    """
    check = Check()
    settle(questions)
    while scored.complete and (untouched := ~any_of_row(scored.exact, sizes)).any():
        rows = max(int(sample_size(len(scored.values)) / np.mean(sizes)), 1)
        drawn = draw(untouched, rows, SEED + 1 + check.rows)
        before = predict(scored.values)
        scored.refine(np.repeat(drawn, sizes))
        if not scored.complete:
            break
        changed = sum(old != new for old, new in zip(before, predict(scored.values), strict=True))
        check.rows, check.flips = check.rows + int(drawn.sum()), check.flips + changed
        settle(questions)
        if not changed:
            break
    return check
