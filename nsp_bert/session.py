"""What one run of a dataset knows, from its data to the result."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nsp_bert.cards import DATASETS, SAMPLE_DIR
from nsp_bert.checkpoint import Checkpoint
from nsp_bert.precision import choose_precision
from nsp_bert.published import Published
from nsp_bert.results import Answer, Run
from nsp_bert.score_files import ScoreFiles
from nsp_bert.scorer import EncodedPair, Scorer, Scores


@dataclass(frozen=True)
class Data:
    """Where a run's rows come from; `sample` marks the project's own miniature files."""

    folder: Path
    sample: bool


def choose_data(card: Any, data_dir: Path | None) -> Data:
    """Return the folder the user names, or the default folder, or the sample where the dataset is not in there."""
    if data_dir is not None:
        return Data(data_dir, sample=data_dir.resolve() == SAMPLE_DIR)
    folder = DATASETS / card.data_dir
    return Data(folder, sample=False) if (folder / card.path).parent.is_dir() else Data(SAMPLE_DIR, sample=True)


@dataclass(frozen=True)
class Session:
    """What a run knows: its options, with every prompt option set, its data, the model."""

    options: argparse.Namespace
    data: Data
    checkpoint: Checkpoint
    load_scorer: Callable[[str], Scorer]
    fingerprint: dict[str, Any]
    files: ScoreFiles | None = None
    precision_check: dict[str, Any] = field(default_factory=dict)

    def score(self, pairs: Iterable[EncodedPair], total: int) -> Scores:
        """Return the log-odds of `total` pairs; with an output folder they go to disk as they come."""
        values = self.files.open(total) if self.files else None
        return self.load_scorer(self.options.precision).score(pairs, total, values)

    def settled(
        self, pairs: Callable[[int], Iterable[EncodedPair]], sizes: list[int], predict: Callable[[np.ndarray, int], Any]
    ) -> Session:
        """Return the session with its precision settled, which `--precision auto` leaves open.

        `pairs(n)` yields those of the first n examples, `sizes` says how many each has, `predict(log_odds, n)` returns
        their labels.
        """
        precision, check = choose_precision(self.options.precision, self.load_scorer, pairs, sizes, predict)
        options = argparse.Namespace(**vars(self.options) | {"precision": precision})
        return replace(self, options=options, precision_check=check)

    def split(self, card: Any) -> str:
        """Return `--split`, or the dataset's own."""
        return self.options.split or card.split

    def max_length(self, card: Any) -> int:
        """Return `--max-length`, or the dataset's own."""
        return self.options.max_length or card.max_length

    def announce(self, card: Any, size: str, pairs: int, prompt: dict[str, Any]) -> None:
        """Print what runs on what."""
        sample = " (bundled sample)" if self.data.sample else ""
        own = [f"{name} {getattr(self.options, name)}" for name in self.options.axes]
        how = ", ".join([f"{self.options.prompt_position} {prompt.get('template', '')}".strip(), *own])
        print(
            f"{card.title} {self.split(card)}{sample}: {size} = {pairs} pairs, {how}, {self.checkpoint.name},"
            f" {self.options.precision}" + (" on openvino" if self.options.backend == "openvino" else "")
        )

    def as_published(self, card: Any) -> bool:
        """Return whether data, prompt position and length are those of the published runs."""
        options = self.options
        return (
            not (self.data.sample or options.limit)
            and options.prompt_position == card.position
            and self.max_length(card) == card.max_length
        )

    def result(
        self,
        card: Any,
        answers: list[Answer],
        scores: Scores,
        *,
        settings: dict[str, Any],
        published: Published | None,
        part: str = "",
        **more: Any,
    ) -> Run:
        """Return the run of these answers; `part` names one of several that a dataset gives.

        The published number stays out where the run is not comparable: other data, position or length, unfinished.
        """
        own = {name: getattr(self.options, name) for name in self.options.axes}
        shared = {
            "prompt_position": self.options.prompt_position,
            "max_length": self.max_length(card),
            "precision": self.options.precision,
            "backend": self.options.backend,
            "limit": self.options.limit,
        }
        details = {"precision_check": self.precision_check} if self.precision_check else {}
        return Run(
            dataset="_".join(filter(None, (card.name, part))),
            title=" ".join(filter(None, (card.title, part))),
            split=self.split(card),
            model=self.checkpoint.name,
            settings=settings | own | shared,
            sample=self.data.sample,
            complete=scores.complete,
            answers=answers,
            published=published if scores.complete and self.as_published(card) else None,
            pairs=scores.pairs,
            seconds=scores.seconds,
            fingerprint=self.fingerprint,
            details=details | more.pop("details", {}),
            **{"labels": tuple(getattr(card, "labels", ()))} | more,
        )
