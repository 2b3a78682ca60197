"""Zero-shot classification of one sentence by label prompts: EPRSTMT, TNEWS, CSLDCP, IFLYTEK, or your own labels.

Every label becomes a prompt, every (prompt, text) pair is scored by the NSP head, the best-scored label wins
(candidates-contrast). Without arguments the bundled model runs on the bundled sample.

Published with uer-mixed-bert-base, template 3, test_public (arXiv:2109.03564, Table 12): EPRSTMT 86.89, TNEWS 51.00,
CSLDCP 47.59, IFLYTEK 41.62. To compare, with the checkpoint in models/uer-mixed-bert-base and the FewCLUE files in
datasets/fewclue:

  python nsp_bert_classification.py --model uer-mixed-bert-base --output results

Cost in pairs (rows x labels): EPRSTMT 1,220, TNEWS 30,150, CSLDCP 119,528, IFLYTEK 208,131.

Your own texts and labels:

  python nsp_bert_classification.py --labels 体育,财经,教育 --template '这是一则{}新闻' --text '主场三比一取胜'
  python nsp_bert_classification.py --labels 体育,财经 --template '{}新闻' --input texts.txt --output answers.jsonl
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from nsp_bert.answer_mapping import answer_by_candidates
from nsp_bert.candidates_contrast import contrast_candidates
from nsp_bert.cards import ClassificationCard, Position, Template, parse_template
from nsp_bert.checkpoint import open_checkpoint
from nsp_bert.cli import INTERRUPTED, make_loader, make_parser, run_datasets, run_main
from nsp_bert.errors import UserError
from nsp_bert.precision import choose_precision
from nsp_bert.prompting import Prompting
from nsp_bert.published import published_by_template
from nsp_bert.results import Answer, Run, prepare_output, rounded, write_json_lines
from nsp_bert.scorer import EncodedPair
from nsp_bert.session import Session
from utils import Example, encode_label_pairs, load_examples, make_pair_encoder, read_texts

DEFAULT_MAX_LENGTH = 128  # of your own texts


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "classification")
    own = parser.add_argument_group("your own texts")
    own.add_argument("--labels", metavar="A,B,C", help="label words, separated by commas")
    own.add_argument("--text", action="append", help="a text to classify; may be repeated")
    own.add_argument("--input", metavar="FILE", help="texts to classify, one a line; - reads standard input")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    if options.labels or options.text or options.input:
        return classify_own_texts(options)
    return run_datasets(options, classify_dataset)


def classify_dataset(card: ClassificationCard, session: Session) -> list[Run]:
    options, split = session.options, session.split(card)
    examples = load_examples(card, session.data.folder, split, options.limit)
    encoder = make_pair_encoder(session.checkpoint, session.max_length(card))

    def encode(texts: list[str], template: Template) -> Iterator[EncodedPair]:
        return encode_label_pairs(encoder, texts, card.prompts(template), options.prompt_position)

    number, template = card.template(options.template)
    return [
        contrast_candidates(
            card,
            session,
            examples,
            [list(card.labels)] * len(examples),
            Prompting(encode, number, template),
            f"{len(examples)} rows x {len(card.labels)} labels",
            published=published_by_template(card.name, session.checkpoint.name, number, split),
            details={"prompts": card.prompts(template)},
        )
    ]


def classify_own_texts(options: argparse.Namespace) -> int:
    labels = [label.strip() for label in (options.labels or "").split(",") if label.strip()]
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise UserError("--labels: two or more different labels are needed, e.g. --labels 体育,财经,教育")
    texts = (options.text or []) + (read_texts(options.input) if options.input else [])
    if not texts:
        raise UserError("no text to classify; give --text TEXT or --input FILE (one text a line, - for standard input)")
    if options.calibration:
        raise UserError("--calibration: stands beside a dataset's accuracy, which own texts do not have; leave it out")
    template = parse_template(options.template or "{}")
    position: Position = options.prompt_position or "prefix"
    if options.output:
        prepare_output(options.output.parent)
    checkpoint = open_checkpoint(options.model)
    encoder = make_pair_encoder(checkpoint, options.max_length or DEFAULT_MAX_LENGTH)
    print(
        f"{len(texts)} texts x {len(labels)} labels = {len(texts) * len(labels)} pairs, {position} {template.text},"
        f" {checkpoint.name}, {options.precision}"
    )
    prompts = [template.text.replace("{}", label) for label in labels]
    load_scorer, sizes = make_loader(options, checkpoint), [len(labels)] * len(texts)

    def pairs(count: int) -> Iterator[EncodedPair]:
        return encode_label_pairs(encoder, texts[:count], prompts, position)

    precision, _ = choose_precision(
        options.precision, load_scorer, pairs, sizes, lambda log_odds, count: log_odds.reshape(count, -1).argmax(1)
    )
    scores = load_scorer(precision).score(pairs(len(texts)), sum(sizes))
    examples = [Example(index, None, text, None) for index, text in enumerate(texts)]
    answers = answer_by_candidates(examples, [labels] * len(texts), scores.values)
    if options.output:
        rows = (
            {
                "index": one.index,
                "text": texts[one.index],
                "prediction": one.prediction,
                "scores": dict(zip(labels, rounded(one.scores), strict=True)),
            }
            for one in answers
        )
        write_json_lines(rows, options.output)
    else:
        print_answers(texts, labels, answers)
    return 0 if scores.complete else INTERRUPTED


def print_answers(texts: list[str], labels: list[str], answers: list[Answer]) -> None:
    table = Table(header_style="bold")
    for header in ("text", "answer", "log-odds per label, best first"):
        table.add_column(header, overflow="fold")
    for one in answers:
        ranked = sorted(zip(one.scores, labels, strict=True), key=lambda pair: -pair[0])
        table.add_row(texts[one.index], one.prediction, "  ".join(f"{label} {score:+.2f}" for score, label in ranked))
    Console().print(table)


if __name__ == "__main__":
    run_main(main)
