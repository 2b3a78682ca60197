"""Shared tokenization and data loaders: files -> examples -> encoded pairs.

A dataset is described by one card, `datasets/cards/NAME.yaml`; nothing here knows a dataset by name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nsp_bert.checkpoint import load_vocabulary
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError
from nsp_bert.scorer import EncodedPair

DATASETS = Path(__file__).resolve().parent / "datasets"
SPECIALS_PER_PAIR = 3  # [CLS], [SEP], [SEP]
SAMPLE_DIR = DATASETS / "sample"
DEFAULT_DATA_DIR = DATASETS / "fewclue"

Tokenize = Callable[[str], list[int]]
Position = Literal["prefix", "suffix"]


class Template(BaseModel):
    """A prompt with a `{}` for the label word; `words` replaces the card's label words for this template alone."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str
    words: dict[str, str] | None = None


class Fields(BaseModel):
    """The keys of a row: `text` is what is classified; `label` and `id` may be absent from a row."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str
    label: str = "label"
    id: str = "id"


class Card(BaseModel):
    """A dataset's facts, one YAML file each (`datasets/README.md` explains every key)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    title: str
    task: Literal["classification"]
    path: str = Field(description="file of a split below the data folder, with {split}")
    source: str
    splits: list[str]
    fields: Fields
    labels: dict[str, str] = Field(min_length=2, description="label value -> label word (verbalizer), in score order")
    templates: list[Template] = Field(min_length=1, description="the last is the default")
    position: Position

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

    def prompts(self, template: Template) -> list[str]:
        """Return one prompt per label, in card order."""
        return [template.text.replace("{}", word) for word in (template.words or self.labels).values()]


def parse_template(text: str) -> Template:
    """Return a template from its text. Raises UserError unless `{}` stands in it exactly once."""
    if text.count("{}") != 1:
        raise UserError(f"--template {text!r}: {{}} must stand in it once, where the label word goes")
    return Template(text=text)


def card_names(task: str) -> list[str]:
    """Return the names of the cards of a task, those with the fewest labels (the cheapest to score) first."""
    cards = [load_card(path.stem) for path in (DATASETS / "cards").glob("*.yaml")]
    return [card.name for card in sorted(cards, key=lambda card: (len(card.labels), card.name)) if card.task == task]


def load_card(name: str, folder: Path = DATASETS / "cards") -> Card:
    """Return a validated card. Raises UserError naming the file and the key that is unknown, missing or mistyped."""
    path = folder / f"{name}.yaml"
    try:
        card = Card(**yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        known = ", ".join(sorted(one.stem for one in folder.glob("*.yaml")))
        raise UserError(f"no dataset {name!r}: there are cards for {known}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {validation_reasons(error)}") from error
    except (yaml.YAMLError, TypeError) as error:
        raise UserError(f"{path}: not a YAML mapping ({' '.join(str(error).split())})") from error
    for template in card.templates:
        if template.text.count("{}") != 1:
            raise UserError(f"{path}: templates: {template.text!r} must hold {{}} once")
        if template.words is not None and list(template.words) != list(card.labels):
            raise UserError(f"{path}: templates: the words of {template.text!r} must name the labels in their order")
    return card


def validation_reasons(error: ValidationError) -> str:
    """Return pydantic's findings as one line: key, what is wrong."""
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())


@dataclass(frozen=True)
class Example:
    """One row of a split: `index` counts from 0 in file order; `label` is a label value of the card, or None."""

    index: int
    id: Any
    text: str
    label: str | None


def read_json_lines(path: Path, limit: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, object) of a UTF-8 JSON-lines file, place being `file:line` for messages; blank lines are skipped.

    Lines end with LF or CRLF alone: U+2028 and the like stand inside real texts. Raises UserError with the place.
    """
    shown = f"{path.parent.name}/{path.name}"
    try:
        with path.open("rb") as stream:
            lines = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
            for number, line in islice(lines, limit):
                place = f"{shown}:{number}"
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                row = json.loads(text)
                if not isinstance(row, dict):
                    raise UserError(f"{place}: not a JSON object; the file must hold one object a line")
                yield place, row
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; datasets/README.md tells where the data come from") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{shown}:{number}: not UTF-8 ({error.reason}); fetch the file again or convert it") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{shown}:{number}: broken JSON ({error.msg}, column {error.colno}); mend the line") from error


def load_examples(card: Card, data_dir: Path, split: str, limit: int | None = None) -> list[Example]:
    """Return the first `limit` rows of a split in file order. Raises UserError naming file and line."""
    path = split_path(card, data_dir, split)
    examples: list[Example] = []
    for index, (place, row) in enumerate(read_json_lines(path, limit)):
        text = row.get(card.fields.text)
        if not isinstance(text, str):
            raise UserError(f'{place}: no "{card.fields.text}" with a text; is this a file of {card.title}?')
        label = row.get(card.fields.label)
        if label is not None and str(label) not in card.labels:
            raise UserError(f"{place}: unknown label {label!r}; {card.title} has {_some(list(card.labels))}")
        if examples and (label is None) != (examples[0].label is None):
            raise UserError(f'{place}: "{card.fields.label}" must stand in every row or in none')
        examples.append(Example(index, row.get(card.fields.id), text, None if label is None else str(label)))
    if not examples:
        raise UserError(f"{path}: holds no rows")
    return examples


def read_texts(source: str) -> list[str]:
    """Return the non-blank lines of a UTF-8 file, or of standard input for `-`. Raises UserError with the line."""
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise UserError(f"--input {source}: cannot be read ({error.strerror})") from error
    texts = []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise UserError(f"--input {source}:{number}: not UTF-8 ({error.reason}); convert the file") from error
        if text:
            texts.append(text)
    return texts


def split_path(card: Card, data_dir: Path, split: str) -> Path:
    """Return a split's file. Raises UserError when the folder, the dataset or the split is not there."""
    path = data_dir / card.path.format(split=split)
    if not data_dir.is_dir():
        raise UserError(f"{data_dir}: no such data folder; datasets/README.md tells how to fill one")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder, so no {card.title}; {card.source}")
    if not path.is_file():
        there = sorted(one.stem for one in path.parent.glob(f"*{path.suffix}"))
        raise UserError(f"{path}: no such file; --split can be {', '.join(there) or 'nothing: the folder is empty'}")
    return path


