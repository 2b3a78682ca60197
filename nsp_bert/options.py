"""The options of a run as they were given, and what a method is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from nsp_bert.cards import Card, CardBase, CardT
from nsp_bert.checkpoints.model_cards import Head
from nsp_bert.checkpoints.soft_prompt import Insert
from nsp_bert.errors import UserError
from nsp_bert.method_prompts import Predict, PromptT, Reference, SoftHead
from nsp_bert.prompts import Position, Positions, Prompt, Stages
from nsp_bert.results.summary import NSP_BERT
from nsp_bert.rows import FIRST_SEED, Selection
from nsp_bert.scoring.outputs import Output

PREFIX_OR_SUFFIX: tuple[Position, ...] = ("prefix", "suffix")
ONE_OR_TWO: tuple[Stages, ...] = (1, 2)
HARD_OR_SOFT: tuple[Positions, ...] = ("hard", "soft")
ValueT = TypeVar("ValueT")


class Recipe(BaseModel):
    """How a method is trained.

    A step takes as many rows as have at most `step_pairs` pairs, `step_rows` at most and one at least, and is computed
    in parts of about `part_tokens`. `warmup` is a share of all steps; with `decay` the rate then falls to 0. `encoder`,
    `insert` and `freeze` are about soft tokens. `demonstrations` are sets of training rows behind a row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = 10
    learning_rate: float = 1e-5
    step_rows: int = 8
    step_pairs: int = 128
    part_tokens: int = 4096
    training_precision: Literal["float32", "bfloat16"] = "float32"
    training_seed: int = 1
    loss: Literal["bce", "softmax", "product"] | None = None
    negatives: int | None = None
    ratio: Literal["1", "8", "all"] | None = None
    demonstrations: int | None = None
    encoder: Literal["lstm", "none"] | None = None
    insert: Insert | None = None
    freeze: bool | None = None
    weight_decay: float = 0.0
    warmup: float = 0.0
    decay: bool = False
    clip_norm: float = 0.0
    beta_2: float = 0.999
    epsilon: float = 1e-6

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result file says of it: all that the trained weights depend on."""
        values = self.model_dump(exclude={"part_tokens", "training_seed"}, exclude_none=True)
        return {name: str(value) for name, value in values.items()}


@dataclass(frozen=True)
class Recipes:
    """A method's recipe, and what it does otherwise on single datasets."""

    base: Recipe
    by_dataset: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, dataset: str, given: Mapping[str, object]) -> Recipe:
        """Return the recipe of a dataset, with what the command line says of it."""
        return self.base.model_copy(update={**self.by_dataset.get(dataset, {}), **given})

    def default(self, name: str) -> str:
        """Return the value of a field without options, in words."""
        others = {dataset: changed[name] for dataset, changed in self.by_dataset.items() if name in changed}
        shown = "".join(f", {dataset} {value:g}" for dataset, value in others.items())
        return f"{getattr(self.base, name):g}{shown}"


@dataclass(frozen=True)
class Method:
    """How scores are made: the name in result files, the heads that a checkpoint must have, what the model says."""

    name: str
    heads: tuple[Head, ...]
    output: Output
    recipes: Recipes | None = None

    @property
    def trained(self) -> bool:
        """Whether there is a run for each training set."""
        return self.recipes is not None

    @property
    def causal(self) -> bool:
        """Whether the model sees what is before a place alone, so that a causal language model will do."""
        return self.output == "causal"


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
    predict: Predict = "masks"
    train: tuple[str, ...] = ()
    prompt: PromptOptions = PromptOptions()
    recipe: dict[str, Any] = {}
    save: Path | None = None
    head: SoftHead = "masked"
    soft_prompt: Path | None = None

    @property
    def selection(self) -> Selection:
        """Which rows of a file are asked for. Raises UserError for a seed that draws nothing."""
        if self.seed is not None and not self.sample:
            raise UserError("--seed is about --sample; give both or none")
        return Selection(self.limit, self.sample, FIRST_SEED if self.seed is None else self.seed)
