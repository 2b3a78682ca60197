"""Dataset cards: every fact about a dataset, one YAML file each, validated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from nsp_bert.errors import UserError

DATASETS = Path(__file__).resolve().parent.parent / "datasets"
CARDS = DATASETS / "cards"
SAMPLE_DIR = DATASETS / "sample"

Position = Literal["prefix", "suffix"]


class Strict(BaseModel):
    """A part of a card: an unknown key or a wrong type is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Template(Strict):
    """A prompt with a `{}`; `words` replaces the card's label words for this template alone."""

    text: str
    words: dict[str, str] | None = None


class Submission(Strict):
    """The leaderboard's file for a dataset: its name, the type of the id, and the key and type of the answer."""

    file: str
    id: Literal["string", "integer"]
    answer: str = "label"
    answer_type: Literal["string", "integer"] = "string"


class CardBase(Strict):
    """What every card says. `position` is where the prompt stands; `dev_split` teaches thresholds."""

    name: str
    title: str
    path: str = Field(description="file of a split below the data folder, with {split}")
    data_dir: str = Field(default="fewclue", description="the data folder below datasets/ without --data-dir")
    source: str
    language: str = "zh"
    format: Literal["json-lines", "csv", "tsv"] = "json-lines"
    columns: list[str] | None = Field(default=None, description="of a csv or tsv file that does not name them itself")
    splits: list[str]
    split: str = Field(default="test_public", description="the split without --split")
    dev_split: str = "dev_few_all"
    clusters: str | None = Field(default=None, description="key of a row; rows of the same value are not independent")
    position: Position
    max_length: int = 128
    submission: Submission | None = None


class TemplateChoice:
    """The choice of `--template`, for cards with `templates`."""

    title: str
    templates: list[Template]

    def template(self, choice: str | None) -> tuple[int | None, Template]:
        """Return (number, template) for a number from 1, a text with `{}`, or None for the default (the last).

        The number is None for a text that is not one of the card's.
        """
        if choice is None:
            return len(self.templates), self.templates[-1]
        if choice.lstrip("-").isdigit():
            if not 1 <= int(choice) <= len(self.templates):
                texts = ", ".join(f"{number} = {one.text}" for number, one in enumerate(self.templates, 1))
                raise UserError(f"--template {choice}: {self.title} has templates {texts}; or give a text with {{}}")
            return int(choice), self.templates[int(choice) - 1]
        for number, template in enumerate(self.templates, 1):
            if template.text == choice:
                return number, template
        return None, parse_template(choice)


class ClassificationFields(Strict):
    """Keys of a row: `text`, or several joined, is what is classified; `label` and `id` may be absent from a row."""

    text: str | list[str]
    label: str = "label"
    id: str = "id"


class ClassificationCard(TemplateChoice, CardBase):
    """One sentence and label prompts, by candidates-contrast."""

    task: Literal["classification"]
    fields: ClassificationFields
    joiner: str = Field(default=". ", description="between several texts")
    labels: dict[str, str] = Field(min_length=2, description="label value -> label word (verbalizer), in score order")
    templates: list[Template] = Field(min_length=1, description="the last is the default")

    def prompts(self, template: Template) -> list[str]:
        """Return one prompt per label, in card order."""
        return [template.text.replace("{}", word) for word in (template.words or self.labels).values()]


class PairFields(Strict):
    """Keys of a row: `prompt` (a text or a list of texts) is the sentence in the prompt's place."""

    prompt: str
    text: str
    label: str = "label"
    id: str = "id"


class SentencePairCard(CardBase):
    """Two sentences, by samples-contrast: `labels` from the least to the most likely next sentence."""

    task: Literal["sentence-pair"]
    fields: PairFields
    labels: list[str] = Field(min_length=2)
    joiner: str = Field(default=",", description="between the texts of a list")
    protect_prompt: bool = False


class CoreferenceFields(Strict):
    """Keys of a row; the spans' texts and offsets stand in the object `target`."""

    text: str
    target: str
    span: str
    span_offset: str
    pronoun: str
    pronoun_offset: str
    label: str = "label"
    id: str = "id"


