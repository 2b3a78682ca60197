"""Zero-shot entity linking and typing: DuEL2.0, by the two-stage prompt and candidates-contrast with the NSP head.

Linking: the text with the question what the mention means (上文中…是指) is one segment, 这个词是指 with the summary
of an entity of that name (or without one its facts) the other; the best-scored entity is the answer. Typing: a mention
with no entity in the knowledge base gets one of 24 types (这个词是指一类…). --stages 1 leaves the question out.

Accuracy of linking counts every mention whose entity is under its name in the knowledge base, as the paper does;
beside it is that of the ambiguous mentions, which have more than one candidate. Typing is reported with and
without the type Other; without it, Other is not offered either.

Published with uer-mixed-bert-base on the 10,000 dev texts (arXiv:2109.03564), one and two stages: linking 61.16 and
69.66 (26,586 mentions), typing 31.35 and 40.04 (6,465 mentions). To compare, with the two
files in datasets/duel:

  python nsp_bert_entity_linking.py --model uer-mixed-bert-base --output results

Cost in pairs: mentions x entities of their name, and 155,160 for typing (6,465 x 24).
"""

from __future__ import annotations

import nsp_bert.start  # noqa: F401

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from nsp_bert.answer_mapping import candidates_contrast
from nsp_bert.cards import EntityLinkingCard
from nsp_bert.cli import make_parser, parse_options
from nsp_bert.contents import EntityMention, Question
from nsp_bert.errors import UserError
from nsp_bert.knowledge_base import Kinds, KnowledgeBase, read_knowledge_base, sort_mentions
from nsp_bert.methods.contrast import contrast
from nsp_bert.options import Options
from nsp_bert.results.published import Published, paper_number
from nsp_bert.results.runs import Answer, Run, accuracy_of
from nsp_bert.rows import Example, Rows
from nsp_bert.runner import Runner
from nsp_bert.session import Session
from nsp_bert.tasks import EntityTask
from nsp_bert.terminal import run_main
from utils import load_entity_mentions

LINKING: Literal["linking"] = "linking"
TYPING: Literal["typing"] = "typing"


def main(arguments: list[str] | None) -> int:
    parser = make_parser(__doc__, EntityLinkingCard)
    parser.add_argument(
        "--task", dest="part", choices=(LINKING, TYPING, "both"), default="both", help="which of the two is run"
    )
    return run(parse_options(parser.parse_args(arguments)))


def run(options: Options) -> int:
    with Runner(options, EntityLinkingCard, __file__) as runner:
        for session in runner:
            every = load_entity_mentions(session.card, session.folder, session.split)
            chosen = session.selection.choose(every, "mentions")
            mentions = chosen.examples
            names = {mention.content.name for mention in mentions}
            labels = {str(mention.label) for mention in mentions}
            base = read_knowledge_base(session.card, session.folder, names, labels)
            kinds = sort_mentions(session.card, mentions, base)
            runs = []
            if options.part != TYPING and kinds.linking:
                runs.append(link(session, kinds, base, chosen.number))
            if options.part != LINKING and kinds.typing and all(linked.complete for linked in runs):
                runs.append(assign_types(session, kinds.typing, chosen.number))
            if not runs:
                title = f"{session.card.title} {session.split}"
                raise UserError(f"{title}: of {len(mentions)} mentions none is there for {options.part}")
            runner.add(session, *runs)
        return runner.finish()


def link(session: Session[EntityLinkingCard], kinds: Kinds, base: KnowledgeBase, number: str) -> Run:
    """Return the run of the linking mentions, with the accuracy of those that have more than one candidate."""
    entities = [base.candidates[mention.content.name] for mention in kinds.linking]
    questions = [
        ask(mention, [entity.description(session.card, mention.content.name) for entity in candidates])
        for mention, candidates in zip(kinds.linking, entities, strict=True)
    ]
    ids = [[entity.id for entity in candidates] for candidates in entities]
    task = EntityTask(session.card, session.prompt, session.encoder, Rows(questions, number), LINKING, ids)
    scored = contrast(task, session, published_number(session, LINKING))
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
    scored = replace(scored, details=scored.details.model_copy(update=details), notes=(note, *scored.notes))
    return with_accuracy(scored, "ambiguous", [answer for answer in scored.answers if len(answer.scores) > 1])


def assign_types(session: Session[EntityLinkingCard], mentions: list[Example[EntityMention]], number: str) -> Run:
    """Return the run of the typing mentions, with the accuracy without the type Other."""
    card = session.card
    descriptions = [(card.type_prompt, word) for word in card.types.values()]
    questions = [ask(mention, descriptions) for mention in mentions]
    types = [list(card.types)] * len(mentions)
    task = EntityTask(card, session.prompt, session.encoder, Rows(questions, number), TYPING, types)
    scored = contrast(task, session, published_number(session, TYPING))
    return with_accuracy(scored, "without_other", without_type(card.other, list(card.types), scored.answers))


def ask(mention: Example[EntityMention], descriptions: Sequence[tuple[str, str]]) -> Example[Question]:
    """Return the mention as the question which of these descriptions fits it."""
    content = Question(mention.content, tuple(descriptions))
    return Example(mention.index, mention.id, content, mention.label, mention.cluster)


def published_number(session: Session[EntityLinkingCard], part: str) -> Published | None:
    """Return the paper's number of a part, None for a template that is not the card's."""
    prompt = session.prompt
    stages = prompt.stages if prompt.number else None
    return paper_number(session.card.name, session.published_model, session.split, part=part, stages=stages)


def with_accuracy(scored: Run, name: str, answers: list[Answer]) -> Run:
    """Return a run with another accuracy beside the headline, that of some answers."""
    accuracy = accuracy_of(answers)
    return replace(scored, extra={f"accuracy_{name}": accuracy} | scored.extra) if accuracy else scored


def without_type(left_out: str, types: list[str], answers: list[Answer]) -> list[Answer]:
    """Return the answers to the mentions that are not of a type, that type not being offered either."""
    kept = [place for place, name in enumerate(types) if name != left_out]
    chosen = [answer for answer in answers if answer.label != left_out]
    best = candidates_contrast(answer.scores[kept] for answer in chosen)
    return [replace(answer, prediction=types[kept[place]]) for answer, place in zip(chosen, best, strict=True)]


if __name__ == "__main__":
    run_main(main)
