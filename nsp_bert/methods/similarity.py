"""Similarity of sentences (TCBert): a row has the label whose training rows have the vectors nearest to its own.

A vector is the mean of the last layer over all tokens. Rows are put into a sentence about a topic, with [MASK] in the
topic's place; training rows are encoded as they are. A label's score is a cosine. What TCBert's card leaves open is
decided by options (which training rows, the nearest or their mean), or recorded (whitening is fitted on training rows
and test rows together, without labels).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nsp_bert.cards import ClassificationCard
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.contents import Text
from nsp_bert.errors import UserError
from nsp_bert.method_prompts import Reference, SimilarityPrompt
from nsp_bert.methods.language import check_words
from nsp_bert.methods.scored import settled_run
from nsp_bert.pattern_encoding import PatternEncoder
from nsp_bert.patterns import TEXT_ALONE, parse_pattern
from nsp_bert.results.published import find, load_published
from nsp_bert.results.runs import Run
from nsp_bert.rows import Example, Rows
from nsp_bert.scoring.exact import PairTable, Scored
from nsp_bert.session import Session
from nsp_bert.tasks import CandidatesTask
from nsp_bert.tokenization import EncodedPair

LEAST = -1.0  # the least cosine: the score of a label without a training row
SINGULAR = 1e-8  # a principal component with a smaller share of the first one's variance is noise, and is left out

TopicSession = Session[ClassificationCard, SimilarityPrompt]
Training = Mapping[str, Sequence[Example[Text]]]


@dataclass(frozen=True)
class SimilarityTask(CandidatesTask[ClassificationCard, Text, SimilarityPrompt]):
    """Rows whose labels are compared by cosines with training rows, which `training` holds by the sets' names."""

    training: Training
    asked: PatternEncoder
    plain: PatternEncoder
    masks: int

    @property
    def candidates(self) -> Sequence[Sequence[str]]:
        """The card's labels, for every example."""
        return [self.labels] * len(self.examples)

    @property
    def width(self) -> int:
        """All labels of a row."""
        return len(self.labels)

    @property
    def size(self) -> str:
        """How many rows are compared with how many, in words."""
        return f"{self.rows.number} + {len(self.references):,} training rows"

    @property
    def references(self) -> list[Example[Text]]:
        """The training rows of all sets, one after the other."""
        return [example for rows in self.training.values() for example in rows]

    def pairs(self, contents: Iterable[Text]) -> Iterator[EncodedPair]:
        """Yield each text in the sentence about a topic."""
        return self._encode((self.asked, content) for content in contents)

    def vectors(self, session: TopicSession) -> Scored:
        """Say what runs on what, and return the vectors of the training rows, then of the rows, one after the other."""
        width = session.checkpoint.config["hidden_size"]
        texts = [(self.plain, example.content) for example in self.references]
        texts += [(self.asked, content) for content in self.contents]
        table = PairTable(self._encode, texts, [width] * len(texts), width)
        session.announce(self, table.pairs)
        return session.score(table)

    def _encode(self, texts: Iterable[tuple[PatternEncoder, Text]]) -> Iterator[EncodedPair]:
        return (patterns.sentence(content.slots, self.masks) for patterns, content in texts)


def make_task(session: TopicSession, rows: Rows[Text], training: Training) -> SimilarityTask:
    """Return the task of rows and training rows. Raises UserError for words that do not say how many [MASK] there are.

    There are as many as a label's word has tokens.
    """
    card, encoder, prompt = session.card, session.encoder, session.prompt
    vocabulary = load_vocabulary(session.checkpoint.vocab_path)
    words = {word: encoder.tokenize(word) for word in card.word_set(prompt.words).values()}
    check_words(f"{card.title}, words {prompt.words}", words, vocabulary["[UNK]"])
    masks = len(next(iter(words.values())))
    plain = PatternEncoder(encoder, TEXT_ALONE, vocabulary["[MASK]"])
    asked = replace(plain, pattern=parse_pattern(prompt.pattern)) if prompt.number else plain
    return SimilarityTask(card, prompt, encoder, rows, training, asked, plain, masks)