class CoreferenceCard(TemplateChoice, CardBase):
    """A pronoun and a span, by samples-contrast; `{}` of a template stands for the pronoun."""

    task: Literal["coreference"]
    fields: CoreferenceFields
    labels: list[str] = Field(min_length=2)
    templates: list[Template] = Field(min_length=1)


class ClozeFields(Strict):
    """Keys of a row: a text with the blank, the candidates, the index of the right one."""

    text: str
    candidates: str
    label: str = "answer"
    id: str = "id"


class ClozeCard(CardBase):
    """A blank and its candidates, by candidates-contrast."""

    task: Literal["cloze"]
    fields: ClozeFields
    blank: str


class MentionFields(Strict):
    """Keys of a row, and of the objects in its list `mentions`."""

    text: str
    mentions: str
    name: str
    offset: str
    label: str
    id: str


class KnowledgeBaseFile(Strict):
    """File of the entities below the data folder, and the keys of an entity; a fact has a predicate and an object."""

    path: str
    id: str
    name: str
    aliases: str
    facts: str
    predicate: str
    object: str
    summary: str = Field(description="the predicate whose object describes the entity")


class EntityLinkingCard(TemplateChoice, CardBase):
    """A mention and the entities of its name, or the types of what is not in the knowledge base; candidates-contrast.

    `{}` of a template stands for the mention. A label that begins with `nil_prefix` is one of `types`.
    """

    task: Literal["entity-linking"]
    fields: MentionFields
    knowledge_base: KnowledgeBaseFile
    templates: list[Template] = Field(min_length=1)
    summary_prompt: str
    fact_prompt: str = Field(description="with {predicate} and {object}; where an entity has no summary")
    type_prompt: str
    nil_prefix: str
    types: dict[str, str] = Field(min_length=2, description="label value -> type word, in score order")
    other: str = Field(description="the type that is left out of the second accuracy")


Card = ClassificationCard | SentencePairCard | CoreferenceCard | ClozeCard | EntityLinkingCard
ADAPTER: TypeAdapter[Any] = TypeAdapter(Annotated[Card, Field(discriminator="task")])


def parse_template(text: str) -> Template:
    """Return a template from its text. Raises UserError unless `{}` stands in it exactly once."""
    if text.count("{}") != 1:
        raise UserError(f"--template {text!r}: {{}} must stand in it once, where the label word goes")
    return Template(text=text)


def load_cards() -> list[Any]:
    """Return every card, by name."""
    return [load_card(path.stem) for path in sorted(CARDS.glob("*.yaml"))]


def card_names(task: str) -> list[str]:
    """Return the names of the cards of a task, those with the fewest labels (the cheapest to score) first."""
    chosen = [card for card in load_cards() if card.task == task]
    return [card.name for card in sorted(chosen, key=lambda card: (len(getattr(card, "labels", ())), card.name))]


def load_card(name: str, folder: Path = CARDS) -> Any:
    """Return a validated card. Raises UserError naming the file and the key that is unknown, missing or mistyped."""
    path = folder / f"{name}.yaml"
    try:
        card = ADAPTER.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        known = ", ".join(sorted(one.stem for one in folder.glob("*.yaml")))
        raise UserError(f"no dataset {name!r}: there are cards for {known}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {validation_reasons(error)}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not a YAML mapping ({' '.join(str(error).split())})") from error
    for key in ("summary_prompt", "type_prompt"):
        if getattr(card, key, "{}").count("{}") != 1:
            raise UserError(f"{path}: {key}: {getattr(card, key)!r} must hold {{}} once")
    for template in getattr(card, "templates", ()):
        if template.text.count("{}") != 1:
            raise UserError(f"{path}: templates: {template.text!r} must hold {{}} once")
        if template.words is not None and list(template.words) != list(card.labels):
            raise UserError(f"{path}: templates: the words of {template.text!r} must name the labels in their order")
    return card


def validation_reasons(error: ValidationError) -> str:
    """Return pydantic's findings as one line: key, what is wrong."""
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
