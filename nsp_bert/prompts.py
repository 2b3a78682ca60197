"""Prompts of NSP-BERT: a card's templates, and where a prompt is; and rows without a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from nsp_bert.errors import UserError

Position = Literal["prefix", "suffix"]
Positions = Literal["hard", "soft"]
Stages = Literal[1, 2]


class Strict(BaseModel):
    """A part of a card: an unknown key or a wrong type is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Template(Strict):
    """A prompt with a `{}`; `words` replaces the card's label words for this template alone."""

    text: str
    words: dict[str, str] | None = None


class Templated(Protocol):
    """A card with templates and a place for the prompt."""

    position: Position

    @property
    def default_prompt(self) -> Prompt:
        """The prompt without any prompt option."""


@dataclass(frozen=True)
class Prompt:
    """One choice of every prompt option: where the prompt is, and what else the task asks for.

    `number` counts the card's templates from 1 and is None for a text of the user's own.
    """

    position: Position
    template: Template | None = None
    number: int | None = None
    stages: Stages | None = None
    positions: Positions | None = None

    @property
    def text(self) -> str:
        """The template's text, empty for a task without templates."""
        return self.template.text if self.template else ""

    @property
    def settings(self) -> dict[str, str | int | None]:
        """What a result file says of it."""
        template = {"template": self.template.text, "template_number": self.number} if self.template else {}
        return template | self.own | {"prompt_position": self.position}

    @property
    def own(self) -> dict[str, str | int | None]:
        """The options that are the task's own."""
        values = {"stages": self.stages, "positions": self.positions}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def shown(self) -> str:
        """The prompt in words."""
        return ", ".join([f"{self.position} {self.text}".strip(), *(f"{name} {one}" for name, one in self.own.items())])

    def is_default(self, card: Templated) -> bool:
        """Return whether it is the prompt without any prompt option."""
        return self == card.default_prompt

    def is_comparable(self, card: Templated) -> bool:
        """Return whether a published number, where one is known for its template, may be beside it."""
        return self.position == card.position


@dataclass(frozen=True)
class PlainPrompt:
    """No prompt: the order in which a row's own texts are read."""

    pattern: str

    @property
    def settings(self) -> dict[str, str | int | None]:
        """Nothing: there is no choice."""
        return {}

    @property
    def shown(self) -> str:
        """What is read, in words."""
        return f"no prompt, {self.pattern}"

    def is_default(self, _card: object) -> bool:
        """Return True: there is no other."""
        return True

    def is_comparable(self, _card: object) -> bool:
        """Return that no published number may be beside it: how many steps those were trained for is not said."""
        return False


def check_slot(key: str, text: str) -> None:
    """Raise ValueError unless `{}` is in a prompt exactly once."""
    if text.count("{}") != 1:
        raise ValueError(f"{key}: {text!r} must hold {{}} once")


def parse_template(text: str) -> Template:
    """Return a template from its text. Raises UserError unless `{}` is in it exactly once."""
    if text.count("{}") != 1:
        raise UserError(f"--template {text!r}: {{}} must stand in it once, where the label word goes")
    return Template(text=text)
