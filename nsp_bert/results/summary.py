"""What stands in a run's summary file, `<dataset>.<split>.json`: written by runs, read by resume, tables and report."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nsp_bert.cards import validation_reasons
from nsp_bert.errors import UserError
from nsp_bert.rows import ALL_ROWS, train_split

ROWS, TEXTS = ".jsonl", ".texts.jsonl"  # endings of the files beside a summary
NSP_BERT = "nsp_bert"  # the method without a name in file names
FEW_SHOT = "few_shot"
NSP_FEW_SHOT = f"{NSP_BERT}_{FEW_SHOT}"
SHARED_WORDS = "accuracy_shared_words"  # labels of one word count as one
CONTENT_FREE, ENSEMBLE = "content-free", "ensemble"
CALIBRATIONS = (CONTENT_FREE, ENSEMBLE)
MACRO_F1, MAJORITY, CHANCE = "macro-F1", "majority", "chance"  # columns of the tables
EXTRA_ACCURACY = "accuracy_"
THRESHOLDS = "accuracy_thresholds"  # the headline's own name where a task has several mappings

Share = Annotated[float, Field(ge=0, le=1)]
Setting = str | int | None


class Record(BaseModel):
    """A part of a summary: frozen, of the right types, every number finite."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Confusion(Record):
    """Counts with a row per true label and a column per prediction, in the order of `labels`."""

    labels: list[str]
    counts: list[list[int]]


class Metrics(Record):
    """Every metric of a run with labels; accuracies beside the headline are extra keys, `accuracy_<name>`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Share]

    accuracy: Share
    accuracy_interval: tuple[Share, Share]
    interval_method: str
    macro_f1: Share | None = None
    majority: Share | None = None
    chance: Share | None = None
    confusion: Confusion | None = None

    @property
    def columns(self) -> dict[str, float]:
        """Column name -> share of what a table shows beside the accuracy."""
        others = {
            key.removeprefix(EXTRA_ACCURACY).replace("_", " "): value
            for key, value in self.__pydantic_extra__.items()
            if key != THRESHOLDS
        }
        figures = {MACRO_F1: self.macro_f1, MAJORITY: self.majority, CHANCE: self.chance}
        return others | {name: value for name, value in figures.items() if value is not None}


class PublishedAccuracy(Record):
    """A published accuracy, its source, and whether it lies inside the run's interval."""

    accuracy: Share
    source: str
    inside_interval: bool | None


class Fingerprint(Record):
    """What a result depends on: SHA-256 of data, checkpoint, code and card; the settings as text."""

    data: dict[str, str]
    checkpoint: str
    code: str
    settings: dict[str, str]


class PrecisionCheck(Record):
    """What `--precision auto` did beside scoring all `pairs` in the arithmetic `fast`.

    `pairs_twice` were scored in float32 too, for a prediction that could change, or for the deviations: two scores
    apart by more than `margin`, twice the largest, were taken as certain. Of `rows_checked` without a score in float32
    `flips` were predicted otherwise with one.
    """

    fast: str
    pairs: int
    pairs_twice: int
    largest_deviation: float
    margin: float
    rows_checked: int
    flips: int

    def __str__(self) -> str:
        """Return it in a line."""
        return (
            f"{self.pairs_twice:,} of {self.pairs:,} pairs scored again in float32, from which {self.fast} deviates by"
            f" up to {self.largest_deviation:.3f}; {self.rows_checked:,} other rows looked at, {self.flips:,} changed"
        )


class CurvePoint(Record):
    """Accuracy of ranking inside batches of a size, in file order and as a mean over shuffled orders."""

    batch: int
    file_order: Share
    shuffled: Share
    shuffled_deviation: Annotated[float, Field(ge=0)]


class Calibrated(Record):
    """What a method of `--calibration` would have reached; the numbers are there where the rows have labels."""

    texts: list[str] | None = None
    prior: dict[str, float] | None = None
    templates: list[str] | None = None
    thresholds: list[float] | None = None
    accuracy: Share | None = None
    gain: float | None = None
    gained: int | None = None
    lost: int | None = None
    p: Share | None = None


