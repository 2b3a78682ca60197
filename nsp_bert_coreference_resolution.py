"""Zero-shot coreference: CLUEWSC, by the two-stage prompt and samples-contrast with the NSP head.

The text with the question what the pronoun means (e.g. 上文中他是指) is one segment, the span the other; thresholds
that cut the dev scores into equal parts turn the test scores into true and false. --stages 1 puts question and span
together.

Published with uer-mixed-bert-base, test_public, thresholds (arXiv:2109.03564): CLUEWSC 59.43. The paper's Table 12 says
suffix (the span last), the authors' released code uses prefix: --prompt-position runs either. To compare:

  python nsp_bert_coreference_resolution.py --model uer-mixed-bert-base --output results --batch-curve

Cost in pairs (dev and test rows): 1,135.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial

from nsp_bert.cards import CoreferenceCard, Template
from nsp_bert.cli import make_parser, run_datasets, run_main
from nsp_bert.prompting import Prompting
from nsp_bert.results import Run
from nsp_bert.samples_contrast import add_curve_options, contrast_dataset
from nsp_bert.scorer import EncodedPair
from nsp_bert.session import Session
from utils import Mention, encode_mentions, load_examples, make_pair_encoder


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "coreference", {"stages": (1, 2)})
    add_curve_options(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    return run_datasets(parse_arguments(arguments), run_dataset)


def run_dataset(card: CoreferenceCard, session: Session) -> list[Run]:
    options = session.options
    encoder = make_pair_encoder(session.checkpoint, session.max_length(card))

    def encode(mentions: list[Mention], template: Template) -> Iterator[EncodedPair]:
        return encode_mentions(encoder, mentions, template.text, options.prompt_position, options.stages)

    prompting = Prompting(encode, *card.template(options.template))
    load = partial(load_examples, card, session.data.folder)
    published_prompt = prompting.number == len(card.templates) and options.stages == 2
    return [contrast_dataset(card, session, load, prompting, published_prompt)]


if __name__ == "__main__":
    run_main(main)
