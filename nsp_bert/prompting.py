"""How a task's contents become encoded pairs, and under which template."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from nsp_bert.cards import Template
from nsp_bert.scorer import EncodedPair


@dataclass(frozen=True)
class Prompting:
    """`encode(contents, template)` yields the pairs of each content in turn.

    The template is None for tasks without any; `number` counts a card's from 1 and is None for the user's own.
    """

    encode: Callable[[list[Any], Any], Iterable[EncodedPair]]
    number: int | None = None
    template: Template | None = None

    def pairs(self, contents: list[Any]) -> Iterable[EncodedPair]:
        """Yield the pairs of these contents under the run's own template."""
        return self.encode(contents, self.template)

    @property
    def settings(self) -> dict[str, Any]:
        """Return what a result file says of the template."""
        return {"template": self.template.text, "template_number": self.number} if self.template else {}
