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
from functools import partial

from nsp_bert.cards import CoreferenceCard
from nsp_bert.cli import Session, make_parser, run_datasets, run_main
from nsp_bert.results import Run
from nsp_bert.samples_contrast import add_curve_options, contrast_dataset
from utils import encode_mentions, load_examples, make_pair_encoder


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "coreference", {"stages": (1, 2)})
    add_curve_options(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    return run_datasets(parse_arguments(arguments), run_dataset)


def run_dataset(card: CoreferenceCard, session: Session) -> list[Run]:
    options = session.options
    number, template = card.template(options.template)
    encoder = make_pair_encoder(session.checkpoint, session.max_length(card))
    encode = partial(
        encode_mentions, encoder, template=template.text, position=options.prompt_position, stages=options.stages
    )
    load = partial(load_examples, card, session.data.folder)
    prompt = {"template": template.text, "template_number": number}
    published_prompt = number == len(card.templates) and options.stages == 2
    return [contrast_dataset(card, session, load, encode, prompt, published_prompt)]


if __name__ == "__main__":
    run_main(main)
