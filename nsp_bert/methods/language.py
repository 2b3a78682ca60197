"""Rows whose label a language model fills in: PET by a masked one, GPT by a causal one.

Patterns and words are the card's (`methods`, `words`). Candidates are compared by the sum of the log-probabilities of
their words' tokens, so that all words must have as many.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, TypeVar

from nsp_bert.cards import (
    CANDIDATES_CONTRAST,
    CardT,
    ClassificationCard,
    ClozeCard,
    CoreferenceCard,
    SentencePairCard,
)
from nsp_bert.checkpoints.soft_prompt import first_soft_token
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.contents import Cloze, Mention, SentencePair, Text
from nsp_bert.errors import UnsuitableError
from nsp_bert.method_prompts import FilledTopicPrompt, PatternPrompt
from nsp_bert.pattern_encoding import PatternEncoder
from nsp_bert.patterns import parse_pattern
from nsp_bert.results.metrics import Accuracy
from nsp_bert.results.runs import Run
from nsp_bert.results.summary import SHARED_WORDS
from nsp_bert.rows import Rows
from nsp_bert.session import Session
from nsp_bert.tasks import CandidatesTask
from nsp_bert.tokenization import EncodedPair

LanguageCard = ClassificationCard | SentencePairCard | CoreferenceCard | ClozeCard
LanguageContent = Text | SentencePair | Mention | Cloze
WordPrompt = PatternPrompt | FilledTopicPrompt
WordPromptT = TypeVar("WordPromptT", PatternPrompt, FilledTopicPrompt)


@dataclass(frozen=True)
class LanguageTask(CandidatesTask[CardT, LanguageContent, WordPrompt]):
    """Rows in a pattern whose {label} is one of the words, or of the row's own candidates for a blank.

    `compares_tokens`: words have to be as long as each other, since their tokens' log-probabilities are compared.
    """

    compares_tokens: ClassVar[bool] = True

    patterns: PatternEncoder
    words: Sequence[list[int]]

    @property
    def mapping(self) -> str:
        """The best word answers, in every task."""
        return CANDIDATES_CONTRAST

    @cached_property
    def candidates(self) -> Sequence[Sequence[str]]:
        """The labels, or the places of a row's candidates."""
        if self.labels:
            return [self.labels] * len(self.examples)
        return [[str(place) for place in range(len(self.words_of(content)))] for content in self.contents]

    def words_of(self, content: LanguageContent) -> Sequence[list[int]]:
        """Return the token ids of what may fill the label's place."""
        if not isinstance(content, Cloze):
            return self.words
        return [self.encoder.tokenize(candidate) for candidate in content.candidates]

    @abstractmethod
    def with_words(self, content: LanguageContent, words: Sequence[list[int]]) -> Iterable[EncodedPair]:
        """Return the sequences that ask for some words in a content's blank."""

    def pairs(self, contents: Iterable[LanguageContent]) -> Iterator[EncodedPair]:
        """Yield the sequences of each content in turn."""
        for content in contents:
            yield from self.with_words(content, self.words_of(content))


@dataclass(frozen=True)
class MaskedTask(LanguageTask[CardT]):
    """One pass a row: as many [MASK] as a word has tokens, filled independently of each other (PET)."""

    @property
    def width(self) -> int:
        """All candidates of a row."""
        return len(self.candidates[0])

    def with_words(self, content: LanguageContent, words: Sequence[list[int]]) -> Iterable[EncodedPair]:
        """Return one sequence."""
        return [self.patterns.masked(content.slots, words)]


@dataclass(frozen=True)
class CausalTask(LanguageTask[CardT]):
    """One pass a candidate: each token of the word, and of what follows it, after those before it (GPT)."""

    def with_words(self, content: LanguageContent, words: Sequence[list[int]]) -> Iterable[EncodedPair]:
        """Return a sequence for each word."""
        return self.patterns.causal(content.slots, words)


LanguageTaskT = TypeVar("LanguageTaskT", bound=LanguageTask)


def make_task(
    kind: type[LanguageTaskT], session: Session[CardT, WordPromptT], rows: Rows[LanguageContent]
) -> LanguageTaskT:
    """Return the task of rows under the session's pattern.

    Raises UserError for words, or candidates for a blank, that cannot be compared: of different lengths in tokens, or
    with a character that is not in the vocabulary.
    """
    card, encoder, prompt = session.card, session.encoder, session.prompt
    vocabulary = load_vocabulary(session.checkpoint.vocab_path)
    texts = list(card.word_set(prompt.words).values())
    words = [encoder.tokenize(text) for text in texts]
    if kind.compares_tokens:
        check_words(f"{card.title}, words {prompt.words}", dict(zip(texts, words, strict=True)), vocabulary["[UNK]"])
    soft_id = first_soft_token(session.checkpoint.config)
    patterns = PatternEncoder(encoder, parse_pattern(prompt.pattern), vocabulary["[MASK]"], soft_id)
    task = kind(card, prompt, encoder, rows, patterns, words)
    if not task.labels:
        check_candidates(task)
    return task


def check_words(where: str, words: dict[str, list[int]], unknown: int) -> None:
    """Raise UserError naming a word with an unknown character, or two words of different lengths."""
    remedy = "choose others with --words, or add a set to the card"
    for text, ids in words.items():
        if unknown in ids or not ids:
            raise UnsuitableError(f"{where}: {text!r} is not in the checkpoint's vocabulary; {remedy}")
    if ends := differing(words.values()):
        shown = " and ".join(f"{text!r} with {len(words[text])}" for text in words if words[text] in ends)
        raise UnsuitableError(f"{where}: words of different lengths in tokens cannot be compared, {shown}; {remedy}")


def check_candidates(task: LanguageTask) -> None:
    """Raise UserError naming the first row whose candidates for a blank are not as many, or not as long, as others."""
    count = len(task.candidates[0])
    for example in task.examples:
        words = task.words_of(example.content)
        if len(words) != count or differing(words):
            lengths = ", ".join(str(len(word)) for word in words)
            raise UnsuitableError(
                f"{task.card.title}, row {example.index + 1}: {len(words)} candidates of {lengths} tokens;"
                f" this method compares candidates of one length, {count} in every row"
            )


def differing(words: Iterable[list[int]]) -> list[list[int]]:
    """Return the first of the shortest and of the longest words where these are not as long."""
    shortest, longest = min(words, key=len, default=[]), max(words, key=len, default=[])
    return [] if len(shortest) == len(longest) else [shortest, longest]


def with_shared_words(run: Run, session: Session[CardT, WordPromptT]) -> Run:
    """Return a session's run with the accuracy that counts labels of one word as one, where there are such labels."""
    words = session.card.word_set(session.prompt.words)
    if len(set(words.values())) == len(words) or run.accuracy is None:
        return run
    right = sum(words[str(answer.label)] == words[answer.prediction] for answer in run.answers)
    return replace(run, extra=run.extra | {SHARED_WORDS: Accuracy(len(run.answers), right)})
