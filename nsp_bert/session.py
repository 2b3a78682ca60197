"""Everything that is needed to score one dataset under one choice of options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np

from nsp_bert.answer_mapping import Predictions
from nsp_bert.cards import SAMPLE_DIR, CardBase, CardT
from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.errors import UserError
from nsp_bert.files import DATASETS
from nsp_bert.method_prompts import AnyPrompt, PromptT
from nsp_bert.options import Method, Options, Recipe
from nsp_bert.prompts import Prompt, Template
from nsp_bert.results.runs import Subject
from nsp_bert.results.summary import Fingerprint
from nsp_bert.rows import ContentT, Example, Selection
from nsp_bert.scoring.backends import load_backend
from nsp_bert.scoring.distributed import load_ray
from nsp_bert.scoring.exact import Engine, PairTable, Scored
from nsp_bert.scoring.outputs import UNIT_OF, Output
from nsp_bert.scoring.score_files import ScoreFiles
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import EncodedPair, PairEncoder, make_pair_encoder

TaskT = TypeVar("TaskT", bound="PromptedTask")


class Task(Protocol[ContentT]):
    """A dataset's rows under one prompt, as the engine sees them; nsp_bert.tasks holds the kinds."""

    @property
    def card(self) -> CardBase:
        """The dataset's card."""

    @property
    def part(self) -> str:
        """Which of several runs of the dataset this is; empty for a dataset that gives one."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that every example is offered, in the order of its scores; none where they differ."""

    @property
    def mapping(self) -> str:
        """How scores become labels: candidates-contrast or samples-contrast."""

    @property
    def prompt(self) -> AnyPrompt:
        """The prompt, every option of it set."""

    @property
    def examples(self) -> Sequence[Example[ContentT]]:
        """The rows whose predictions are asked for, in file order."""

    @property
    def size(self) -> str:
        """How many rows are scored with what, in words."""

    @property
    def contents(self) -> Sequence[ContentT]:
        """What is scored, in the order of the scores: the examples' contents, or all that predictions rest on."""

    @property
    def sizes(self) -> list[int]:
        """How many scores each content has."""

    @property
    def width(self) -> int:
        """How many of them come from one encoded pair."""

    def pairs(self, contents: Iterable[ContentT]) -> Iterable[EncodedPair]:
        """Return the encoded pairs of each content in turn."""

    def scores_of(self, scores: list[np.ndarray]) -> list[np.ndarray]:
        """Return the examples' own scores, out of those of the contents."""

    def predict(self, scores: list[np.ndarray]) -> Predictions:
        """Return the examples' predictions from the scores float32 of each content, NaN where there is none."""

    def undecided(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return bool (scores,): on which of them, each between `low` and `high`, a prediction still depends."""

    def more(self, place: int) -> dict[str, object]:
        """Return what else the result file says of the example at a place."""


class PromptedTask(Task[ContentT], Protocol[ContentT]):
    """A task whose prompt is one of the card's templates."""

    @property
    def prompt(self) -> Prompt:
        """The prompt, every option of it set."""

    def with_template(self: TaskT, number: int, template: Template) -> TaskT:
        """Return the same task under another of the card's templates."""


class Scorers:
    """The scorers of one checkpoint and output, one a precision, each loaded when it is first asked for."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        options: Options,
        output: Output = "next-sentence",
        inspect: Callable[[Scorer], None] | None = None,
    ):
        """`inspect` gets the first scorer before it scores anything.

        Raises UserError for options that exclude each other.
        """
        if options.workers and not options.distributed:
            raise UserError("--workers is about --distributed; give both or none")
        ray = options.distributed
        self._load = partial(load_ray, ray, options.workers) if ray else load_backend
        self._checkpoint, self._options, self._output = checkpoint, options, output
        self._inspect = inspect
        self._loaded: dict[str, Scorer] = {}

    def __getitem__(self, precision: str) -> Scorer:
        """Return the scorer of a precision."""
        if precision not in self._loaded:
            options = self._options
            self._loaded[precision] = Scorer(
                self._checkpoint, precision, options.batch_tokens, options.backend, self._load, self._output
            )
            if self._inspect and len(self._loaded) == 1:
                self._inspect(self._loaded[precision])
        return self._loaded[precision]

    def reload(self, checkpoint: Checkpoint) -> None:
        """Score by another checkpoint of the same shape from now on."""
        self._checkpoint = checkpoint
        for scorer in self._loaded.values():
            scorer.reload(checkpoint)

    @property
    def timing(self) -> str:
        """What each step of each scorer took, a line each."""
        return "\n".join(f"{precision}: {scorer.timing}" for precision, scorer in self._loaded.items())


@dataclass(frozen=True)
class Data:
    """Where a run's rows come from; `sample` marks the project's own miniature files."""

    folder: Path
    sample: bool


def choose_data(card: CardBase, data_dir: Path | None) -> Data:
    """Return the folder the user names, or the default folder, or the sample where the dataset is not in there."""
    if data_dir is not None:
        return Data(data_dir, sample=data_dir.resolve() == SAMPLE_DIR)
    folder = DATASETS / card.data_dir
    return Data(folder, sample=False) if (folder / card.path).parent.is_dir() else Data(SAMPLE_DIR, sample=True)


@dataclass(frozen=True)
class Session(Generic[CardT, PromptT]):
    """One dataset's run: its card, its prompt, its data, the model, the options, what it depends on, its files."""

    card: CardT
    prompt: PromptT
    data: Data
    method: Method
    checkpoint: Checkpoint
    engine: Engine
    options: Options
    fingerprint: Fingerprint | None = None
    files: ScoreFiles | None = None
    train: str | None = None
    work: Path | None = None

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.data.folder

    @property
    def title(self) -> str:
        """The dataset, the split and the training set, in words."""
        return " ".join([self.card.title, self.split, *([f"train_{self.train}"] if self.train else [])])

    @property
    def recipe(self) -> Recipe | None:
        """How the method is trained on the dataset; None where it is not."""
        recipes = self.method.recipes
        return recipes.of(self.card.name, self.options.recipe) if recipes else None

    @property
    def split(self) -> str:
        """`--split`, or the dataset's own."""
        return self.options.split or self.card.split

    @property
    def selection(self) -> Selection:
        """Which rows of the split are asked for."""
        return self.options.selection

    @property
    def max_length(self) -> int:
        """`--max-length`, or the dataset's own, as far as the checkpoint has positions for it."""
        return self.options.max_length or min(self.card.max_length, self.checkpoint.max_position)

    @property
    def encoder(self) -> PairEncoder:
        """What encodes pairs for the checkpoint. Raises UserError when its position table is shorter."""
        return make_pair_encoder(self.checkpoint, self.max_length)

    @property
    def model(self) -> str:
        """The checkpoint's name."""
        return self.checkpoint.name

    @property
    def published_model(self) -> str:
        """The name under which a published number may be this checkpoint's; empty where it only has that name."""
        return self.checkpoint.name if self.checkpoint.known else ""

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result file says of the options."""
        return self.prompt.settings | {
            "max_length": self.max_length,
            "precision": self.engine.precision,
            "backend": self.options.backend,
            "rows": str(self.selection),
            **(self.recipe.settings if self.recipe else {}),
        }

    @property
    def headline(self) -> dict[str, str]:
        """What makes one run another run, as text: its rows, its prompt, the arithmetic that was asked for."""
        own = {"precision": self.options.precision, "sample": self.data.sample}
        return {name: str(value) for name, value in (self.settings | own).items()}

    @property
    def beside(self) -> dict[str, str]:
        """What is asked for beside the headline, as text."""
        options = self.options
        return {
            "calibration": " ".join(options.calibration),
            "batch_curve": str(options.batch_curve),
            "seeds": str(options.seeds),
            "part": options.part,
            "train": self.train or " ".join(options.train),
            "training_seed": str(self.recipe.training_seed if self.recipe else None),
        }

    @property
    def as_published(self) -> bool:
        """Whether data, prompt position and length are those of the published runs."""
        return (
            not self.data.sample
            and self.selection == Selection()
            and self.prompt.is_comparable(self.card)
            and self.max_length == self.card.max_length
        )

    def subject(self, task: Task[ContentT]) -> Subject:
        """Return what a run of this task is a run of."""
        return Subject(
            card=self.card.name,
            title=" ".join(filter(None, (self.card.title, task.part))),
            task=self.card.task,
            mapping=task.mapping,
            split=self.split,
            model=self.model,
            labels=task.labels,
            part=task.part,
            method=self.method.name,
            train=self.train,
            seed=self.recipe.training_seed if self.recipe else None,
        )

    def score(self, table: PairTable) -> Scored:
        """Return the log-odds of a table's pairs; with an output folder they go to disk as they come."""
        return self.engine.score(table, self.files.open if self.files else None)

    def announce(self, task: Task[ContentT], count: int) -> None:
        """Print what runs on what, `count` pairs, and where a short position table makes that another run."""
        sample = " (bundled sample)" if self.data.sample else ""
        on = " on openvino" if self.options.backend == "openvino" else ""
        print(
            f"{self.card.title} {self.split}{sample}: {task.size} = {count} {UNIT_OF[self.method.output]},"
            f" {task.prompt.shown}, {self.model}, {self.engine.words}{on}"
        )
        length, wanted = self.max_length, self.card.max_length
        if length < wanted and not self.options.max_length:
            print(f"{self.model} has positions for {length} tokens, fewer than {self.card.title}'s {wanted}")
