"""The paper's numbers, datasets/published_results.yaml: found only for the same model, split and setting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from nsp_bert.cards import Positions, Stages
from nsp_bert.files import DATASETS

PUBLISHED = DATASETS / "published_results.yaml"
PUBLISHED_SPLITS = {"dev_few_all": 0, "test_public": 1}


@dataclass(frozen=True)
class Published:
    """A published accuracy in percent, with its source."""

    accuracy: float
    source: str


def published_by_template(dataset: str, model: str, template: int | None, split: str) -> Published | None:
    """Return the paper's accuracy of a template (numbered from 1) by this very model on this very split, if printed."""
    templates = published_table("per_model_A").get(dataset, {}).get(model)
    if templates is None or template is None or split not in PUBLISHED_SPLITS:
        return None
    return _from_paper(templates[template - 1][PUBLISHED_SPLITS[split]])


def published_by_thresholds(dataset: str, model: str, split: str) -> Published | None:
    """Return the paper's samples-contrast accuracy; it was printed for uer-mixed-bert-base alone."""
    table = published_table("samples_contrast_A")
    columns = {"dev_few_all": "dev", "test_public": "thresholds"}
    if model != "uer-mixed-bert-base" or dataset not in table or split not in columns:
        return None
    return _from_paper(table[dataset][table["columns"].index(columns[split])])


def published_by_positions(positions: Positions | None, model: str, split: str) -> Published | None:
    """Return the paper's cloze accuracy with soft or hard positions by this very model on this very split."""
    accuracies = published_table("chid_A")[f"{positions}_position"].get(model)
    return _from_paper(accuracies[PUBLISHED_SPLITS[split]]) if accuracies and split in PUBLISHED_SPLITS else None


def published_by_stages(part: str, stages: Stages | None, model: str, split: str) -> Published | None:
    """Return the paper's accuracy of entity `linking` or `typing` by this very model; it was printed for dev alone."""
    accuracies = published_table("duel_A")[part].get(model)
    return _from_paper(accuracies[stages - 1]) if isinstance(accuracies, list) and stages and split == "dev" else None


def published_table(name: str) -> dict[str, Any]:
    """Return one of the file's tables."""
    return _tables()[name]


@lru_cache(maxsize=1)
def _tables() -> dict[str, Any]:
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))


def _from_paper(accuracy: float) -> Published:
    return Published(accuracy, published_table("sources")["A"])
