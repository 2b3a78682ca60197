"""Shared tokenization and data loaders: files -> examples.

A dataset is described by one card, `datasets/cards/NAME.yaml`; nothing here knows a dataset by name. Only scripts
import this module: inside the package a `utils` of the user's own project would take its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nsp_bert.cards import Card, EntityLinkingCard
from nsp_bert.contents import EntityMention, parse_row, some, text_of
from nsp_bert.errors import UnsuitableError, UserError
from nsp_bert.files import Row
from nsp_bert.rows import Example, FewShotRows, Rows, dev_split, read_json_lines, read_table, train_split
from nsp_bert.session import Session
from nsp_bert.tasks import DevAndTest
from nsp_bert.tokenization import load_tokenizer as load_tokenizer
from nsp_bert.tokenization import make_pair_encoder as make_pair_encoder


def read_rows(card: Card, path: Path) -> Iterator[tuple[str, Row]]:
    """Yield (place, row) of a file in the format that the card names."""
    if card.format == "json-lines":
        return read_json_lines(path)
    return read_table(path, card.columns, "\t" if card.format == "tsv" else ",")


def load_examples(card: Card, data_dir: Path, split: str) -> list[Example[Any]]:
    """Return the rows of a split in file order. Raises UserError naming file and line."""
    path = split_path(card, data_dir, split)
    examples: list[Example[Any]] = []
    for index, (place, row) in enumerate(read_rows(card, path)):
        content, labels = parse_row(card, place, row)
        label = row.get(card.fields.label)
        if label is not None and str(label) not in labels:
            raise UserError(f"{place}: unknown label {label!r}; {card.title} has {some(labels)}")
        if examples and (label is None) != (examples[0].label is None):
            raise UserError(f'{place}: "{card.fields.label}" must be in every row or in none')
        row_id = row.get(card.fields.id, row.get("id"))
        cluster = row.get(card.clusters) if card.clusters else None
        examples.append(Example(index, row_id, content, None if label is None else str(label), cluster))
    if not examples:
        raise UserError(f"{path}: holds no rows")
    return examples


def load_training(card: Card, data_dir: Path, train: str) -> list[Example[Any]]:
    """Return the rows of `train_<train>`. Raises UserError naming the file, where rows have no label too."""
    examples = load_examples(card, data_dir, train_split(train))
    if examples[0].label is None:
        path = split_path(card, data_dir, train_split(train))
        raise UserError(f"{path}: the rows have no labels, without which they teach nothing")
    return examples


def load_rows(session: Session[Any, Any]) -> Rows[Any]:
    """Return the rows of a session's split that are asked for. Raises UserError naming file and line."""
    return session.selection.choose(load_examples(session.card, session.folder, session.split))


def load_few_shot(session: Session[Any, Any]) -> FewShotRows[Any]:
    """Return the rows of a session's training set, of its dev set, and those of its split that are asked for.

    Raises UserError naming file and line, and for a split that is one of the two.
    """
    train = str(session.train)
    if session.split in (train_split(train), dev_split(train)):
        raise UserError(f"--split {session.split} teaches or chooses the epoch; report another split")
    return FewShotRows(
        load_training(session.card, session.folder, train),
        load_examples(session.card, session.folder, dev_split(train)),
        load_rows(session),
    )


def load_dev_and_test(session: Session[Any, Any]) -> DevAndTest[Any]:
    """Return the whole dev split of a session's dataset, and the rows of its split that are asked for.

    Raises UserError naming file and line, or where dev has fewer rows than there are labels.
    """
    card = session.card
    dev = load_examples(card, session.folder, card.dev_split)
    if len(dev) < len(card.label_values):
        raise UnsuitableError(
            f"{card.title} {card.dev_split}: {len(dev)} rows cannot teach the thresholds between"
            f" {len(card.label_values)} labels; fetch the whole file"
        )
    same = session.split == card.dev_split
    return DevAndTest(dev, session.selection.choose(dev) if same else load_rows(session), same)


def load_entity_mentions(card: EntityLinkingCard, data_dir: Path, split: str) -> list[Example[EntityMention]]:
    """Return the mentions of a split's texts, an example each, in file order; the id is the text's.

    A label is an entity's id or one of the card's types. Where the name is not at its offset it is searched: the
    offset only decides what a long text keeps. Raises UserError naming file and line.
    """
    path, fields = split_path(card, data_dir, split), card.fields
    examples: list[Example[EntityMention]] = []
    for place, row in read_json_lines(path):
        text, mentions = text_of(card, place, row, fields.text), row.get(fields.mentions)
        if not isinstance(mentions, list) or not all(isinstance(mention, dict) for mention in mentions):
            raise UserError(f'{place}: no "{fields.mentions}" with the mentions; is this a file of {card.title}?')
        for mention in mentions:
            name, label = text_of(card, place, mention, fields.name), mention.get(fields.label)
            offset = str(mention.get(fields.offset))
            if not name or not offset.isdecimal():
                raise UserError(f'{place}: the mention {name!r} has no name or no "{fields.offset}" (found {offset})')
            if isinstance(label, str) and label.startswith(card.nil_prefix) and label not in card.types:
                raise UserError(f"{place}: unknown type {label!r}; {card.title} has {some(list(card.types))}")
            if examples and (label is None) != (examples[0].label is None):
                raise UserError(f'{place}: "{fields.label}" must be with every mention or with none')
            in_place = text.startswith(name, int(offset))
            content = EntityMention(text, name, int(offset) if in_place else max(text.find(name), 0))
            examples.append(Example(len(examples), row.get(fields.id), content, None if label is None else str(label)))
    if not examples:
        raise UserError(f"{path}: holds no mentions")
    return examples


def split_path(card: Card, data_dir: Path, split: str) -> Path:
    """Return a split's file. Raises UserError when the folder, the dataset or the split is not there."""
    path = data_dir / card.path.format(split=split)
    if not data_dir.is_dir():
        raise UserError(f"{data_dir}: no such data folder; datasets/README.md tells how to fill one")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder, so no {card.title}; {card.source}")
    if not path.is_file():
        there = sorted(file.stem for file in path.parent.glob(f"*{path.suffix}"))
        raise UserError(f"{path}: no such file; the splits that are there: {', '.join(there) or 'none'}")
    return path