def compare_runs(task: SimilarityTask, session: TopicSession) -> list[Run]:
    """Score the vectors of a task, and return a run for each set of training rows.

    An interrupted run keeps the rows whose vectors are there, if those of all that they are compared with are.
    """
    found = task.vectors(session)
    vectors = found.values.reshape(-1, session.checkpoint.config["hidden_size"])
    *parts, rows = np.split(vectors, np.cumsum([len(part) for part in task.training.values()]))
    return [_run(task, session, found, train, part, rows) for train, part in zip(task.training, parts, strict=True)]


def _run(
    task: SimilarityTask, session: TopicSession, found: Scored, train: str, references: np.ndarray, rows: np.ndarray
) -> Run:
    """Return the run of rows (n, width) that are compared with the training rows (m, width) of a set."""
    prompt, labels = task.prompt, list(task.labels)
    places = np.array([labels.index(str(example.label)) for example in task.training[train]])
    there = ~np.isnan(rows).any(axis=1)
    scores = np.full((len(rows), len(labels)), np.nan, np.float32)
    kept = prompt.whitening
    if not np.isnan(references).any() and (there.all() or not prompt.whitening):
        compared = rows[there]
        if prompt.whitening:
            references, compared, kept = whiten(references, compared, prompt.whitening)
        scores[there] = cosines(compared, references, places, len(labels), prompt.reference)
    run = settled_run(task, session, Scored(scores.ravel(), found.complete, found.seconds, found.pairs))
    return replace(
        run,
        subject=replace(run.subject, train=train),
        settings=run.settings | {"whitening": kept},
        passes=len(rows) + len(references),
        notes=(*run.notes, *_notes(task, session, [label for n, label in enumerate(labels) if n not in places])),
    )


def cosines(
    rows: np.ndarray, references: np.ndarray, places: np.ndarray, labels: int, reference: Reference
) -> np.ndarray:
    """Return the cosines float32 (n, labels) of rows (n, width) with the references (m, width) of each label.

    `places` (m,) are the references' labels. A label's is that of its nearest reference or of their mean, and LEAST
    where it has none.
    """
    from sklearn.metrics.pairwise import cosine_similarity

    scores = np.full((len(rows), labels), LEAST, np.float32)
    for label in np.unique(places) if len(rows) else ():
        own = references[places == label]
        own = own.mean(axis=0, keepdims=True) if reference == "mean" else own
        scores[:, label] = cosine_similarity(rows, own).max(axis=1)
    return scores


def whiten(references: np.ndarray, rows: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return references (m, k) and rows (n, k) as uncorrelated components of variance 1, and k.

    Fitted on both, without labels (BERT-whitening, arXiv:2103.15316). k is `components`, or fewer: those that the
    covariance has, and half as many as there are vectors. With one component less than vectors all of them would be
    equally far from each other. Raises UserError where all vectors are alike.
    """
    from sklearn.decomposition import PCA

    both = np.concatenate([references, rows]).astype(np.float64)
    if (both == both[0]).all():
        raise UserError("--whitening: the vectors of all texts are alike, there is nothing to whiten")
    most = min(components, max(len(both) // 2, 1), both.shape[1])
    fitted = PCA(most, whiten=True, svd_solver="full").fit(both)
    kept = int((fitted.explained_variance_ > SINGULAR * fitted.explained_variance_[0]).sum())
    whitened = fitted.transform(both)[:, :kept]
    return whitened[: len(references)], whitened[len(references) :], kept


def _notes(task: SimilarityTask, session: TopicSession, missing: list[str]) -> Iterator[str]:
    """Yield the lines below the table: labels that cannot be predicted, and a published number as context."""
    if missing:
        yield f"no training row for {', '.join(missing)}: never predicted"
    records = find(
        method=session.method.name,
        dataset=task.card.name,
        model=session.published_model,
        prompt=task.prompt.number,
        whitening=bool(task.prompt.whitening),
    )
    for record in records:
        source = load_published().sources[record.source]
        yield f"published {record.value} ({source}), of training rows and a reference that are not named there"
