"""Training on a few rows: epochs, dev accuracy after each, the best weights kept, exact resumption."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.environment import peak_memory
from nsp_bert.errors import UserError
from nsp_bert.files import recover_folder, write_text
from nsp_bert.options import Recipe
from nsp_bert.results.summary import Curve, Epoch, TrainingRecord
from nsp_bert.scoring.windows import PairList
from nsp_bert.terminal import progress_bar
from nsp_bert.tokenization import EncodedPair
from nsp_bert.training.optimization import Optimization, Schedule, SoftPromptSettings
from nsp_bert.training.state import check_settings

if TYPE_CHECKING:
    from nsp_bert.training.loop import Training

Arrays = Sequence[np.ndarray]
Measure = Callable[[Path], float]
CURRENT, BEST, STATE = "current", "best", "state"  # in a training's folder
LENGTHS = 8  # sequences are filled up to a multiple of it: compiled layers are compiled for every new length


class Teacher(Protocol):
    """What a method trains on: `rows` lessons, of at most `candidates` sequences each."""

    rows: int
    candidates: int

    def training(self, checkpoint: Checkpoint) -> Training:
        """Return the model to train, with the checkpoint's weights."""

    def parts(self, rows: Sequence[int], rng: np.random.Generator) -> Iterator[Arrays]:
        """Yield the arrays of a step on these lessons, in parts whose losses add up to the step's."""


@dataclass(frozen=True)
class Lessons:
    """In which order the rows of a teacher come: the same for the same seed and epoch, wherever a run was stopped."""

    rows: int
    step_rows: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self.rows / self.step_rows)

    def of_epoch(self, epoch: int) -> Iterator[tuple[list[int], np.random.Generator]]:
        """Yield the rows of each step, and what the step draws from."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.rows).tolist()
        for start in range(0, self.rows, self.step_rows):
            yield order[start : start + self.step_rows], rng


def fit(
    teacher: Teacher, checkpoint: Checkpoint, recipe: Recipe, measure: Measure, folder: Path, settings: dict[str, str]
) -> TrainingRecord:
    """Train, and leave the weights of the best epoch (the earlier of equal ones) as a checkpoint in `folder`/best.

    `measure` returns the dev accuracy of a checkpoint's folder. What `folder` holds of the same settings goes on after
    its last epoch. Raises UserError where loss or weights are no numbers in the first epoch, and where memory is short.
    """
    lessons = Lessons(teacher.rows, rows_in_step(recipe, teacher.candidates), recipe.training_seed)
    training, epochs = begin(teacher, checkpoint, folder, settings)
    schedule = make_schedule(recipe, recipe.epochs * lessons.steps)
    with progress_bar(recipe.epochs * lessons.steps, "training", " steps") as bar:
        bar.update(training.step)
        for number in range(len(epochs), recipe.epochs):
            started, losses = time.monotonic(), []
            for rows, rng in lessons.of_epoch(number):
                losses.append(step(training, list(teacher.parts(rows, rng)), schedule))
                bar.update(1)
            stepped = time.monotonic() - started
            if not (np.isfinite(losses).all() and training.finite):
                if not epochs:
                    raise UserError(f"no numbers any more after step {training.step}: try a smaller --learning-rate")
                print(f"no numbers any more after step {training.step}: the best epoch before it is taken")
                break
            training.export(folder / CURRENT, checkpoint.vocab_path)
            accuracy = measure(folder / CURRENT)
            if accuracy > max((epoch.dev_accuracy for epoch in epochs), default=-1.0):
                keep_best(folder)
            took = round(time.monotonic() - started, 3)
            loss = float(np.mean(losses))
            epochs.append(Epoch(loss=loss, dev_accuracy=accuracy, seconds=took, steps_seconds=round(stepped, 3)))
            save(training, epochs, folder, settings)
    return TrainingRecord(
        rows=teacher.rows,
        steps=lessons.steps * len(epochs),
        parameters=training.parameters,
        epochs=epochs,
        best_epoch=1 + int(np.argmax([epoch.dev_accuracy for epoch in epochs])),
        peak_memory_mib=peak_memory(),
    )


def step(training: Training, parts: list[Arrays], schedule: Schedule) -> float:
    """Take a step; return its loss. Raises UserError where memory is short."""
    from nsp_bert.environment import import_tensorflow

    try:
        return float(training.train(*parts, learning_rate=schedule.learning_rate(training.step))[0])
    except import_tensorflow().errors.ResourceExhaustedError as error:
        tokens = max(part[0].size for part in parts)
        raise UserError(f"a part of {tokens} tokens does not fit into memory: --part-tokens {tokens // 2}") from error


def rows_in_step(recipe: Recipe, candidates: int) -> int:
    """Return how many lessons of so many sequences a step takes."""
    return max(min(recipe.step_rows, recipe.step_pairs // candidates), 1)


def in_parts(longest: Sequence[int], sequences: int, tokens: int) -> Iterator[list[int]]:
    """Yield the places of a step's lessons in parts, long ones first, so that little of a part is filled up.

    A lesson has so many sequences of at most `longest` tokens; a part has at most so many `tokens`, or one lesson.
    """
    places = sorted(range(len(longest)), key=longest.__getitem__, reverse=True)
    while places:
        count = max(tokens // (sequences * longest[places[0]]), 1)
        yield places[:count]
        places = places[count:]


def inputs_of(pairs: list[EncodedPair]) -> list[np.ndarray]:
    """Return token_ids, segment_ids, position_ids int32 (B, T) of sequences, and what their masks are asked for.

    T is a multiple of LENGTHS.
    """
    inputs = PairList(pairs).inputs(np.arange(len(pairs)))
    texts, asked = inputs[:3], inputs[3:]
    more = -texts[0].shape[1] % LENGTHS
    return [*(np.pad(one, [(0, 0), (0, more)]) for one in texts), *asked]


def make_schedule(recipe: Recipe, steps: int) -> Schedule:
    """Return the learning rates of so many steps."""
    warmup = int(recipe.warmup * steps)
    return Schedule(recipe.learning_rate, warmup, steps - warmup if recipe.decay else 0, steps)


def make_training(kind: Callable[..., Training], checkpoint: Checkpoint, recipe: Recipe, *own: object) -> Training:
    """Return a model of a kind to train by a recipe, with the checkpoint's weights; `own` is what the kind asks for."""
    optimization = Optimization(recipe.weight_decay, recipe.clip_norm, beta_2=recipe.beta_2, epsilon=recipe.epsilon)
    training = kind(checkpoint.config, optimization, recipe.training_precision, recipe.training_seed, *own)
    training.load_weights(checkpoint)
    return training


