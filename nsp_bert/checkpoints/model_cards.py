"""The facts of the known models, models/cards.yaml: what a checkpoint holds, its licence, where it comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nsp_bert.cards import validation_reasons
from nsp_bert.errors import UserError
from nsp_bert.files import MODELS, load_yaml

DEFAULT_MODEL = "nsp_bert_mini"
Head = Literal["encoder", "pooler", "MLM", "NSP", "classifier"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Archive(_Strict):
    """A zip with a checkpoint in the original TensorFlow format."""

    kind: Literal["archive"]
    url: str
    sha256: str | None = None
    format: Literal["tensorflow"]

    @property
    def where(self) -> str:
        """The address."""
        return self.url


class HuggingFace(_Strict):
    """A repository of Hugging Face, at a commit, or on a branch where no commit is known."""

    kind: Literal["huggingface"]
    repository: str
    revision: str
    format: Literal["pytorch"]

    @property
    def where(self) -> str:
        """The repository, as its makers are used to name it."""
        return f"{self.repository} on Hugging Face"


class ModelCard(_Strict):
    """A model's facts, one entry of models/cards.yaml; models/README.md explains the keys."""

    title: str
    organisation: str
    language: str
    do_lower_case: bool
    layers: int
    hidden: int
    heads_count: int
    parameters: float
    heads: list[Head]
    causal: bool = False
    licence: str
    sources: list[Annotated[Archive | HuggingFace, Field(discriminator="kind")]]
    by_hand: str | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _has_a_way(self) -> ModelCard:
        if not self.sources and not self.by_hand:
            raise ValueError("neither sources nor by_hand say where it comes from")
        return self

    def remedy(self, name: str) -> str:
        """Return what a user without the files does: the download command, or what to do by hand."""
        return f"get it with: python models/download.py {name}" if self.sources else str(self.by_hand)


def load_model_cards() -> dict[str, ModelCard]:
    """Return models/cards.yaml, validated. Raises UserError naming the entry and the key."""
    path = MODELS / "cards.yaml"
    cards = {}
    for name, entry in load_yaml(path).items():
        try:
            cards[name] = ModelCard.model_validate(entry)
        except ValidationError as error:
            raise UserError(f"{path}: {name}: {validation_reasons(error)}") from error
    return cards
