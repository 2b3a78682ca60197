"""The Python API: classify texts by labels, and score pairs, with the NSP head of a checkpoint.

    from nsp_bert import PairScorer, ZeroShotClassifier
    classify = ZeroShotClassifier("nsp_bert_mini")
    classify(["主场三比一取胜"], labels=["体育", "财经"], template="这是一则{}新闻")

Texts may come one by one, as a list or from a generator; a generator is answered as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, product
from typing import Any, overload

import numpy as np

from nsp_bert.answer_mapping import best_undecided
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.model_cards import DEFAULT_MODEL
from nsp_bert.encoding import LabelPairs, encode_label_pairs
from nsp_bert.errors import UserError
from nsp_bert.options import Options
from nsp_bert.prompts import Position, parse_template
from nsp_bert.scoring.exact import Engine, PairTable, Question, settle_and_check
from nsp_bert.scoring.precision import AUTO
from nsp_bert.scoring.scorer import Progress, Scorer
from nsp_bert.session import Scorers
from nsp_bert.tokenization import PairEncoder, make_pair_encoder

HEADS = ("encoder", "pooler", "NSP")
CHUNK = 4096  # pairs that are scored together: batches are cut from them by length
REMEMBERED = 65_536  # texts whose scores are kept, in case they come again
MAX_LENGTH = 128

Labels = Sequence[str] | Mapping[str, str]


@dataclass(frozen=True)
class Classification:
    """A text with its labels, best first, their scores between 0 and 1, and their log-odds.

    Scores are shares of all labels, or with `multi_label` a probability each. They are not calibrated: a score of 0.9
    is not right nine times in ten.
    """

    text: str
    labels: list[str]
    scores: list[float]
    log_odds: list[float]

    @property
    def label(self) -> str | None:
        """The best label, None where none reached the threshold."""
        return self.labels[0] if self.labels else None


class PairScorer:
    """Scores of plain (first, second) pairs: the log-odds float32 that the second is the next sentence of the first."""

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        precision: str = "float32",
        backend: str = "tensorflow",
        batch_tokens: int | None = None,
        max_length: int = MAX_LENGTH,
    ):
        """Load a checkpoint by its name or folder. Raises UserError where it, or its NSP head, is not there."""
        if precision == AUTO:
            raise UserError(f"precision {AUTO!r} is about what scores decide, and those of plain pairs decide nothing")
        checkpoint = open_checkpoint(model, HEADS)
        self.model = checkpoint.name
        self._encoder = make_pair_encoder(checkpoint, max_length)
        self._scorer = Scorer(checkpoint, precision, batch_tokens, backend)

    def __call__(self, pairs: Iterable[tuple[str, str]], *, progress: bool = False) -> np.ndarray:
        """Return the log-odds float32 (n,) of the pairs; of a pair that is too long the longer text loses its end."""
        taken, encoder = list(pairs), self._encoder
        part = encoder.part
        encoded = (encoder.encode([part(first, "right")], [part(second, "right")]) for first, second in taken)
        scores = self._scorer.score(encoded, len(taken), progress=progress)
        if not scores.complete:
            raise KeyboardInterrupt
        return scores.values


class ZeroShotClassifier:
    """Classifies texts by label prompts, without training (candidates-contrast; paper, section 3.3.1)."""

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        precision: str = "float32",
        backend: str = "tensorflow",
        batch_tokens: int | None = None,
        max_length: int = MAX_LENGTH,
    ):
        """Load a checkpoint by its name or folder. Raises UserError where it, or its NSP head, is not there.

        With precision "auto" the best label is float32's; other scores may be off by what the fast arithmetic is.
        """
        checkpoint = open_checkpoint(model, HEADS)
        options = Options(model=model, precision=precision, backend=backend, batch_tokens=batch_tokens)
        scorers = Scorers(checkpoint, options)
        self._take(checkpoint.name, make_pair_encoder(checkpoint, max_length), Engine(scorers.__getitem__, precision))

    @classmethod
    def of(cls, model: str, encoder: PairEncoder, engine: Engine) -> ZeroShotClassifier:
        """Return the classifier by a checkpoint that is loaded: its name, its encoder, and what scores."""
        made = cls.__new__(cls)
        made._take(model, encoder, engine)
        return made

    def _take(self, model: str, encoder: PairEncoder, engine: Engine) -> None:
        self.model, self._encoder, self._engine = model, encoder, engine
        engine.load()

    @overload
    def __call__(self, texts: str, labels: Labels, **options: Any) -> Classification: ...

    @overload
    def __call__(self, texts: Sequence[str], labels: Labels, **options: Any) -> list[Classification]: ...

    @overload
    def __call__(self, texts: Iterable[str], labels: Labels, **options: Any) -> Iterator[Classification]: ...

    def __call__(  # type: ignore[misc]
        self,
        texts: str | Sequence[str] | Iterable[str],
        labels: Labels,
        *,
        template: str | Sequence[str] = "{}",
        position: Position = "prefix",
        multi_label: bool = False,
        threshold: float | None = None,
        progress: bool = False,
    ) -> Classification | list[Classification] | Iterator[Classification]:
        """Return a result for a text, a list for a list, an iterator for any other iterable.

        `labels` are the label words, or a mapping from a label to its word. Of several templates the log-odds are
        averaged. `multi_label` scores every label by itself. Labels whose score is below `threshold` are left out, so
        that none may be left: choose it on texts whose labels you know, the scores are not calibrated. Raises UserError
        for fewer than two labels, labels that are alike, or a template without one {}.
        """
        prompts = Prompts.of(labels, [template] if isinstance(template, str) else template)
        given = [texts] if isinstance(texts, str) else texts
        answers = self.answers(given, prompts, position, progress=progress)
        results = (make_result(text, prompts.labels, odds, multi_label, threshold) for text, odds in answers)
        if isinstance(texts, str):
            return next(results)
        return list(results) if isinstance(texts, Sequence) else results

    def log_odds(
        self, texts: Iterable[str], labels: Labels, *, template: str = "{}", position: Position = "prefix"
    ) -> np.ndarray:
        """Return the log-odds float32 (texts, labels)."""
        prompts = Prompts.of(labels, [template])
        rows = [odds for _, odds in self.answers(texts, prompts, position)]
        return np.array(rows, np.float32).reshape(-1, len(prompts.labels))

    def answers(
        self,
        texts: Iterable[str],
        prompts: Prompts,
        position: Position,
        *,
        known: Iterable[np.ndarray] = (),
        progress: Progress = False,
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (text, log-odds float32 (labels,)), `prompts.at_once` of them at a time; one that is there is taken.

        A text that comes again is not scored again. `known` holds the log-odds of the first texts from an earlier run,
        a multiple of those scored at once, so that what is scored together does not depend on where that run ended.
        """
        remembered: dict[str, np.ndarray] = {}
        coming, there = iter(texts), iter(known)
        while chunk := list(islice(coming, prompts.at_once)):
            remembered |= dict(zip(chunk, there, strict=False))
            new = [text for text in dict.fromkeys(chunk) if text not in remembered]
            remembered |= dict(zip(new, self._mean_odds(new, prompts, position, progress), strict=True))
            if callable(progress):
                progress((len(chunk) - len(new)) * prompts.of_a_text)
            yield from ((text, remembered[text]) for text in chunk)
            if len(remembered) > REMEMBERED:
                remembered.clear()

    def _mean_odds(self, texts: list[str], prompts: Prompts, position: Position, progress: Progress) -> np.ndarray:
        """Return the log-odds float32 (texts, labels), means over the templates."""
        if not texts:
            return np.empty((0, len(prompts.labels)), np.float32)
        asked = Asked(self._encoder, texts, prompts, position)
        table = asked.table
        scored = self._engine.score(table, progress=progress)
        question = Question([scored], asked.undecided)
        settle_and_check([question], scored, table.sizes, lambda values: asked.mean(values).argmax(1).tolist())
        if not scored.complete:
            raise KeyboardInterrupt
        return asked.mean(scored.values)


