"""EFL (Wang and others 2021, arXiv:2104.14690): does a text entail what is said of it?

Each label, or each candidate for a blank, has a description; a new layer on the pooled [CLS] has one logit for the text
with a description, and the best one answers. A sentence pair, and a mention, are what is told already: there the layer
has a class each label, as in plain fine-tuning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nsp_bert.cards import CardT
from nsp_bert.method_prompts import PatternPrompt
from nsp_bert.methods.classifier import (
    ClassifierTask,
    ClassifierTeacher,
    make_classifier_task,
    places_of,
    teach_classes,
)
from nsp_bert.methods.few_shot import common_size
from nsp_bert.methods.language import LanguageContent
from nsp_bert.options import Recipe
from nsp_bert.rows import Example, Rows
from nsp_bert.session import Session

ALL = "all"


@dataclass(frozen=True)
class Entailment:
    """EFL as a few-shot method."""

    def task(
        self,
        session: Session[CardT, PatternPrompt],
        rows: Rows[LanguageContent],
        _training: Sequence[Example[Any]] = (),
    ) -> ClassifierTask[CardT]:
        """Return the task of rows that are asked for."""
        words = session.card.word_set(session.prompt.words) if session.prompt.words else {}
        return make_classifier_task(session, rows, tuple(words.values()))

    def teacher(
        self, session: Session[CardT, PatternPrompt], recipe: Recipe, training: list[Example[Any]]
    ) -> ClassifierTeacher:
        """Return training rows with their own description, and with others by the recipe's ratio.

        Raises UserError where rows have not as many candidates.
        """
        task = self.task(session, Rows(training, "training"))
        if not session.prompt.words:
            return teach_classes(task, session.title, recipe)
        count, ratio = common_size(task, session.title), recipe.ratio if task.labels else ALL
        lessons, answers = [], []
        for row, place, answer in described(places_of(task), count, str(ratio), recipe.training_seed):
            content = training[row].content
            lessons.append([task.sequence(content, task.fillings(content)[place])])
            answers.append(answer)
        return ClassifierTeacher(recipe, lessons, answers, classes=1)


def described(own: Sequence[int], count: int, ratio: str, seed: int) -> Iterator[tuple[int, int, int]]:
    """Yield (row, place among `count` descriptions, 1 where it is the row's own and else 0).

    With each description go its own rows, and of the others `ratio` times as many as the most frequent one has, drawn
    by the seed; with the ratio all, every other.
    """
    places, rng = np.array(own), np.random.default_rng(seed)
    most = max(Counter(own).values())
    for place in range(count):
        others = rng.permutation(np.flatnonzero(places != place))
        chosen = others if ratio == ALL else others[: int(ratio) * most]
        yield from ((row, place, 1) for row in np.flatnonzero(places == place).tolist())
        yield from ((row, place, 0) for row in chosen.tolist())
