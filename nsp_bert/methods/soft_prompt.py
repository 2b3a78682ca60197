"""P-tuning: soft tokens in a pattern, whose embeddings are trained, with the model or alone.

The trained tokens come behind the vocabulary of a checkpoint, which is then scored as any other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from nsp_bert.cards import CardT
from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.checkpoints.soft_prompt import (
    SoftPrompt,
    nearest_words,
    read_prompt,
    soft_embeddings,
    write_prompted,
)
from nsp_bert.errors import UserError
from nsp_bert.files import digest
from nsp_bert.method_prompts import MethodCard, PatternChoice, PatternPrompt
from nsp_bert.methods.few_shot import FewShotMethod, Trained, few_shot_run, lessons_of
from nsp_bert.methods.fitting import soft_settings
from nsp_bert.methods.language import LanguageContent, LanguageTask, make_task
from nsp_bert.methods.nsp_few_shot import NextSentenceTeacher, one_hot
from nsp_bert.methods.scored import score_task, settled_run
from nsp_bert.options import Recipe
from nsp_bert.results.fingerprint import checkpoint_digest
from nsp_bert.results.runs import Run
from nsp_bert.results.summary import NearWord
from nsp_bert.rows import Example, FewShotRows, Rows
from nsp_bert.session import Session
from nsp_bert.tokenization import EncodedPair

NEAREST = 5  # words of the vocabulary that are shown beside a soft token


@dataclass(frozen=True)
class LoadedPrompt(PatternPrompt):
    """A pattern whose soft tokens are those of a file, which has been trained."""

    file: Path

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result file says of it, the beginning of the file's SHA-256 included."""
        return super().settings | {"soft_prompt": digest(self.file)[:16]}


@dataclass(frozen=True)
class SoftChoice(PatternChoice):
    """A card's pattern with soft tokens, which a file has the embeddings of, or training finds."""

    file: Path | None = None

    def prompts(self, card: MethodCard) -> Iterator[PatternPrompt]:
        """Yield one prompt. Raises UserError where the card has no such pattern, or the file is no trained prompt."""
        for prompt in super().prompts(card):
            if self.file:
                read_prompt(self.file)
            yield LoadedPrompt(prompt.kind, prompt.pattern, prompt.words, self.file) if self.file else prompt


@dataclass(frozen=True)
class SoftPairTask(LanguageTask[CardT]):
    """One pair a candidate, whose log-odds are compared: an NSP prompt with soft tokens."""

    compares_tokens: ClassVar[bool] = False

    def with_words(self, content: LanguageContent, words: Sequence[list[int]]) -> Iterable[EncodedPair]:
        """Return a pair for each word."""
        return [self.patterns.plain(content.slots, word) for word in words]


@dataclass(frozen=True)
class SoftPairs:
    """Few-shot NSP-BERT with soft tokens in the prompt: each candidate's pair is next or not."""

    def task(self, session: Session[Any, Any], rows: Rows[Any], _training: list[Example[Any]]) -> LanguageTask[Any]:
        """Return the task of rows that are asked for."""
        return make_task(SoftPairTask, session, rows)

    def teacher(self, session: Session[Any, Any], recipe: Recipe, training: list[Example[Any]]) -> NextSentenceTeacher:
        """Return the pairs of training rows."""
        task = self.task(session, Rows(training, "training"), [])
        lessons = lessons_of(task, session.title)
        soft = soft_settings(recipe, task.patterns.pattern.soft_tokens)
        return NextSentenceTeacher(recipe, lessons, one_hot(session.card, training, len(lessons[0])), soft)


def trained_run(session: Session[Any, PatternPrompt], method: FewShotMethod, rows: FewShotRows[Any]) -> Run:
    """Train the soft tokens of a session's pattern and return the run of the rows that are asked for.

    `--save` keeps the prompt, and the checkpoint where that was trained too. Raises UserError for a checkpoint that
    has soft tokens already, and as `few_shot_run`.
    """
    if session.checkpoint.config.get("soft_tokens"):
        raise UserError(
            f"{session.checkpoint.folder}: has soft tokens already; score with it by --prompt, or train the checkpoint"
            " that it was made from"
        )
    return few_shot_run(session, method, rows, partial(with_words, session))


def with_words(session: Session[Any, PatternPrompt], trained: Session[Any, PatternPrompt], run: Run) -> Run:
    """Return a run with the words nearest to the soft tokens of its trained session; `--save` keeps these."""
    if save := session.options.save:
        embeddings, insert = soft_embeddings(trained.checkpoint)
        frozen = session.recipe is not None and session.recipe.freeze
        fits = checkpoint_digest(session.checkpoint if frozen else trained.checkpoint)
        path = save / f"{session.card.name}.train_{session.train}.prompt.npz"
        SoftPrompt(embeddings, insert, session.prompt.pattern, fits).write(path)
    return with_nearest_words(run, trained.checkpoint)


def prompted_run(session: Session[Any, PatternPrompt], method: FewShotMethod, rows: Rows[Any], file: Path) -> Run:
    """Return the run of rows with the trained prompt of a file. Raises UserError where it does not fit."""
    prompt = read_prompt(file)
    prompt.check(file, session.prompt.pattern, checkpoint_digest(session.checkpoint))
    with tempfile.TemporaryDirectory() as passing:
        folder = Path(passing) / "prompted"
        write_prompted(folder, session.checkpoint, prompt)
        with_prompt = Trained(session).at(folder)
        task = method.task(with_prompt, rows, [])
        run = settled_run(task, with_prompt, score_task(task, with_prompt))
        return with_nearest_words(run, with_prompt.checkpoint)


def with_nearest_words(run: Run, checkpoint: Checkpoint) -> Run:
    """Return a run whose details tell the words nearest to each of a checkpoint's soft tokens."""
    nearest = [
        [NearWord(word=word, cosine=round(cosine, 4)) for word, cosine in row]
        for row in nearest_words(checkpoint, NEAREST)
    ]
    return replace(run, details=run.details.model_copy(update={"nearest_words": nearest}))