class Epoch(Record):
    """The mean loss of an epoch's steps, the dev accuracy after it, and what both took, the steps alone too."""

    loss: float
    dev_accuracy: Share
    seconds: Annotated[float, Field(ge=0)]
    steps_seconds: Annotated[float, Field(ge=0)] | None = None


class Curve(Record):
    """The epochs of a training, in order."""

    epochs: list[Epoch]


class TrainingRecord(Curve):
    """How weights were trained: on so many rows, in so many steps; the best epoch counts from 1."""

    rows: int
    steps: int
    parameters: int
    best_epoch: int
    peak_memory_mib: int


class NearWord(Record):
    """A word of the vocabulary near to a soft token: the cosine of their embeddings."""

    word: str
    cosine: float


class Details(Record):
    """What only some runs have: thresholds, prompts, a batch curve, calibration, facts of a knowledge base."""

    prompts: list[str] | None = None
    thresholds: list[float] | None = None
    precision_check: PrecisionCheck | None = None
    batch_curve: list[CurvePoint] | None = None
    calibration: dict[str, Calibrated] | None = None
    training: TrainingRecord | None = None
    nearest_words: list[list[NearWord]] | None = None
    entities: int | None = None
    single_candidate_share: Share | None = None
    gold_not_under_that_name: int | None = None
    gold_not_in_knowledge_base: int | None = None


class Summary(Details):
    """One run: dataset x split x model x method (x train x seed), its settings, its numbers, what it was made from.

    `labels` are in the order of a row's scores, empty where rows differ. So many `passes` of the model made the scores;
    the memory is the largest of the process until then. `parts` is how many runs the dataset gives. `files` holds the
    SHA-256 of the files beside the summary, by their endings: the three are of one run or of none.
    """

    dataset: str
    part: str
    title: str
    task: str
    mapping: str
    split: str
    sample: bool
    complete: bool
    model: str
    method: str
    train: str | None
    seed: int | None
    settings: dict[str, Setting]
    default_prompt: bool
    labels: list[str]
    n: Annotated[int, Field(ge=0)]
    metrics: Metrics | None
    published: PublishedAccuracy | None
    notes: list[str]
    versions: dict[str, str]
    seconds: Annotated[float, Field(ge=0)]
    pairs_per_second: Annotated[float, Field(ge=0)]
    passes: Annotated[int, Field(ge=0)] | None = None
    peak_memory_mib: Annotated[int, Field(ge=0)] | None = None
    fingerprint: Fingerprint | None
    parts: Annotated[int, Field(ge=1)]
    files: dict[str, str]

    @property
    def rows(self) -> str:
        """Which rows of the file were asked for (`--limit`, `--sample`), in words; empty for all."""
        rows = str(self.settings.get("rows", ALL_ROWS))
        return "" if rows == ALL_ROWS else rows

    @property
    def choices(self) -> dict[str, Setting]:
        """The settings, with the training set of a method that has one."""
        return self.settings | ({"train": train_split(self.train)} if self.train is not None else {})

    def to_json(self) -> str:
        """Return the text of the summary file; details that the run does not have are left out."""
        entries = self.model_dump(mode="json")
        if self.metrics:
            entries["metrics"] = self.metrics.model_dump(mode="json", exclude_none=True)
        if self.calibration:
            entries["calibration"] = {
                name: one.model_dump(mode="json", exclude_none=True) for name, one in self.calibration.items()
            }
        shown = {key: value for key, value in entries.items() if value is not None or key not in Details.model_fields}
        first = [key for key in Summary.model_fields if key not in Details.model_fields]
        ordered = {key: shown[key] for key in (*first, *shown)}
        return json.dumps(ordered, ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, place: str) -> Summary:
        """Return the summary of a file's text. Raises UserError with the place and every key that is not right."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise UserError(f"{place}: {validation_reasons(error)}; run its script again or remove the file") from error


def calibration_key(name: str) -> str:
    """Return the name of a calibration method as result files spell it."""
    return name.replace("-", "_")


def file_stem(dataset: str, split: str, method: str, train: str | None) -> str:
    """Return the name of a run's files without their endings: dataset and split, then what is not plain NSP-BERT."""
    own = [] if method == NSP_BERT else [method]
    return ".".join([dataset, split, *own, *([f"train_{train}"] if train is not None else [])])
