"""Dataset cards: every fact about a dataset, one YAML file each, validated."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, ClassVar, Literal, TypeVar, cast

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from typing_extensions import Self

from nsp_bert.errors import UserError, first_line, meant
from nsp_bert.files import DATASETS, load_yaml
from nsp_bert.patterns import MethodFacts
from nsp_bert.prompts import Position, Prompt, Strict, Template, check_slot, parse_template

CARDS = DATASETS / "cards"
SAMPLE_DIR = DATASETS / "sample"
CANDIDATES_CONTRAST, SAMPLES_CONTRAST = "candidates-contrast", "samples-contrast"  # paper, section 3.3


class Submission(Strict):
    """The leaderboard's file for a dataset: its name, the type of the id, and the key and type of the answer."""

    file: str
    id: Literal["string", "integer"]
    answer: str = "label"
    answer_type: Literal["string", "integer"] = "string"


class CardBase(MethodFacts):
    """What every card says. `position` is where the prompt is; `dev_split` teaches thresholds."""

    takes_templates: ClassVar[bool] = False  # templates are the task's prompts
    takes_stages: ClassVar[bool] = False  # the prompt may ask in one stage or in two
    takes_positions: ClassVar[bool] = False  # soft or hard position ids
    mapping: ClassVar[str] = CANDIDATES_CONTRAST
    script: ClassVar[str]  # that runs the datasets of the task

    name: str
    title: str
    task: str
    path: str = Field(pattern=r"^([^{}]|\{split\})+$", description="a split's file below the data folder, with {split}")
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
    templates: list[Template] = Field(default=[], description="prompts with {}; the last is the default")

    @property
    def other_files(self) -> tuple[str, ...]:
        """Paths below the data folder that a run reads beside its splits."""
        return ()

    @model_validator(mode="after")
    def _check_templates(self) -> Self:
        if bool(self.templates) != self.takes_templates:
            raise ValueError("templates: one at least" if self.takes_templates else "templates: the task has none")
        for template in self.templates:
            check_slot("templates", template.text)
        return self

    @property
    def default_prompt(self) -> Prompt:
        """The prompt without any prompt option."""
        number, template = self.template(None) if self.takes_templates else (None, None)
        return Prompt(
            self.position,
            template,
            number,
            stages=2 if self.takes_stages else None,
            positions="soft" if self.takes_positions else None,
        )

    def template(self, choice: str | None) -> tuple[int | None, Template]:
        """Return (number, template) for a number from 1, a text with `{}`, or None for the default (the last).

        The number is None for a text that is not one of the card's. Raises UserError for a choice that is neither.
        """
        if choice is None:
            return len(self.templates), self.templates[-1]
        if choice.removeprefix("-").isdecimal() and choice.isascii():
            if not 1 <= int(choice) <= len(self.templates):
                texts = ", ".join(f"{number} = {template.text}" for number, template in enumerate(self.templates, 1))
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


class ClassificationCard(CardBase):
    """One sentence and label prompts, by candidates-contrast."""

    takes_templates = True
    script = "nsp_bert_classification.py"
    slots = frozenset({"text"})
    plain_pattern = "{text}"
    described_slots = frozenset({"text", "label"})

    task: Literal["classification"]
    fields: ClassificationFields
    joiner: str = Field(default=". ", description="between several texts")
    labels: dict[str, str] = Field(min_length=2, description="label value -> label word (verbalizer), in score order")

    @property
    def label_values(self) -> tuple[str, ...]:
        """The label values."""
        return tuple(self.labels)

    @property
    def own_words(self) -> dict[str, str]:
        """The label words."""
        return self.labels

    @model_validator(mode="after")
    def _check_template_words(self) -> Self:
        for template in self.templates:
            if template.words is not None and list(template.words) != list(self.labels):
                raise ValueError(f"templates: the words of {template.text!r} must name the labels in their order")
        return self

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

    mapping = SAMPLES_CONTRAST
    script = "nsp_bert_sentence_pair.py"
    slots = frozenset({"text", "other"})
    plain_pattern = "{text}||{other}"
    described_slots = frozenset({"text", "other"})

    task: Literal["sentence-pair"]
    fields: PairFields
    labels: list[str] = Field(min_length=2)
    joiner: str = Field(default=",", description="between the texts of a list")
    protect_prompt: bool = False

    @property
    def label_values(self) -> tuple[str, ...]:
        """The labels, ascending."""
        return tuple(self.labels)


class CoreferenceFields(Strict):
    """Keys of a row; the spans' texts and offsets are in the object `target`."""

    text: str
    target: str
    span: str
    span_offset: str
    pronoun: str
    pronoun_offset: str
    label: str = "label"
    id: str = "id"


