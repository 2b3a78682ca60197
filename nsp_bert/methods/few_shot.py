"""The few-shot protocol (FewCLUE): train on train_i, choose the epoch on dev_i, report the split."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol

from nsp_bert.answer_mapping import split_by_sizes
from nsp_bert.cards import CardT
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.errors import UnsuitableError, UserError
from nsp_bert.files import replacing_folder
from nsp_bert.method_prompts import PromptT
from nsp_bert.methods.fitting import BEST, Teacher, fit
from nsp_bert.methods.scored import score_task, settled_run, table_of
from nsp_bert.options import Recipe
from nsp_bert.results.runs import Run
from nsp_bert.rows import ContentT, Example, FewShotRows, Rows
from nsp_bert.scoring.exact import Engine, Question, settle
from nsp_bert.session import Scorers, Session, Task
from nsp_bert.tokenization import EncodedPair


class FewShotMethod(Protocol):
    """A method that is trained: its tasks, and what it trains on. The contents are those of the session's card."""

    def task(self, session: Session[Any, Any], rows: Rows[Any], training: list[Example[Any]]) -> Task[Any]:
        """Return the task of rows that are asked for."""

    def teacher(self, session: Session[Any, Any], recipe: Recipe, training: list[Example[Any]]) -> Teacher:
        """Return what is trained on the rows of a training set."""


def few_shot_run(
    session: Session[CardT, PromptT],
    method: FewShotMethod,
    rows: FewShotRows[ContentT],
    finish: Callable[[Session[CardT, PromptT], Run], Run] = lambda _, run: run,
) -> Run:
    """Train on a session's training set and return the run of the rows that are asked for.

    `finish` may add to the run while the trained weights, its session's, are there. `--save` keeps the trained
    checkpoint, if not all of it was frozen. Raises UserError as `fit`.
    """
    recipe = session.recipe
    if not recipe:
        raise TypeError(f"{session.method.name} is not trained")
    print(f"{session.title}: training on {len(rows.training)} rows, {recipe.epochs} epochs, dev {len(rows.dev)} rows")
    dev = method.task(session, Rows(rows.dev, "dev"), rows.training)
    teacher, trained = method.teacher(session, recipe, rows.training), Trained(session)
    with working_folder(session) as folder:
        settings = {"run": session.fingerprint.model_dump_json() if session.fingerprint else ""}
        record = fit(
            teacher, session.checkpoint, recipe, lambda path: accuracy(dev, trained.at(path)), folder, settings
        )
        print(f"best epoch {record.best_epoch}, dev {100 * record.epochs[record.best_epoch - 1].dev_accuracy:.2f} %")
        with_weights = trained.at(folder / BEST)
        task = method.task(with_weights, rows.test, rows.training)
        run = finish(with_weights, settled_run(task, with_weights, score_task(task, with_weights)))
        if session.options.verbose:
            print(trained.timing)
        if session.options.save and not recipe.freeze:
            keep(folder / BEST, session.options.save / f"{session.card.name}.train_{session.train}")
    details = run.details.model_copy(update={"training": record})
    return replace(run, details=details, notes=(*run.notes, *missing_labels(task.labels, rows.training)))


def missing_labels(labels: Sequence[str], training: Iterable[Example[Any]]) -> list[str]:
    """Return a line that names the labels without a training row, nothing where every label has one."""
    there = {str(example.label) for example in training}
    missing = [label for label in labels if label not in there]
    return [f"no training row for {', '.join(missing)}"] if missing else []


class Trained(Generic[CardT, PromptT]):
    """The sessions of trained weights, scored by the same scorers one after the other."""

    def __init__(self, session: Session[CardT, PromptT]):
        """Take the session whose checkpoint is trained."""
        self._session = session
        self._scorers: Scorers | None = None

    def at(self, folder: Path) -> Session[CardT, PromptT]:
        """Return a session with the weights of a folder, under the name of the checkpoint that they come from.

        The one before is of no use any more.
        """
        session, own = self._session, self._session.checkpoint
        found = open_checkpoint(str(folder), session.method.heads, causal=session.method.causal)
        checkpoint = replace(found, name=own.name, do_lower_case=own.do_lower_case, language=own.language)
        if self._scorers:
            self._scorers.reload(checkpoint)
        else:
            self._scorers = Scorers(checkpoint, session.options, session.method.output)
        engine = Engine(self._scorers.__getitem__, session.options.precision, session.method.output)
        return replace(session, checkpoint=checkpoint, engine=engine)

    @property
    def timing(self) -> str:
        """What each step of the scorers took, a line each."""
        return self._scorers.timing if self._scorers else ""


def accuracy(task: Task[ContentT], session: Session[CardT, PromptT]) -> float:
    """Return the share of a task's rows that a session's weights predict right."""
    scored = session.engine.score(table_of(task), progress=False)
    settle([Question([scored], task.undecided)])
    if not scored.complete:
        raise KeyboardInterrupt
    predicted = task.predict(split_by_sizes(task.sizes, scored.values)).labels
    right = sum(example.label == label for example, label in zip(task.examples, predicted, strict=True))
    return right / len(predicted)


@contextmanager
def working_folder(session: Session[CardT, PromptT]) -> Iterator[Path]:
    """Yield the folder of a training: below `--output`, where it stays until the result is written, else a passing one.

    Without `--resume` it is empty. An interrupt says what becomes of the training.
    """
    if session.work and not session.options.resume:
        shutil.rmtree(session.work, ignore_errors=True)
    with nullcontext(session.work) if session.work else tempfile.TemporaryDirectory() as folder:
        try:
            yield Path(folder)
        except KeyboardInterrupt as stopped:
            kept = "--resume goes on after the last epoch" if session.work else "--output would have kept the epochs"
            raise KeyboardInterrupt(f"{session.title} is not finished; {kept}") from stopped


def lessons_of(task: Task[ContentT], title: str) -> list[list[EncodedPair]]:
    """Return the sequences of each of a task's rows. Raises UserError where some rows have more than others."""
    size = common_size(task, title)
    pairs = iter(task.pairs(task.contents))
    return [[next(pairs) for _ in range(size // task.width)] for _ in task.contents]


def common_size(task: Task[ContentT], title: str) -> int:
    """Return how many scores each row of a task has. Raises UserError where some have more than others."""
    size = task.sizes[0]
    if set(task.sizes) != {size}:
        raise UnsuitableError(f"{title}: rows with unlike numbers of candidates")
    return size


def keep(folder: Path, target: Path) -> None:
    """Copy a checkpoint, in one step. Raises UserError where it cannot be written."""
    try:
        with replacing_folder(target) as unfinished:
            for path in folder.iterdir():
                shutil.copyfile(path, unfinished / path.name)
    except OSError as error:
        raise UserError(f"--save {target}: cannot be written ({error.strerror}); choose another folder") from error
