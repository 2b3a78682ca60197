r"""Zero-shot sentence pairs: OCNLI, BUSTM, CSL, by samples-contrast with the NSP head.

Every pair gets one score; thresholds that cut the dev scores into equal parts turn the test scores into labels. The
ranking of all rows, which needs no dev, is shown beside it, and with --batch-curve the ranking inside batches.

Published with uer-mixed-bert-base, test_public, thresholds (arXiv:2109.03564): OCNLI 37.38, BUSTM 63.43, CSL 64.41.
To compare, with the checkpoint in models/uer-mixed-bert-base and the FewCLUE files in datasets/fewclue:

  python nsp_bert_sentence_pair.py --model uer-mixed-bert-base \
    --output results --batch-curve

Cost in pairs (dev and test rows): OCNLI 2,680, BUSTM 1,932, CSL 2,998.
"""

from __future__ import annotations

import nsp_bert.start  # noqa: F401

from nsp_bert.cards import SentencePairCard
from nsp_bert.cli import make_parser, parse_options
from nsp_bert.methods.contrast import contrast
from nsp_bert.methods.ranking import Ranking
from nsp_bert.options import Options
from nsp_bert.results.published import paper_number
from nsp_bert.runner import Runner
from nsp_bert.tasks import SentencePairTask
from nsp_bert.terminal import run_main
from utils import load_dev_and_test


def main(arguments: list[str] | None) -> int:
    return run(parse_options(make_parser(__doc__, SentencePairCard).parse_args(arguments)))


def run(options: Options) -> int:
    with Runner(options, SentencePairCard, __file__) as runner:
        for session in runner:
            card = session.card
            task = SentencePairTask(card, session.prompt, session.encoder, load_dev_and_test(session))
            published = paper_number(card.name, session.published_model, session.split, mapping="thresholds")
            ranking = Ranking(len(task.labels), options.seeds if options.batch_curve else None)
            runner.add(session, ranking.added_to(contrast(task, session, published, ranking.undecided)))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
