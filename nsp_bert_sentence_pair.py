"""Zero-shot sentence pairs: OCNLI, BUSTM, CSL, by samples-contrast with the NSP head.

Every pair gets one score; thresholds that cut the dev scores into equal parts turn the test scores into labels. The
ranking of all rows, which needs no dev, stands beside it, and with --batch-curve the ranking inside batches.

Published with uer-mixed-bert-base, test_public, thresholds (arXiv:2109.03564): OCNLI 37.38, BUSTM 63.43, CSL 64.41.
To compare, with the checkpoint in models/uer-mixed-bert-base and the FewCLUE files in datasets/fewclue:

  python nsp_bert_sentence_pair.py --model uer-mixed-bert-base --output results --batch-curve

Cost in pairs (dev and test rows): OCNLI 2,680, BUSTM 1,932, CSL 2,998.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial

from nsp_bert.cards import SentencePairCard
from nsp_bert.cli import make_parser, run_datasets, run_main
from nsp_bert.prompting import Prompting
from nsp_bert.results import Run
from nsp_bert.samples_contrast import add_curve_options, contrast_dataset
from nsp_bert.scorer import EncodedPair
from nsp_bert.session import Session
from utils import SentencePair, encode_sentence_pairs, load_examples, make_pair_encoder


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "sentence-pair")
    add_curve_options(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    return run_datasets(parse_arguments(arguments), run_dataset)


def run_dataset(card: SentencePairCard, session: Session) -> list[Run]:
    encoder = make_pair_encoder(session.checkpoint, session.max_length(card))

    def encode(pairs: list[SentencePair], _template: None) -> Iterator[EncodedPair]:
        return encode_sentence_pairs(encoder, pairs, session.options.prompt_position, card.protect_prompt)

    load = partial(load_examples, card, session.data.folder)
    return [contrast_dataset(card, session, load, Prompting(encode))]


if __name__ == "__main__":
    run_main(main)
