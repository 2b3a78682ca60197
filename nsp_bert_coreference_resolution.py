r"""Zero-shot coreference: CLUEWSC, by the two-stage prompt and samples-contrast with the NSP head.

The text with the question what the pronoun means (e.g. 上文中他是指) is one segment, the span the other; thresholds
that cut the dev scores into equal parts turn the test scores into true and false. --stages 1 puts question and span
together.

Published with uer-mixed-bert-base, test_public, thresholds (arXiv:2109.03564): CLUEWSC 59.43. The paper's Table 12 says
suffix (the span last), the authors' released code uses prefix: --prompt-position runs either. To compare:

  python nsp_bert_coreference_resolution.py --model uer-mixed-bert-base \
    --output results --batch-curve

Cost in pairs (dev and test rows): 1,135.
"""

from __future__ import annotations

import nsp_bert.start  # noqa: F401

from nsp_bert.cards import CoreferenceCard
from nsp_bert.cli import make_parser, parse_options
from nsp_bert.methods.contrast import contrast
from nsp_bert.methods.ranking import Ranking
from nsp_bert.options import Options
from nsp_bert.results.published import paper_number
from nsp_bert.runner import Runner
from nsp_bert.tasks import CoreferenceTask
from nsp_bert.terminal import run_main
from utils import load_dev_and_test


def main(arguments: list[str] | None) -> int:
    return run(parse_options(make_parser(__doc__, CoreferenceCard).parse_args(arguments)))


def run(options: Options) -> int:
    with Runner(options, CoreferenceCard, __file__) as runner:
        for session in runner:
            card = session.card
            task = CoreferenceTask(card, session.prompt, session.encoder, load_dev_and_test(session))
            as_printed = session.prompt.number == len(card.templates) and session.prompt.stages == 2
            mapping = "thresholds" if as_printed else None
            published = paper_number(card.name, session.published_model, session.split, mapping=mapping)
            ranking = Ranking(len(task.labels), options.seeds if options.batch_curve else None)
            runner.add(session, ranking.added_to(contrast(task, session, published, ranking.undecided)))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
