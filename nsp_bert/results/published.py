"""The published numbers, datasets/published_results.yaml: flat records, found by what they say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator
from typing_extensions import Self

from nsp_bert.cards import validation_reasons
from nsp_bert.errors import UserError, first_line
from nsp_bert.files import DATASETS, load_yaml
from nsp_bert.prompts import Positions, Stages
from nsp_bert.results.summary import NSP_BERT, Record

PUBLISHED = DATASETS / "published_results.yaml"
PAPER = "A"  # its key among the sources
SCORE = "score"  # in a dataset's place: the mean of the nine

Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=1)]
Value = str | int | float | None


@dataclass(frozen=True)
class Published:
    """A published accuracy in percent, with its source."""

    accuracy: float
    source: str


class PublishedRecord(Record):
    """One published number and what tells it from the others; the head of the file explains the keys."""

    method: str
    dataset: str
    value: Percent
    source: str
    model: str | None = None
    split: str | None = None
    template: Count | None = None
    part: Literal["linking", "typing"] | None = None
    stages: Stages | None = None
    positions: Positions | None = None
    mapping: Literal["thresholds", "ranked", "batch"] | None = None
    batch: Count | None = None
    prompt: Literal[1, 2] | None = None
    whitening: bool | None = None
    negatives: Count | None = None
    train: Literal["none", "single_run", "split_0", "five_splits", "six_runs", "few_all"] | None = None
    std: Percent | None = None
    ddof: Literal[0, 1] | None = None
    n: Count | None = None
    correct: Annotated[int, Field(ge=0)] | None = None
    table: Literal[1] | None = None
    note: str | None = None


class PublishedFile(Record):
    """The whole file: citations by the keys of sources, names by those of methods, notes, records in their order."""

    sources: dict[str, str]
    method_names: dict[str, str]
    notes: list[str]
    records: list[PublishedRecord]

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        for record in self.records:
            for key, known in (("source", self.sources), ("method", self.method_names)):
                if (value := getattr(record, key)) not in known:
                    raise ValueError(
                        f"{key}: {value!r} is none of {', '.join(known)}, in {record.model_dump(exclude_none=True)}"
                    )
        return self


def find(**wanted: Value) -> list[PublishedRecord]:
    """Return the records that have all of these values, in the file's order; None, what is not known, is in no record.

    Raises TypeError for a key that records do not have.
    """
    if strange := wanted.keys() - PublishedRecord.model_fields.keys():
        raise TypeError(f"records of published numbers have no {', '.join(sorted(strange))}")
    if None in wanted.values():
        return []
    return [one for one in load_published().records if all(getattr(one, key) == wanted[key] for key in wanted)]


def paper_number(dataset: str, model: str, split: str, *, method: str = NSP_BERT, **setting: Value) -> Published | None:
    """Return the paper's number of a method with this very model, split and setting, None where it printed none.

    Nor is one returned of another method than NSP-BERT that a note says is of other rows, words or counting.
    """
    found = find(method=method, source=PAPER, dataset=dataset, model=model, split=split, **setting)
    if not found:
        return None
    (record,) = found  # two would be a setting that does not say enough
    if record.note and method != NSP_BERT:
        return None
    return Published(record.value, load_published().sources[record.source])


@cache
def load_published() -> PublishedFile:
    """Return the file, validated. Raises UserError naming the file, the record and the key that is not right."""
    try:
        tables = load_yaml(PUBLISHED)
        return PublishedFile.model_validate(tables)
    except ValidationError as error:
        raise UserError(f"{PUBLISHED}: {validation_reasons(error)}{_wrong_record(error, tables)}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{PUBLISHED}: cannot be read ({first_line(error)})") from error


def _wrong_record(error: ValidationError, tables: dict[str, Any]) -> str:
    """Return the first record that is not right, since a number alone is hard to find in a long file."""
    table, *place = error.errors()[0]["loc"] or ("",)
    return f", in {tables[table][place[0]]}" if table == "records" and place else ""