@dataclass(frozen=True)
class Asked:
    """Texts with every prompt: a row of the table is a text under one of the templates."""

    encoder: PairEncoder
    texts: Sequence[str]
    prompts: Prompts
    position: Position

    @property
    def table(self) -> PairTable:
        """All pairs, those of a template in turn."""
        rows = list(product(range(len(self.prompts.texts)), range(len(self.texts))))
        return PairTable(self._encode, rows, [len(self.prompts.labels)] * len(rows))

    def _encode(self, rows: Iterable[tuple[int, int]]) -> LabelPairs:
        """Return the pairs of each (place of a template, place of a text)."""
        labels = len(self.prompts.labels)
        firsts = [text * self.prompts.of_a_text + template * labels for template, text in rows]
        return self._pairs.at(np.add.outer(np.array(firsts, np.int64), np.arange(labels)).ravel())

    @cached_property
    def _pairs(self) -> LabelPairs:
        """Each text with the prompts of every template."""
        return encode_label_pairs(self.encoder, self.texts, list(chain(*self.prompts.texts)), self.position)

    def mean(self, odds: np.ndarray) -> np.ndarray:
        """Return the means over the templates (texts, labels)."""
        return odds.reshape(len(self.prompts.texts), len(self.texts), -1).mean(axis=0)

    def undecided(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return which pairs a text's best label still depends on."""
        sizes = [len(self.prompts.labels)] * len(self.texts)
        found = best_undecided(self.mean(low).ravel(), self.mean(high).ravel(), sizes)
        return np.tile(found, len(self.prompts.texts))


@dataclass(frozen=True)
class Prompts:
    """The labels, and for each template their prompts."""

    labels: list[str]
    texts: list[list[str]]

    @property
    def of_a_text(self) -> int:
        """How many pairs a text has."""
        return len(self.texts) * len(self.labels)

    @property
    def at_once(self) -> int:
        """How many texts are scored together."""
        return max(CHUNK // self.of_a_text, 1)

    @classmethod
    def of(cls, labels: Labels, templates: Sequence[str]) -> Prompts:
        """Return the prompts of labels under templates; raises UserError for those that cannot tell texts apart."""
        words = dict(labels) if isinstance(labels, Mapping) else {label: label for label in labels}
        given = len(labels)
        if len(words) < 2 or len(words) < given or len(set(words.values())) < given:
            raise UserError("labels: two or more different labels are needed, each with a word of its own")
        if not templates:
            raise UserError("template: one at least is needed, e.g. '{}'")
        parsed = [parse_template(template).text for template in templates]
        return cls(list(words), [[text.replace("{}", word) for word in words.values()] for text in parsed])


def make_result(
    text: str, labels: Sequence[str], log_odds: np.ndarray, multi_label: bool, threshold: float | None
) -> Classification:
    """Return a text's labels above the threshold, best first."""
    odds = log_odds.astype(np.float64)
    shares = np.exp(odds - odds.max())
    scores = 1 / (1 + np.exp(-odds)) if multi_label else shares / shares.sum()
    order = [place for place in np.argsort(-odds, kind="stable") if threshold is None or scores[place] >= threshold]
    return Classification(
        text,
        [labels[place] for place in order],
        [float(scores[place]) for place in order],
        [float(odds[place]) for place in order],
    )