def soft_settings(recipe: Recipe, count: int) -> SoftPromptSettings | None:
    """Return how a recipe trains so many soft tokens, None where there are none."""
    if not count:
        return None
    return SoftPromptSettings(count, recipe.encoder or "lstm", recipe.insert or "before", bool(recipe.freeze))


def begin(
    teacher: Teacher, checkpoint: Checkpoint, folder: Path, settings: dict[str, str]
) -> tuple[Training, list[Epoch]]:
    """Return the model to train and the epochs that are done: what a folder holds of the same settings, else none.

    What is there of other settings, or damaged, goes.
    """
    training = teacher.training(checkpoint)
    recover_folder(folder / STATE)
    if is_of(folder, settings):
        try:
            training.restore_state(folder / STATE)
            return training, Curve.model_validate_json(curve_path(folder, training).read_text(encoding="utf-8")).epochs
        except (UserError, OSError, ValueError):
            print("what there is of this training is damaged: it begins anew")
            training = teacher.training(checkpoint)  # some of the damaged weights may be in the one above
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return training, []


def is_of(folder: Path, settings: dict[str, str]) -> bool:
    """Return whether a training's folder holds a state of these settings."""
    try:
        check_settings(folder / STATE, settings)
    except UserError:
        return False
    return True


def save(training: Training, epochs: list[Epoch], folder: Path, settings: dict[str, str]) -> None:
    """Write what `begin` reads: the curve of this step first, which is none without its state."""
    write_text(Curve(epochs=epochs).model_dump_json(), curve_path(folder, training))
    training.save_state(folder / STATE, settings)


def curve_path(folder: Path, training: Training) -> Path:
    """Return the file of the epochs up to the present step."""
    return folder / f"curve.{training.step}.json"


def keep_best(folder: Path) -> None:
    """Put the current checkpoint in the place of the best."""
    shutil.rmtree(folder / BEST, ignore_errors=True)
    (folder / CURRENT).rename(folder / BEST)
