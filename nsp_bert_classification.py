r"""Zero-shot classification of one sentence by label prompts: EPRSTMT, TNEWS, CSLDCP, IFLYTEK, or your own labels.

Every label becomes a prompt, every (prompt, text) pair is scored by the NSP head, the best-scored label wins
(candidates-contrast). Without arguments the bundled model runs on the bundled sample.

Published with uer-mixed-bert-base, template 3, test_public (arXiv:2109.03564, Table 12): EPRSTMT 86.89, TNEWS 51.00,
CSLDCP 47.59, IFLYTEK 41.62. To compare, with the checkpoint in models/uer-mixed-bert-base and the FewCLUE files in
datasets/fewclue:

  python nsp_bert_classification.py --model uer-mixed-bert-base --output results

Cost in pairs (rows x labels): EPRSTMT 1,220, TNEWS 30,150, CSLDCP 119,528, IFLYTEK 208,131.

Your own texts and labels:

  python nsp_bert_classification.py --labels 体育,财经,教育 \
    --template '这是一则{}新闻' --text '主场三比一取胜'
  python nsp_bert_classification.py --labels 体育,财经 --template '{}新闻' \
    --input texts.txt --output answers.jsonl
  python nsp_bert_classification.py --labels 体育,财经=金融 \
    --template '{}新闻' --input texts.csv --label-column label

--input takes csv, tsv and jsonl, else a text a line; - is standard input, and --output - standard output. Answers are
JSON lines with the line number of the file. --labels may name a file with a label a line.
"""

from __future__ import annotations

import nsp_bert.start  # noqa: F401

import argparse
from dataclasses import replace

from nsp_bert.cards import ClassificationCard
from nsp_bert.cli import make_parser, parse_options
from nsp_bert.methods.contrast import contrast
from nsp_bert.options import Options
from nsp_bert.own_texts import OwnTexts, classify_own_texts
from nsp_bert.results.published import paper_number
from nsp_bert.runner import Runner
from nsp_bert.tasks import ClassificationTask
from nsp_bert.terminal import run_main
from nsp_bert.zero_shot import MAX_LENGTH
from utils import load_rows

OWN_OPTIONS = ("labels", "text", "input", "text_column", "label_column")
OWN_TEXTS = f"""Answers are shown, or go to --output FILE (- prints them). Options of a dataset's files do not
apply. --prompt-position is prefix, --template {{}} and --max-length {MAX_LENGTH} where they are not given."""


def main(arguments: list[str] | None) -> int:
    parser = make_parser(__doc__, ClassificationCard, own_texts=True)
    own = parser.add_argument_group("your own texts", OWN_TEXTS)
    own.add_argument(
        "--labels",
        metavar="A,B=WORD,C",
        help="labels, each with a prompt word where that differs; or a file, one a line (default: the dataset's)",
    )
    own.add_argument(
        "--text", action="append", help="a text to classify; may be repeated (default: none, datasets are run)"
    )
    own.add_argument(
        "--input",
        metavar="FILE",
        help="texts to classify: csv, tsv, jsonl, else one a line; - reads standard input (default: none)",
    )
    own.add_argument("--text-column", metavar="NAME", help="of a csv, tsv or jsonl file (default: text, else sentence)")
    own.add_argument(
        "--label-column", metavar="NAME", help="of such a file with labels: also print the accuracy (default: none)"
    )
    given = vars(parser.parse_args(arguments))
    texts = OwnTexts(**{name: given.pop(name) for name in OWN_OPTIONS})
    options = parse_options(argparse.Namespace(**given))
    return classify_own_texts(texts, options) if texts.given else run(options)


def run(options: Options) -> int:
    with Runner(options, ClassificationCard, __file__) as runner:
        for session in runner:
            card = session.card
            task = ClassificationTask(card, session.prompt, session.encoder, load_rows(session))
            published = paper_number(card.name, session.published_model, session.split, template=session.prompt.number)
            scored = contrast(task, session, published)
            runner.add(session, replace(scored, details=scored.details.model_copy(update={"prompts": task.prompts})))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
