"""Runs of one method on several training sets -> their mean, as FewCLUE reports it, and its file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev

from nsp_bert.files import write_text
from nsp_bert.results.runs import read_summary
from nsp_bert.results.summary import FEW_SHOT, Record, Setting, Share, Summary, file_stem
from nsp_bert.rows import FEW_ALL, FIVE


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


def write_mean(written: Summary, folder: Path) -> None:
    """Write `<dataset>.<split>.<method>.few_shot.json`, the mean of the runs in a folder that were made like this one.

    Where these are no two the file goes: the runs of another mean are not there any more.
    """
    own = (written.dataset, written.split, written.method)
    there = (read_summary(folder / f"{file_stem(*own, train)}.json") for train in FIVE)
    path = folder / f"{file_stem(*own, None)}.{FEW_SHOT}.json"
    found = means(one for one in there if one and made_like(one, written))
    for mean in found:
        write_text(mean.model_dump_json(indent=2) + "\n", path)
    if not found:
        path.unlink(missing_ok=True)


def made_like(one: Summary, other: Summary) -> bool:
    """Return whether two runs differ in their training set alone."""
    if not (one.fingerprint and other.fingerprint):
        return False
    makings = [
        (run.checkpoint, run.code, {key: value for key, value in run.settings.items() if key != "train"})
        for run in (one.fingerprint, other.fingerprint)
    ]
    return makings[0] == makings[1]
