"""Runs of one method on several training sets -> their mean, as FewCLUE reports it, and its file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev

from nsp_bert.files import write_text
from nsp_bert.results.summary import Record, Setting, Share, Summary, file_stem
from nsp_bert.rows import FEW_ALL


class FewShot(Record):
    """The accuracies of a method by training set, and the mean of those of five; the whole one is not in it.

    `deviation` is the standard deviation of the mean's runs, which divides by their number less one.
    """

    dataset: str
    title: str
    split: str
    model: str
    method: str
    settings: dict[str, Setting]
    n: int
    accuracies: dict[str, Share]
    mean: Share
    deviation: Share
    versions: dict[str, str]

    @property
    def line(self) -> str:
        """What a terminal shows of it."""
        parts = ", ".join(f"{train} {100 * value:.2f}" for train, value in self.accuracies.items())
        spread = f"standard deviation {100 * self.deviation:.2f} (n - 1)"
        return f"{self.title}: mean {100 * self.mean:.2f}, {spread}, of train {parts}"


def means(summaries: Iterable[Summary]) -> list[FewShot]:
    """Return a mean for each dataset whose training sets have two runs at least, all with labels and complete."""
    runs: dict[tuple[str, ...], list[Summary]] = {}
    for one in summaries:
        if one.train not in (None, FEW_ALL) and one.metrics and one.complete:
            runs.setdefault((one.dataset, one.split, one.model, one.method), []).append(one)
    return [_mean(same) for same in runs.values() if len(same) > 1]


def _mean(runs: list[Summary]) -> FewShot:
    first = runs[0]
    accuracies = {str(run.train): run.metrics.accuracy for run in runs if run.metrics}
    return FewShot(
        dataset=first.dataset,
        title=first.title,
        split=first.split,
        model=first.model,
        method=first.method,
        settings=first.settings,
        n=first.n,
        accuracies=accuracies,
        mean=fmean(accuracies.values()),
        deviation=stdev(accuracies.values()),
        versions=first.versions,
    )


def write_means(summaries: Iterable[Summary], folder: Path) -> None:
    """Write `<dataset>.<split>.<method>.few_shot.json` for each mean."""
    for mean in means(summaries):
        stem = file_stem(mean.dataset, mean.split, mean.method, None)
        write_text(mean.model_dump_json(indent=2) + "\n", folder / f"{stem}.few_shot.json")