def _some(values: list[str]) -> str:
    return ", ".join(values[:8]) + (f" … ({len(values)} labels)" if len(values) > 8 else "")


def load_tokenizer(vocab_path: Path, do_lower_case: bool = True) -> Tokenize:
    """Return text -> token ids by bert4keras' WordPiece tokenizer, without [CLS] and [SEP].

    Special tokens that are spelled out in a text stay plain text.
    """
    import_tensorflow()
    from bert4keras.tokenizers import Tokenizer

    tokenizer = Tokenizer(load_vocabulary(vocab_path), do_lower_case=do_lower_case, token_start=None, token_end=None)
    return lambda text: tokenizer.tokens_to_ids(tokenizer.tokenize(text))


@dataclass(frozen=True)
class Part:
    """A run of token ids in a segment; `cut` names the end it may be shortened from, None protects it."""

    token_ids: list[int]
    cut: Literal["left", "right"] | None = None

    def shortened(self, length: int) -> list[int]:
        """Return the `length` token ids that stay."""
        return self.token_ids[len(self.token_ids) - length :] if self.cut == "left" else self.token_ids[:length]


@dataclass(frozen=True)
class PairEncoder:
    """Assembles [CLS] first [SEP] second [SEP] within `max_length` tokens; protected parts are never shortened."""

    cls_id: int
    sep_id: int
    max_length: int

    def encode(self, first: list[Part], second: list[Part]) -> EncodedPair:
        """Return the pair, the longest parts that may be cut being shortened until it fits.

        Raises UserError when the protected parts alone are too long.
        """
        kept = self._kept_lengths([*first, *second])
        token_ids = [self.cls_id]
        for part, length in zip(first, kept, strict=False):
            token_ids += part.shortened(length)
        token_ids.append(self.sep_id)
        first_length = len(token_ids)
        for part, length in zip(second, kept[len(first) :], strict=True):
            token_ids += part.shortened(length)
        token_ids.append(self.sep_id)
        return EncodedPair(token_ids, first_length)

    def _kept_lengths(self, parts: list[Part]) -> list[int]:
        lengths = [len(part.token_ids) for part in parts]
        surplus = sum(lengths) + SPECIALS_PER_PAIR - self.max_length
        flexible = [index for index, part in enumerate(parts) if part.cut]
        protected = sum(lengths) + SPECIALS_PER_PAIR - sum(lengths[index] for index in flexible)
        if protected > self.max_length:
            raise UserError(
                f"the prompt alone takes {protected} tokens, more than --max-length {self.max_length};"
                " shorten the template or raise it"
            )
        while surplus > 0:
            longest = max(flexible, key=lambda index: lengths[index])
            others = [lengths[index] for index in flexible if index != longest]
            lead = lengths[longest] - max(others, default=0)
            step = min(surplus, max(lead, 1))
            lengths[longest] -= step
            surplus -= step
        return lengths


def make_pair_encoder(vocab_path: Path, max_length: int) -> PairEncoder:
    """Return an encoder with the vocabulary's [CLS] and [SEP]."""
    vocabulary = load_vocabulary(vocab_path)
    return PairEncoder(vocabulary["[CLS]"], vocabulary["[SEP]"], max_length)


def encode_label_pairs(
    texts: list[str], prompts: list[str], tokenize: Tokenize, encoder: PairEncoder, position: Position
) -> Iterator[EncodedPair]:
    """Yield len(texts) * len(prompts) pairs, all prompts of a text in turn; each text and prompt is tokenised once.

    `prefix` puts the prompt first, `suffix` the text (paper, section 3). A text may be cut at its right end.
    """
    prompt_parts = [[Part(tokenize(prompt))] for prompt in prompts]
    for text in texts:
        text_part = [Part(tokenize(text), cut="right")]
        for prompt_part in prompt_parts:
            pair = (prompt_part, text_part) if position == "prefix" else (text_part, prompt_part)
            yield encoder.encode(*pair)
