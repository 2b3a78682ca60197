"""LM-BFF with demonstrations: behind a row in its pattern come training rows with their words, one of each label.

They are drawn from the half of a label's training rows that are most similar to the row (Gao et al. 2021, section 6):
anew in each step of training, and several sets of them for a row that is asked for, whose scores are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from nsp_bert.answer_mapping import Predictions, best_undecided
from nsp_bert.cards import CardT
from nsp_bert.errors import UnsuitableError
from nsp_bert.methods.label_words import LabelFewShot, LabelTeacher, Lesson, lessons_of, training_task
from nsp_bert.methods.language import LanguageContent, MaskedTask, make_task
from nsp_bert.options import Recipe
from nsp_bert.rows import Content, Example, Rows
from nsp_bert.scoring.exact import EXACT, Engine, PairTable
from nsp_bert.session import Scorers, Session
from nsp_bert.tokenization import EncodedPair

SETS = 16  # of demonstrations for a row that is asked for, as in the LM-BFF paper's code
LEAST = 16  # tokens of a row or a demonstration: fewer say nothing of a text
MaskedTaskT = TypeVar("MaskedTaskT", bound=MaskedTask)
Near = Sequence[np.ndarray]
"""Of a row, for each label that has training rows, the places int64 (n,) of those that may demonstrate it."""


@dataclass(frozen=True)
class Demonstrated(Content):
    """A row with sets of demonstrations, each the token ids of its training rows, one behind the other."""

    row: LanguageContent
    sets: Sequence[list[int]]

    @property
    def shown(self) -> dict[str, object]:
        """The row alone."""
        return self.row.shown

    def with_text(self, text: str) -> Demonstrated:
        """Return another text with the same demonstrations."""
        return replace(self, row=self.row.with_text(text))


@dataclass(frozen=True)
class DemonstratedTask(MaskedTask[CardT]):
    """Rows that are `Demonstrated`, all with as many sets: a pass for each set, whose scores are averaged."""

    @property
    def sets(self) -> int:
        """Number of sets of a row."""
        content: Any = self.contents[0]
        return len(content.sets)

    @property
    def sizes(self) -> list[int]:
        """All candidates of a row, in each of its sets."""
        return [self.sets * self.width] * len(self.contents)

    @property
    def size(self) -> str:
        """How many rows are scored with what, in words."""
        return f"{super().size} x {self.sets} sets of demonstrations"

    def pairs(self, contents: Iterable[Any]) -> Iterator[EncodedPair]:
        """Yield a sequence for each set of each `Demonstrated` content."""
        for content in contents:
            for pair in super().pairs([content.row]):
                yield from (with_demonstrations(pair, tokens) for tokens in content.sets)

    def scores_of(self, scores: list[np.ndarray]) -> list[np.ndarray]:
        """Return the means over the sets."""
        return [row.reshape(-1, self.width).mean(axis=0) for row in scores]

    def predict(self, scores: list[np.ndarray]) -> Predictions:
        """Return the best label of each example by the means; None where a score is not there (NaN)."""
        return super().predict(self.scores_of(scores))

    def undecided(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return which scores are of candidates that may be the best of their example, where several may."""
        rows = len(self.contents)
        lowest, highest = (bound.reshape(rows, -1, self.width).mean(axis=1).ravel() for bound in (low, high))
        undecided = best_undecided(lowest, highest, [self.width] * rows).reshape(rows, 1, self.width)
        return np.repeat(undecided, self.sets, axis=1).ravel()


def with_demonstrations(pair: EncodedPair, tokens: list[int]) -> EncodedPair:
    """Return a row followed by demonstrations, which are the second segment."""
    return pair._replace(token_ids=pair.token_ids + tokens)


class Demonstrations:
    """The training rows in their pattern with their words, and which of them are similar to a row.

    That is told by the mean vectors of rows in their pattern, by the checkpoint before it is trained.
    """

    def __init__(self, session: Session[Any, Any], training: list[Example[Any]]):
        """Take the session of the checkpoint.

        Raises UserError where there are no labels, or too many for a sequence with a row of each, and as `make_task`.
        """
        self._session = session
        self.task = with_room(training_task(session, training), session)
        if not self.task.labels:
            raise UnsuitableError(f"--demonstrations: {session.title}: no labels, rows have their own candidates")
        self._labels = [self.task.labels.index(str(example.label)) for example in training]
        self._tokens = [
            self.task.patterns.plain(example.content.slots, self.task.words[label]).token_ids[1:]  # without [CLS]
            for example, label in zip(training, self._labels, strict=True)
        ]
        self._vectors = self._vectors_of(training)

    def near(self, examples: Sequence[Example[Any]]) -> list[Near]:
        """Return which training rows may demonstrate the labels to each of some examples."""
        return [nearest_half(row, self._labels) for row in cosines(self._vectors_of(examples), self._vectors)]

    def near_each_other(self) -> list[Near]:
        """Return the same for each of the training rows: others alone."""
        similar = cosines(self._vectors, self._vectors)
        np.fill_diagonal(similar, np.nan)
        return [nearest_half(row, self._labels) for row in similar]

    def draw(self, near: Near, rng: np.random.Generator) -> list[int]:
        """Return the token ids of a demonstration of each label, one behind the other."""
        return [token for places in near for token in self._tokens[rng.choice(places)]]

    def _vectors_of(self, examples: Sequence[Example[Any]]) -> np.ndarray:
        """Return vectors float32 (n, width), by a model that is not kept. An interrupt ends it."""
        session = self._session
        width = session.checkpoint.config["hidden_size"]
        engine = Engine(Scorers(session.checkpoint, session.options, "mean").__getitem__, EXACT, "mean")

        def encode(contents: Iterable[LanguageContent]) -> Iterator[EncodedPair]:
            return (pair._replace(reads=None) for pair in self.task.pairs(contents))

        contents = [example.content for example in examples]
        found = engine.score(PairTable(encode, contents, [width] * len(contents), width))
        if not found.complete:
            raise KeyboardInterrupt(f"{session.title} is not finished; similar rows were still searched")
        return found.values.reshape(-1, width)


