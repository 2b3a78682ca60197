"""Zero-shot cloze: ChID, the idiom that fits a blank, by candidates-contrast with the NSP head.

Soft positions (the default): the blank leaves the text and a candidate takes its position ids. Hard positions: the
blank stays as it is spelled and positions count on. A text that is too long keeps a window around the blank.

Published with uer-mixed-bert-base, test_public (arXiv:2109.03564): soft 52.00, hard 50.85. The paper's Table 12 says
suffix (the candidate last), the authors' released code uses prefix: --prompt-position runs either. To compare:

  python nsp_bert_cloze_style.py --model uer-mixed-bert-base --output results

Cost in pairs (rows x candidates): 14,014.
"""

from __future__ import annotations

from nsp_bert.answer_mapping import answer_by_candidates
from nsp_bert.cards import ClozeCard
from nsp_bert.cli import Session, make_parser, run_datasets, run_main
from nsp_bert.published import published_by_positions
from nsp_bert.results import Run
from utils import encode_clozes, load_examples, make_pair_encoder


def main(arguments: list[str] | None) -> int:
    return run_datasets(
        make_parser(__doc__, "cloze", {"positions": ("hard", "soft")}).parse_args(arguments), run_dataset
    )


def run_dataset(card: ClozeCard, session: Session) -> list[Run]:
    options, split = session.options, session.split(card)
    examples = load_examples(card, session.data.folder, split, options.limit)
    clozes = [example.content for example in examples]
    candidates = [[str(index) for index in range(len(cloze.candidates))] for cloze in clozes]
    total = sum(map(len, candidates))
    session.announce(card, f"{len(examples)} rows x their candidates", total, {})
    encoder = make_pair_encoder(session.checkpoint, session.max_length(card))
    soft = options.positions == "soft"
    pairs = encode_clozes(encoder, clozes, card.blank, options.prompt_position, soft)
    scores = session.scorer.score(pairs, total)
    answers = answer_by_candidates(examples, candidates, scores.values)
    published = published_by_positions(options.positions, session.checkpoint.name, split)
    return [session.result(card, answers, scores, settings={}, published=published)]


if __name__ == "__main__":
    run_main(main)
