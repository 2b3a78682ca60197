"""Zero-shot cloze: ChID, the idiom that fits a blank, by candidates-contrast with the NSP head.

Soft positions (the default): the blank leaves the text and a candidate takes its position ids. Hard positions: the
blank stays as it is spelled and positions count on. A text that is too long keeps a window around the blank.

Published with uer-mixed-bert-base, test_public (arXiv:2109.03564): soft 52.00, hard 50.85. The paper's Table 12 says
suffix (the candidate last), the authors' released code uses prefix: --prompt-position runs either. To compare:

  python nsp_bert_cloze_style.py --model uer-mixed-bert-base --output results

Cost in pairs (rows x candidates): 14,014.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from nsp_bert.answer_mapping import candidates_contrast
from nsp_bert.cards import ClozeCard
from nsp_bert.cli import Session, make_parser, run_datasets, run_main
from nsp_bert.results import Answer, Run, published_by_positions, rounded
from utils import encode_clozes, load_examples, make_pair_encoder


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "cloze")
    parser.add_argument("--positions", choices=("soft", "hard"), default="soft", help="of a candidate (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    return run_datasets(parse_arguments(arguments), run_dataset)


def run_dataset(card: ClozeCard, session: Session) -> Run:
    options = session.options
    examples = load_examples(card, session.data.folder, options.split, options.limit)
    clozes = [example.content for example in examples]
    counts = [len(cloze.candidates) for cloze in clozes]
    session.announce(card, f"{len(examples)} rows x their candidates", sum(counts), f"{options.positions} positions")
    started = time.monotonic()
    encoder = make_pair_encoder(session.checkpoint, session.max_length(card))
    soft = options.positions == "soft"
    scores = session.scorer.score(encode_clozes(encoder, clozes, card.blank, session.position(card), soft), sum(counts))
    log_odds = np.split(scores.values, np.cumsum(counts)[:-1])
    best = candidates_contrast(log_odds)
    answers = [
        Answer(example.index, example.id, example.label, str(best[row]), rounded(log_odds[row]))
        for row, example in enumerate(examples)
        if not np.isnan(log_odds[row]).any()
    ]
    published = published_by_positions(options.positions, session.checkpoint.name, options.split)
    return Run(
        dataset=card.name,
        title=card.title,
        split=options.split,
        model=session.checkpoint.name,
        settings=session.settings(card, positions=options.positions),
        sample=session.data.sample,
        complete=scores.complete,
        answers=answers,
        published=published if scores.complete and session.as_published(card) else None,
        pairs=sum(len(answer.scores) for answer in answers),
        seconds=time.monotonic() - started,
    )


if __name__ == "__main__":
    run_main(main)
