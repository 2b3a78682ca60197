"""Everything that is needed to score one dataset under one choice of options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from nsp_bert.answer_mapping import Predictions
from nsp_bert.cards import SAMPLE_DIR, Card, CardBase, CardT
from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.checkpoints.model_cards import Head
from nsp_bert.errors import UserError
from nsp_bert.files import DATASETS
from nsp_bert.patterns import AnyPrompt, PromptT, Reference
from nsp_bert.prompts import Position, Positions, Prompt, Stages, Template
from nsp_bert.results.runs import Subject
from nsp_bert.results.summary import NSP_BERT, Fingerprint
from nsp_bert.rows import FIRST_SEED, ContentT, Example, Selection
from nsp_bert.scoring.backends import load_backend
from nsp_bert.scoring.distributed import load_ray
from nsp_bert.scoring.exact import Engine, PairTable, Scored
from nsp_bert.scoring.outputs import UNIT_OF, Output
from nsp_bert.scoring.score_files import ScoreFiles
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import EncodedPair, PairEncoder, make_pair_encoder

PREFIX_OR_SUFFIX: tuple[Position, ...] = ("prefix", "suffix")
ONE_OR_TWO: tuple[Stages, ...] = (1, 2)
HARD_OR_SOFT: tuple[Positions, ...] = ("hard", "soft")
ValueT = TypeVar("ValueT")
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


@dataclass(frozen=True)
class Method:
    """How scores are made: the name in result files, the heads that a checkpoint must have, what the model says."""

    name: str
    heads: tuple[Head, ...]
    output: Output


ZERO_SHOT = Method(NSP_BERT, ("encoder", "pooler", "NSP"), "next-sentence")


class PromptOptions(BaseModel):
    """The prompt options as they were given: None is the dataset's own value, with `ablate` every value in turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str | None = None
    prompt_position: Position | None = None
    stages: Stages | None = None
    positions: Positions | None = None
    ablate: bool = False

    def prompts(self, card: CardBase) -> Iterator[Prompt]:
        """Yield the prompts to run. Raises UserError for a template that the card does not have."""
        default = card.default_prompt
        numbers = tuple(str(number) for number in range(1, len(card.templates) + 1))
        for template, position, stages, positions in product(
            self._values(self.template, numbers, numbers[-1] if numbers else None),
            self._values(self.prompt_position, PREFIX_OR_SUFFIX, card.position),
            self._values(self.stages, ONE_OR_TWO, default.stages),
            self._values(self.positions, HARD_OR_SOFT, default.positions),
        ):
            number, chosen = (None, None) if template is None else card.template(template)
            yield Prompt(position or card.position, chosen, number, stages, positions)

    def _values(
        self, given: ValueT | None, every: tuple[ValueT, ...], default: ValueT | None
    ) -> tuple[ValueT | None, ...]:
        """Return the values of an option to run; a card that does not take it has no default."""
        if default is None:
            return (None,)
        return (given,) if given is not None else every if self.ablate else (default,)

    def missing(self, _card: CardBase) -> str:
        """Return nothing: every card has a prompt."""
        return ""

    def card(self, card: CardT) -> CardT:
        """Return the card as it is."""
        return card

    def folder(self, prompt: Prompt) -> str:
        """Return the folder of a prompt's run below `--output`: none, but with `ablate` one that tells what varies."""
        if not self.ablate:
            return ""
        chosen = {
            "prompt_position": None if self.prompt_position else prompt.position,
            "template": None if self.template else prompt.number,
            "stages": None if self.stages else prompt.stages,
            "positions": None if self.positions else prompt.positions,
        }
        return ".".join(f"{name}-{value}" for name, value in chosen.items() if value is not None)


class Choices(Protocol[PromptT]):
    """The prompts that a method is to be run with."""

    def missing(self, card: Card) -> str:
        """Return what the card lacks for the method, in a line; empty where nothing."""

    def prompts(self, card: Card) -> Iterator[PromptT]:
        """Yield the prompts to run. Raises UserError for what the card does not have."""

    def card(self, card: CardT) -> CardT:
        """Return a card with what the method replaces of it."""

    def folder(self, prompt: PromptT) -> str:
        """Return the folder of a prompt's run below `--output`."""


class Options(BaseModel):
    """The command line of a script, parsed; --help says what each option means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    dataset: tuple[str, ...] | None = None
    data_dir: Path | None = None
    split: str | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int | None = None
    max_length: int | None = None
    precision: str = "float32"
    backend: str = "tensorflow"
    batch_tokens: int | None = None
    distributed: str | None = None
    workers: int | None = None
    output: Path | None = None
    resume: bool = False
    overwrite: bool = False
    verbose: bool = False
    submission: Path | None = None
    calibration: tuple[str, ...] = ()
    batch_curve: bool = False
    seeds: int = 5
    part: Literal["linking", "typing", "both"] = "both"
    words: str | None = None
    topic: Literal["1", "2", "none"] = "1"
    reference: Reference = "nearest"
    whitening: int | None = None
    train: tuple[str, ...] = ()
    prompt: PromptOptions = PromptOptions()

    @property
    def selection(self) -> Selection:
        """Which rows of a file are asked for. Raises UserError for a seed that draws nothing."""
        if self.seed is not None and not self.sample:
            raise UserError("--seed is about --sample; give both or none")
        return Selection(self.limit, self.sample, FIRST_SEED if self.seed is None else self.seed)


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

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.data.folder

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
            "train": " ".join(options.train),
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
