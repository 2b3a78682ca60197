"""Zero-shot entity linking and typing: DuEL2.0, by the two-stage prompt and candidates-contrast with the NSP head.

Linking: the text with the question what the mention means (上文中…是指) is one segment, 这个词是指 with the summary
of an entity of that name (or without one its facts) the other; the best-scored entity is the answer. Typing: a mention
that no entity stands for gets one of 24 types (这个词是指一类…). --stages 1 leaves the question out.

Accuracy of linking counts every mention whose entity stands under its name in the knowledge base, as the paper does;
beside it stands that of the ambiguous mentions, which have more than one candidate. Typing is reported with and
without the type Other; without it, Other is not offered either.

Published with uer-mixed-bert-base on the 10,000 dev texts (arXiv:2109.03564), one and two stages: linking 61.16 and
69.66 (26,586 mentions), typing 31.35 and 40.04 (6,465 mentions). To compare, with the two
files in datasets/duel:

  python nsp_bert_entity_linking.py --model uer-mixed-bert-base --output results

Cost in pairs: mentions x entities of their name, and 155,160 for typing (6,465 x 24).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from nsp_bert.answer_mapping import candidates_contrast
from nsp_bert.candidates_contrast import contrast_candidates
from nsp_bert.cards import EntityLinkingCard, Template
from nsp_bert.cli import make_parser, run_datasets, run_main
from nsp_bert.errors import UserError
from nsp_bert.knowledge_base import KnowledgeBase, read_knowledge_base
from nsp_bert.prompting import Prompting
from nsp_bert.published import published_by_stages
from nsp_bert.results import Answer, Run, accuracy_of
from nsp_bert.scorer import EncodedPair
from nsp_bert.session import Session
from utils import EntityMention, Example, encode_entity_mentions, load_entity_mentions, make_pair_encoder


class Question(NamedTuple):
    """A mention with the descriptions that it is scored with: a prompt with `{}` and what stands in it."""

    mention: EntityMention
    descriptions: tuple[tuple[str, str], ...]

    def with_text(self, text: str) -> Question:
        """Return the same mention and descriptions with another text."""
        return self._replace(mention=self.mention.with_text(text))


class Kinds(NamedTuple):
    """Mentions sorted by what can be asked of them; `elsewhere`: the gold entity is not known under the name."""

    linking: list[Example]
    typing: list[Example]
    elsewhere: list[Example]
    unknown: list[Example]


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "entity-linking", {"stages": (1, 2)})
    parser.add_argument("--task", choices=("linking", "typing", "both"), default="both", help="default %(default)s")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    return run_datasets(parse_arguments(arguments), run_dataset)


def run_dataset(card: EntityLinkingCard, session: Session) -> list[Run]:
    folder, task = session.data.folder, session.options.task
    mentions = load_entity_mentions(card, folder, session.split(card), session.options.limit)
    names, labels = {one.content.name for one in mentions}, {one.label for one in mentions if one.label}
    base = read_knowledge_base(card, folder, names, labels)
    kinds = sort_mentions(card, mentions, base)
    runs = []
    if task != "typing" and kinds.linking:
        runs.append(link(card, session, kinds, base))
    if task != "linking" and kinds.typing and all(run.complete for run in runs):
        runs.append(assign_types(card, session, kinds.typing))
    if not runs:
        raise UserError(f"{card.title} {session.split(card)}: of {len(mentions)} mentions none is there for {task}")
    return [replace(run, parts=len(runs)) for run in runs]


def sort_mentions(card: EntityLinkingCard, mentions: list[Example], base: KnowledgeBase) -> Kinds:
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


def link(card: EntityLinkingCard, session: Session, kinds: Kinds, base: KnowledgeBase) -> Run:
    """Return the run of the linking mentions, with the accuracy of those that have more than one candidate."""
    names = [mention.content.name for mention in kinds.linking]
    entities = [base.candidates[name] for name in names]
    descriptions = [
        [entity.description(card, name) for entity in candidates]
        for name, candidates in zip(names, entities, strict=True)
    ]
    single = sum(len(candidates) == 1 for candidates in entities) / len(entities)
    details = {
        "entities": base.size,
        "single_candidate_share": single,
        "gold_not_under_that_name": len(kinds.elsewhere),
        "gold_not_in_knowledge_base": len(kinds.unknown),
    }
    note = (
        f"{100 * single:.1f} % of the mentions have a single candidate; left out are {len(kinds.elsewhere)} whose"
        f" entity is not known under that name and {len(kinds.unknown)} whose entity the knowledge base lacks"
    )
    ids = [[entity.id for entity in candidates] for candidates in entities]
    return run_part(
        card,
        session,
        "linking",
        kinds.linking,
        ids,
        descriptions,
        ("ambiguous", ambiguous),
        details=details,
        notes=(note,),
    )


def assign_types(card: EntityLinkingCard, session: Session, mentions: list[Example]) -> Run:
    """Return the run of the typing mentions, with the accuracy without the type Other."""
    types = [list(card.types)] * len(mentions)
    descriptions = [[(card.type_prompt, word) for word in card.types.values()]] * len(mentions)
    second = ("without_other", partial(without_type, card.other, types[0]))
    return run_part(card, session, "typing", mentions, types, descriptions, second, labels=tuple(card.types))


def run_part(
    card: EntityLinkingCard,
    session: Session,
    part: str,
    mentions: list[Example],
    candidates: list[list[str]],
    descriptions: list[list[tuple[str, str]]],
    second: tuple[str, Callable[[list[Answer]], list[Answer]]],
    **more: Any,
) -> Run:
    """Score every mention with each of its descriptions; `second` names another accuracy and the answers it counts."""
    options, split = session.options, session.split(card)
    encoder = make_pair_encoder(session.checkpoint, session.max_length(card))

    def encode(questions: list[Question], template: Template) -> Iterator[EncodedPair]:
        asked, offered = [one.mention for one in questions], [one.descriptions for one in questions]
        return encode_entity_mentions(encoder, asked, offered, template.text, options.prompt_position, options.stages)

    prompting = Prompting(encode, *card.template(options.template))
    published = published_by_stages(part, options.stages, session.checkpoint.name, split)
    run = contrast_candidates(
        card,
        session,
        mentions,
        candidates,
        prompting,
        f"{part} of {len(mentions)} mentions x their candidates",
        contents=[Question(one.content, tuple(few)) for one, few in zip(mentions, descriptions, strict=True)],
        more=[
            {"mention": mention.content.name, "candidates": names}
            for mention, names in zip(mentions, candidates, strict=True)
        ],
        part=part,
        published=published if prompting.number else None,
        **more,
    )
    name, choose = second
    accuracy = accuracy_of(choose(run.answers))
    return replace(run, extra={f"accuracy_{name}": accuracy} | run.extra) if accuracy else run


def ambiguous(answers: list[Answer]) -> list[Answer]:
    """Return the answers that had more than one candidate."""
    return [one for one in answers if len(one.scores) > 1]


def without_type(other: str, types: list[str], answers: list[Answer]) -> list[Answer]:
    """Return the answers to the mentions that are not of a type, that type not being offered either."""
    kept = [place for place, name in enumerate(types) if name != other]
    chosen = [one for one in answers if one.label != other]
    best = candidates_contrast(one.scores[kept] for one in chosen)
    return [replace(one, prediction=types[kept[place]]) for one, place in zip(chosen, best, strict=True)]


if __name__ == "__main__":
    run_main(main)
