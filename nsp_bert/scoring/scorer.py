"""Encoded pairs -> scores of a BERT checkpoint: by its NSP head IsNext log-odds (paper, section 3), or another output.

The log-odds of a pair are logit(IsNext) - logit(NotNext) in float32. They rank pairs exactly as the paper's IsNext
probability does, but they never saturate into ties.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np

from nsp_bert import STARTED
from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.errors import UserError
from nsp_bert.scoring.backends import Part, WindowScorer, load_backend
from nsp_bert.scoring.outputs import Output
from nsp_bert.scoring.score_files import Journal
from nsp_bert.scoring.windows import make_windows
from nsp_bert.terminal import progress_bar
from nsp_bert.tokenization import EncodedPair

WINDOW_PAIRS = 8192  # sorted by length together; bounds the memory that encoded pairs take
WAITING = "waiting for pairs"
Item = TypeVar("Item")
Progress = bool | Callable[[int], object]


class Scores(NamedTuple):
    """Scores float32 (n * width,) in the order of the pairs, NaN where an interrupt came first; `complete` without it.

    `seconds` is what this call took for so many `pairs`, without those whose scores were there before it.
    """

    values: np.ndarray
    complete: bool
    seconds: float
    pairs: int


class Scorer:
    """One checkpoint with one output, ready to score. `seconds` sums up what each step took."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        precision: str = "float32",
        batch_tokens: int | None = None,
        backend: str = "tensorflow",
        load: Callable[[str, Checkpoint, str, Output], WindowScorer] = load_backend,
        output: Output = "next-sentence",
    ):
        """Load the weights. `batch_tokens` bounds rows x padded length of a batch and does not change the scores.

        Raises UserError when weights and configuration disagree, or the backend cannot be had.
        """
        self.seconds = {"start-up": seconds_to_start()}
        self._load = lambda checkpoint: load(backend, checkpoint, precision, output)
        with self._timed("loading"):
            self._backend = self._load(checkpoint)
        self._batch_tokens = batch_tokens or self._backend.batch_tokens

    def reload(self, checkpoint: Checkpoint) -> None:
        """Score by another checkpoint from now on, as a new scorer of it would; not for while scores are being made.

        In float32 TensorFlow takes weights of the same shapes in the place of its own; else all is built anew. Raises
        UserError as a new scorer does; where all is built anew, this one is of no use any more then.
        """
        with self._timed("loading"):
            if not self._backend.reload(checkpoint):
                del self._backend  # its memory, or the cores of its workers, are needed
                self._backend = self._load(checkpoint)

    @property
    def timing(self) -> str:
        """What each step took, as a line."""
        first = sum(self.seconds.get(step, 0) for step in ("start-up", "loading", "first batch"))
        total = sum(self.seconds.values())
        shares = ", ".join(f"{name} {took:.1f} s ({100 * took / total:.0f} %)" for name, took in self.seconds.items())
        return f"first scores after {first:.1f} s; {shares}"

    def score(
        self,
        pairs: Iterable[EncodedPair],
        total: int,
        journal: Journal | None = None,
        *,
        progress: Progress = True,
        title: str = "scoring",
        width: int = 1,
    ) -> Scores:
        """Return the scores of `total` pairs, `width` each; Ctrl-C ends early and keeps what is there.

        `journal` takes them on disk as they come; what it holds already is not scored again. `progress` shows a bar,
        or hears how many pairs more are done. Raises UserError for scores that are no numbers, or where the journal
        cannot be written.
        """
        values = journal.values if journal else np.full(total * width, np.nan, np.float32)
        waiting = np.isnan(values.reshape(-1, width)).any(axis=1)
        there = done = total - int(waiting.sum())
        complete, started = True, time.monotonic()
        with progress_bar(total, title, " pairs", show=progress is True) as bar:
            advance = progress if callable(progress) else bar.update
            advance(there)
            try:
                for places, scores in self._parts(pairs, waiting):
                    more = int(waiting[places].sum())
                    waiting[places] = False
                    done += more
                    advance(more)
                    flat = (places[:, None] * width + np.arange(width)).ravel()
                    values[flat] = scores.ravel()
                    if journal:
                        journal.add(flat, scores.ravel())
            except KeyboardInterrupt:
                complete = False
        return Scores(values, complete, time.monotonic() - started, done - there)

    def _parts(self, pairs: Iterable[EncodedPair], waiting: np.ndarray) -> Iterator[Part]:
        """Yield the scores of the pairs that are waiting, bool (n,), for theirs."""
        windows = make_windows(pairs, WINDOW_PAIRS, waiting.copy())
        parts = self._backend.parts(windows, self._batch_tokens, self._ahead)
        while True:
            with self._timed("scoring" if "first batch" in self.seconds else "first batch"):
                part = next(parts, None)
            if part is None:
                return
            if not np.isfinite(part.scores).all():
                raise UserError(
                    "the model's scores are not finite numbers: its weights are broken, or too large for float16;"
                    " try --precision float32"
                )
            yield part

    def _ahead(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items, read ahead, and count the time that scoring waits for them."""
        coming = read_ahead(items)
        while True:
            with self._timed(WAITING):
                item = next(coming, None)
            if item is None:
                return
            yield item

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        """Add the time to a step, but for what it spends waiting for pairs."""
        started, waited = time.monotonic(), self.seconds.get(WAITING, 0)
        try:
            yield
        finally:
            own = time.monotonic() - started - (self.seconds.get(WAITING, 0) - waited)
            self.seconds[step] = self.seconds.get(step, 0) + own


@cache
def seconds_to_start() -> float:
    """Return what the process took until it loaded its first scorer; a second one did not start later for that."""
    return time.monotonic() - STARTED


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, the next one being made in a thread meanwhile."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, items, None)
            yield item
