"""What a method's runs on a dataset cost: passes of the model, seconds, training, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from nsp_bert.results.summary import Summary


@dataclass(frozen=True)
class Cost:
    """What one run costs, on average over several; None is not known.

    Passes are forward passes of one sequence, those of training and of choosing an epoch not among them, which
    `training_seconds` has. Seconds a row are those of scoring. Memory is the largest of the processes.
    """

    passes_per_row: float | None
    seconds_per_row: float | None
    training_seconds: float | None
    peak_memory_mib: int | None

    @property
    def milliseconds_per_row(self) -> float | None:
        """Milliseconds of scoring a row."""
        return None if self.seconds_per_row is None else 1000 * self.seconds_per_row


def cost(runs: Sequence[Summary]) -> Cost:
    """Return what runs of a method on one dataset cost."""
    memory = [*(run.peak_memory_mib for run in runs), *(run.training.peak_memory_mib for run in runs if run.training)]
    return Cost(
        _mean([passes(run) / run.n for run in runs if run.n]),
        _mean([passes(run) / run.pairs_per_second / run.n for run in runs if run.n and run.pairs_per_second]),
        _mean([sum(epoch.seconds for epoch in run.training.epochs) for run in runs if run.training]),
        max(filter(None, memory), default=None),
    )


def passes(run: Summary) -> int:
    """Return how many passes made a run's scores; of a result that does not say it, those that its seconds are of."""
    return round(run.seconds * run.pairs_per_second) if run.passes is None else run.passes


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
