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
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from nsp_bert.answer_mapping import candidates_contrast
from nsp_bert.checkpoint import Checkpoint
from nsp_bert.cli import DEFAULT_MAX_LENGTH, INTERRUPTED, Data, choose_data, make_parser, open_model, run_main
from nsp_bert.errors import UserError
from nsp_bert.results import (
    Answer,
    Run,
    find_published,
    prepare_output,
    print_table,
    rounded,
    write_json_lines,
    write_run,
)
from nsp_bert.scorer import Scorer, Scores
from utils import (
    DEFAULT_DATA_DIR,
    SAMPLE_DIR,
    Card,
    Example,
    Position,
    card_names,
    encode_label_pairs,
    load_card,
    load_examples,
    load_tokenizer,
    make_pair_encoder,
    parse_template,
    read_texts,
)

TASK = "classification"


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__ or "", card_names(TASK), DEFAULT_DATA_DIR)
    own = parser.add_argument_group("your own texts")
    own.add_argument("--labels", metavar="A,B,C", help="label words, separated by commas")
    own.add_argument("--text", action="append", help="a text to classify; may be repeated")
    own.add_argument("--input", metavar="FILE", help="texts to classify, one a line; - reads standard input")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    if options.labels or options.text or options.input:
        return classify_own_texts(options)
    data = choose_data(options.data_dir, DEFAULT_DATA_DIR, SAMPLE_DIR)
    cards = [load_card(name) for name in options.dataset]
    if options.output:
        prepare_output(options.output)
    checkpoint = open_model(options)
    scorer = Scorer(checkpoint, options.precision, options.batch_tokens)
    runs: list[Run] = []
    for card in cards:
        runs.append(classify_dataset(card, data, checkpoint, scorer, options))
        if options.output:
            write_run(runs[-1], options.output)
        if not runs[-1].complete:
            break
    print_table(runs)
    return 0 if runs[-1].complete else INTERRUPTED


def classify_dataset(
    card: Card, data: Data, checkpoint: Checkpoint, scorer: Scorer, options: argparse.Namespace
) -> Run:
    examples = load_examples(card, data.folder, options.split, options.limit)
    number, template = card.template(options.template)
    position = options.prompt_position or card.position
    prompts = card.prompts(template)
    print(
        f"{card.title} {options.split}{' (bundled sample)' if data.sample else ''}: {len(examples)} rows x"
        f" {len(prompts)} labels = {len(examples) * len(prompts)} pairs, {position} {template.text},"
        f" {checkpoint.name}, {options.precision}"
    )
    started = time.monotonic()
    scores = score_prompts([example.text for example in examples], prompts, position, checkpoint, scorer, options)
    seconds = time.monotonic() - started
    log_odds = scores.values.reshape(len(examples), len(prompts))
    answers = answer(examples, list(card.labels), log_odds)
    as_published = (
        scores.complete
        and not (data.sample or options.limit)
        and position == card.position
        and options.max_length == DEFAULT_MAX_LENGTH
    )
    return Run(
        dataset=card.name,
        title=card.title,
        split=options.split,
        model=checkpoint.name,
        settings={
            "template": template.text,
            "template_number": number,
            "prompt_position": position,
            "max_length": options.max_length,
            "precision": options.precision,
            "limit": options.limit,
        },
        sample=data.sample,
        complete=scores.complete,
        answers=answers,
        published=find_published(card.name, checkpoint.name, number, options.split) if as_published else None,
        pairs=len(answers) * len(prompts),
        seconds=seconds,
    )


def score_prompts(
    texts: list[str],
    prompts: list[str],
    position: Position,
    checkpoint: Checkpoint,
    scorer: Scorer,
    options: argparse.Namespace,
) -> Scores:
    """Score every text against every prompt, all prompts of a text in turn."""
    tokenize = load_tokenizer(checkpoint.vocab_path, checkpoint.do_lower_case)
    encoder = make_pair_encoder(checkpoint.vocab_path, options.max_length)
    pairs = encode_label_pairs(texts, prompts, tokenize, encoder, position)
    return scorer.score(pairs, len(texts) * len(prompts))


def answer(examples: list[Example], labels: list[str], log_odds: np.ndarray) -> list[Answer]:
    """Return the answers of the examples whose candidates are all scored: log_odds float32 (examples, labels)."""
    best = candidates_contrast(log_odds)
    return [
        Answer(example.index, example.id, example.label, labels[best[row]], rounded(log_odds[row]))
        for row, example in enumerate(examples)
        if not np.isnan(log_odds[row]).any()
    ]


def classify_own_texts(options: argparse.Namespace) -> int:
    labels = [label.strip() for label in (options.labels or "").split(",") if label.strip()]
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise UserError("--labels: two or more different labels are needed, e.g. --labels 体育,财经,教育")
    texts = (options.text or []) + (read_texts(options.input) if options.input else [])
    if not texts:
        raise UserError("no text to classify; give --text TEXT or --input FILE (one text a line, - for standard input)")
    template = parse_template(options.template or "{}")
    position: Position = options.prompt_position or "prefix"
    if options.output:
        prepare_output(options.output.parent)
    checkpoint = open_model(options)
    print(
        f"{len(texts)} texts x {len(labels)} labels = {len(texts) * len(labels)} pairs, {position} {template.text},"
        f" {checkpoint.name}, {options.precision}"
    )
    scorer = Scorer(checkpoint, options.precision, options.batch_tokens)
    prompts = [template.text.replace("{}", label) for label in labels]
    scores = score_prompts(texts, prompts, position, checkpoint, scorer, options)
    examples = [Example(index, None, text, None) for index, text in enumerate(texts)]
    answers = answer(examples, labels, scores.values.reshape(len(texts), len(labels)))
    if options.output:
        rows = (
            {
                "index": one.index,
                "text": texts[one.index],
                "prediction": one.prediction,
                "scores": dict(zip(labels, one.scores, strict=True)),
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