class CoreferenceCard(CardBase):
    """A pronoun and a span, by samples-contrast; `{}` of a template is where the pronoun goes."""

    takes_templates = True
    takes_stages = True
    mapping = SAMPLES_CONTRAST
    script = "nsp_bert_coreference_resolution.py"
    slots = frozenset({"text", "pronoun", "span"})
    plain_pattern = "{marked}"
    described_slots = frozenset({"marked", "pronoun", "span"})

    task: Literal["coreference"]
    fields: CoreferenceFields
    labels: list[str] = Field(min_length=2)

    @property
    def label_values(self) -> tuple[str, ...]:
        """The labels, ascending."""
        return tuple(self.labels)


class ClozeFields(Strict):
    """Keys of a row: a text with the blank, the candidates, the index of the right one."""

    text: str
    candidates: str
    label: str = "answer"
    id: str = "id"


class ClozeCard(CardBase):
    """A blank and its candidates, by candidates-contrast."""

    takes_positions = True
    script = "nsp_bert_cloze_style.py"
    slots = frozenset({"before", "after"})
    plain_pattern = "{before}{label}{after}"
    described_slots = frozenset({"before", "after", "label"})

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


class EntityLinkingCard(CardBase):
    """A mention and the entities of its name, or the types of what is not in the knowledge base; candidates-contrast.

    `{}` of a template is where the mention goes. A label that begins with `nil_prefix` is one of `types`.
    """

    takes_templates = True
    takes_stages = True
    script = "nsp_bert_entity_linking.py"

    task: Literal["entity-linking"]
    fields: MentionFields
    knowledge_base: KnowledgeBaseFile
    summary_prompt: str
    fact_prompt: str = Field(description="with {predicate} and {object}; where an entity has no summary")
    type_prompt: str
    nil_prefix: str
    types: dict[str, str] = Field(min_length=2, description="label value -> type word, in score order")
    other: str = Field(description="the type that is left out of the second accuracy")

    @property
    def other_files(self) -> tuple[str, ...]:
        """The knowledge base."""
        return (self.knowledge_base.path,)

    @model_validator(mode="after")
    def _check_prompts(self) -> Self:
        check_slot("summary_prompt", self.summary_prompt)
        check_slot("type_prompt", self.type_prompt)
        return self


Card = ClassificationCard | SentencePairCard | CoreferenceCard | ClozeCard | EntityLinkingCard
CardT = TypeVar("CardT", bound=Card)
Kind = type[CardT] | UnionType  # of cards: a class, or several of them, A | B
ADAPTER: TypeAdapter[Card] = TypeAdapter(Annotated[Card, Field(discriminator="task")])


def card_names(folder: Path | None = None) -> list[str]:
    """Return the names of the cards, those that cannot be read included."""
    return sorted(path.stem for path in (folder or CARDS).glob("*.yaml"))


def load_cards() -> list[Card]:
    """Return every card that can be read, by name; of each of the others a line on standard error tells, once."""
    cards: list[Card] = []
    for name in card_names():
        try:
            cards.append(load_card(name))
        except UserError as error:
            _tell_once(f"left out: {error}")
    return cards


@cache
def _tell_once(line: str) -> None:
    print(" ".join(line.split()), file=sys.stderr)


def cards_of(kind: Kind[CardT]) -> list[CardT]:
    """Return the cards of a kind, those with the fewest labels (the cheapest to score) first."""
    chosen = cast(list[CardT], [card for card in load_cards() if isinstance(card, kind)])
    return sorted(chosen, key=lambda card: (len(card.label_values), card.name))


def load_card(name: str, folder: Path | None = None) -> Card:
    """Return a validated card. Raises UserError naming the file and the key that is unknown, missing or mistyped."""
    known = card_names(folder)
    if name not in known:
        raise UserError(f"no dataset {name!r}: there are cards for {', '.join(known)}{meant(name, known)}")
    path = (folder or CARDS) / f"{name}.yaml"
    try:
        card = ADAPTER.validate_python(load_yaml(path))
    except ValidationError as error:
        raise UserError(f"{path}: {validation_reasons(error)}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not a YAML mapping ({' '.join(str(error).split())})") from error
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8, a date that is none, brackets in brackets
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from error
    if card.name != name:
        raise UserError(f"{path}: name: {card.name!r} must be the file's name, {name!r}")
    return card


def validation_reasons(error: ValidationError) -> str:
    """Return pydantic's findings as one line: key, what is wrong."""
    reasons = []
    for item in error.errors():
        place, reason = ".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, ")
        reasons.append(f"{place}: {reason}" if place else reason)
    return "; ".join(reasons)