def with_room(task: MaskedTaskT, session: Session[Any, Any]) -> MaskedTaskT:
    """Return a task whose rows, and as many demonstrations as there are labels, fit into one sequence.

    Each gets an equal share where all of them would be too long. Raises UserError where that is next to nothing.
    """
    share = min(session.max_length, session.checkpoint.max_position // (1 + len(task.labels)))
    if share < LEAST:
        raise UnsuitableError(
            f"--demonstrations: {session.title}: a row and one of each of {len(task.labels)} labels have"
            f" {share} tokens each in {session.checkpoint.max_position}; leave it out"
        )
    encoder = replace(task.patterns.encoder, max_length=share)
    return replace(task, patterns=replace(task.patterns, encoder=encoder))


def cosines(rows: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return the cosines float32 (n, m) of rows (n, width) with references (m, width)."""
    from sklearn.metrics.pairwise import cosine_similarity

    return np.asarray(cosine_similarity(rows, references))


def nearest_half(similar: np.ndarray, labels: Sequence[int]) -> Near:
    """Return for each label the half of its training rows that is most similar to a row, the larger where they are odd.

    `similar` (m,) are the cosines, NaN of a training row that is left out; `labels` (m,) are the places of the rows'
    labels in the card's order. A label without a row is left out.
    """
    by_label: dict[int, list[int]] = {}
    for place in np.argsort(-similar, kind="stable").tolist():
        if not np.isnan(similar[place]):
            by_label.setdefault(labels[place], []).append(place)
    return [np.array(places[: (len(places) + 1) // 2]) for _, places in sorted(by_label.items())]


class DemonstratedTeacher(LabelTeacher):
    """Rows whose candidates compete, each followed by demonstrations that are drawn anew in every step."""

    def __init__(self, recipe: Recipe, lessons: list[Lesson], demonstrations: Demonstrations):
        """Take the lessons, which are the training rows that demonstrate."""
        super().__init__(recipe, lessons)
        self._demonstrations, self._near = demonstrations, demonstrations.near_each_other()

    def _lesson(self, row: int, rng: np.random.Generator) -> Lesson:
        """Return a row's lesson with demonstrations."""
        lesson = self._lessons[row]
        return lesson._replace(pair=with_demonstrations(lesson.pair, self._demonstrations.draw(self._near[row], rng)))


@dataclass(frozen=True)
class DemonstratedFewShot(LabelFewShot):
    """LM-BFF with so many sets of demonstrations as a few-shot method, of one training set."""

    demonstrations: Demonstrations
    sets: int
    seed: int

    def task(self, session: Session[Any, Any], rows: Rows[Any], _training: list[Example[Any]]) -> MaskedTask[Any]:
        """Return the task of rows that are asked for; what a row draws follows from seed and index."""
        examples = []
        for example, near in zip(rows.examples, self.demonstrations.near(rows.examples), strict=True):
            rng = np.random.default_rng([self.seed, example.index])
            sets = [self.demonstrations.draw(near, rng) for _ in range(self.sets)]
            examples.append(replace(example, content=Demonstrated(example.content, sets)))
        return with_room(make_task(DemonstratedTask[Any], session, replace(rows, examples=examples)), session)

    def teacher(self, _session: Session[Any, Any], recipe: Recipe, _training: list[Example[Any]]) -> LabelTeacher:
        """Return the training rows in their pattern."""
        return DemonstratedTeacher(recipe, lessons_of(self.demonstrations.task), self.demonstrations)


def lm_bff(session: Session[Any, Any], training: list[Example[Any]]) -> LabelFewShot:
    """Return LM-BFF as a few-shot method, with demonstrations where a session's recipe has them."""
    recipe = session.recipe
    if not (recipe and recipe.demonstrations):
        return LabelFewShot()
    return DemonstratedFewShot(Demonstrations(session, training), recipe.demonstrations, recipe.training_seed)
