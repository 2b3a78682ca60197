"""The entities that a text's mentions may mean, read from a knowledge base of any size as a stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from nsp_bert.cards import EntityLinkingCard, KnowledgeBaseFile
from nsp_bert.contents import EntityMention
from nsp_bert.errors import UserError
from nsp_bert.files import Row
from nsp_bert.rows import Example, read_json_lines


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity: its summary where it has one, and its other facts (predicate, object)."""

    id: str
    summary: str
    facts: tuple[tuple[str, str], ...]

    def description(self, card: EntityLinkingCard, mention: str) -> tuple[str, str]:
        """Return (prompt with `{}`, what fills it), without the mention's name, which every candidate shares.

        The summary where there is one, else the facts (paper, Table 12).
        """
        if self.summary or not self.facts:
            return card.summary_prompt, self.summary.replace(mention, "")
        facts = (card.fact_prompt.format(predicate=predicate, object=value) for predicate, value in self.facts)
        return "{}", "".join(facts)


@dataclass(frozen=True)
class KnowledgeBase:
    """The entities of each name asked for, in the order of the file, and which of the ids asked for it holds."""

    candidates: dict[str, list[Entity]]
    ids: frozenset[str]
    size: int


def read_knowledge_base(card: EntityLinkingCard, data_dir: Path, names: set[str], ids: set[str]) -> KnowledgeBase:
    """Read the whole file and keep the entities whose subject or one of whose aliases is among `names`.

    Raises UserError naming file and line.
    """
    keys, path = card.knowledge_base, data_dir / card.knowledge_base.path
    candidates: dict[str, list[Entity]] = {}
    held: set[str] = set()
    size = 0
    total = path.stat().st_size if path.is_file() else None
    with tqdm(total=total, desc="knowledge base", unit="B", unit_scale=True, dynamic_ncols=True, delay=1) as bar:
        for place, row in read_json_lines(path, advance=bar.update):
            size += 1
            entity_id, entity_names = _identity(keys, place, row)
            if entity_id in ids:
                held.add(entity_id)
            wanted = [name for name in entity_names if name in names]
            if wanted:
                entity = _entity(keys, place, entity_id, row)
                for name in wanted:
                    candidates.setdefault(name, []).append(entity)
    if not size:
        raise UserError(f"{path}: holds no entities")
    return KnowledgeBase(candidates, frozenset(held), size)


def _identity(keys: KnowledgeBaseFile, place: str, row: Row) -> tuple[str, list[str]]:
    """Return the id and the different names of an entity, in the order of the file."""
    entity_id, subject, aliases = row.get(keys.id), row.get(keys.name), row.get(keys.aliases)
    if not isinstance(entity_id, str) or not isinstance(subject, str):
        raise UserError(f'{place}: no "{keys.id}" and "{keys.name}" with texts; is this a knowledge base of DuEL2.0?')
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise UserError(f'{place}: "{keys.aliases}" is not a list of texts')
    return entity_id, list(dict.fromkeys([subject, *aliases]))


def _entity(keys: KnowledgeBaseFile, place: str, entity_id: str, row: Row) -> Entity:
    summary, facts = "", []
    rows = row.get(keys.facts)
    if not isinstance(rows, list):
        raise UserError(f'{place}: "{keys.facts}" is not a list')
    for fact in rows:
        predicate, value = (fact.get(keys.predicate), fact.get(keys.object)) if isinstance(fact, dict) else (None, None)
        if not isinstance(predicate, str) or not isinstance(value, str):
            raise UserError(f'{place}: an entry of "{keys.facts}" has no "{keys.predicate}" and "{keys.object}"')
        if predicate != keys.summary:
            facts.append((predicate, value))
        elif not summary:
            summary = value.strip()
    return Entity(entity_id, summary, tuple(facts))


class Kinds(NamedTuple):
    """Mentions sorted by what can be asked of them; `elsewhere`: the gold entity is not known under the name."""

    linking: list[Example[EntityMention]]
    typing: list[Example[EntityMention]]
    elsewhere: list[Example[EntityMention]]
    unknown: list[Example[EntityMention]]


def sort_mentions(card: EntityLinkingCard, mentions: list[Example[EntityMention]], base: KnowledgeBase) -> Kinds:
    """Sort by the gold label; without labels, what has candidates is linked and what has none is typed."""
    kinds = Kinds([], [], [], [])
    for mention in mentions:
        candidates = base.candidates.get(mention.content.name, [])
        if mention.label in card.types or (mention.label is None and not candidates):
            kinds.typing.append(mention)
        elif mention.label is None or any(entity.id == mention.label for entity in candidates):
            kinds.linking.append(mention)
        elif mention.label in base.ids:
            kinds.elsewhere.append(mention)
        else:
            kinds.unknown.append(mention)
    return kinds
