"""Zero-shot cloze: ChID, the idiom that fits a blank, by candidates-contrast with the NSP head.

Soft positions (the default): the blank leaves the text and a candidate takes its position ids. Hard positions: the
blank stays as it is spelled and positions count on. A text that is too long keeps a window around the blank.

Published with uer-mixed-bert-base, test_public (arXiv:2109.03564): soft 52.00, hard 50.85. The paper's Table 12 says
suffix (the candidate last), the authors' released code uses prefix: --prompt-position runs either. To compare:

  python nsp_bert_cloze_style.py --model uer-mixed-bert-base --output results

Cost in pairs (rows x candidates): 14,014.
"""

from __future__ import annotations

from collections.abc import Iterator

from nsp_bert.candidates_contrast import contrast_candidates
from nsp_bert.cards import ClozeCard
from nsp_bert.cli import make_parser, run_datasets, run_main
from nsp_bert.prompting import Prompting
from nsp_bert.published import published_by_positions
from nsp_bert.results import Run
from nsp_bert.scorer import EncodedPair
from nsp_bert.session import Session
from utils import Cloze, encode_clozes, load_examples, make_pair_encoder


def main(arguments: list[str] | None) -> int:
    return run_datasets(
        make_parser(__doc__, "cloze", {"positions": ("hard", "soft")}).parse_args(arguments), run_dataset
    )


def run_dataset(card: ClozeCard, session: Session) -> list[Run]:
    options, split = session.options, session.split(card)
    examples = load_examples(card, session.data.folder, split, options.limit)
    encoder = make_pair_encoder(session.checkpoint, session.max_length(card))

    def encode(clozes: list[Cloze], _template: None) -> Iterator[EncodedPair]:
        return encode_clozes(encoder, clozes, card.blank, options.prompt_position, options.positions == "soft")

    return [
        contrast_candidates(
            card,
            session,
            examples,
            [[str(index) for index in range(len(example.content.candidates))] for example in examples],
            Prompting(encode),
            f"{len(examples)} rows x their candidates",
            published=published_by_positions(options.positions, session.checkpoint.name, split),
        )
    ]


if __name__ == "__main__":
    run_main(main)
