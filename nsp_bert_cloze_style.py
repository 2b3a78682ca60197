"""Zero-shot cloze: ChID, the idiom that fits a blank, by candidates-contrast with the NSP head.

Soft positions (the default): the blank leaves the text and a candidate takes its position ids. Hard positions: the
blank stays as it is spelled and positions count on. A text that is too long keeps a window around the blank.

Published with uer-mixed-bert-base, test_public (arXiv:2109.03564): soft 52.00, hard 50.85. The paper's Table 12 says
suffix (the candidate last), the authors' released code uses prefix: --prompt-position runs either. To compare:

  python nsp_bert_cloze_style.py --model uer-mixed-bert-base --output results

Cost in pairs (rows x candidates): 14,014.
"""

from __future__ import annotations

import nsp_bert.start  # noqa: F401

from nsp_bert.cards import ClozeCard
from nsp_bert.cli import make_parser, parse_options
from nsp_bert.methods.contrast import contrast
from nsp_bert.options import Options
from nsp_bert.results.published import paper_number
from nsp_bert.runner import Runner
from nsp_bert.tasks import ClozeTask
from nsp_bert.terminal import run_main
from utils import load_rows


def main(arguments: list[str] | None) -> int:
    return run(parse_options(make_parser(__doc__, ClozeCard).parse_args(arguments)))


def run(options: Options) -> int:
    with Runner(options, ClozeCard, __file__) as runner:
        for session in runner:
            task = ClozeTask(session.card, session.prompt, session.encoder, load_rows(session))
            name, positions = session.card.name, session.prompt.positions
            published = paper_number(name, session.published_model, session.split, positions=positions)
            runner.add(session, contrast(task, session, published))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
