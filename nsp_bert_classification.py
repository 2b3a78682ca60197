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

import nsp_bert.start  # noqa: F401

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from rich.table import Table

from nsp_bert.cards import ClassificationCard, Position, parse_template
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.cli import make_parser, parse_options
from nsp_bert.encoding import encode_label_pairs
from nsp_bert.errors import UserError
from nsp_bert.files import write_json_lines
from nsp_bert.methods.contrast import contrast
from nsp_bert.results.published import published_by_template
from nsp_bert.results.runs import prepare_output, rounded
from nsp_bert.rows import checked_text, read_texts
from nsp_bert.runner import Runner
from nsp_bert.scoring.precision import choose_precision
from nsp_bert.session import ZERO_SHOT, Options, Scorers
from nsp_bert.terminal import INTERRUPTED, plain_console, run_main
from nsp_bert.tokenization import EncodedPair
from utils import ClassificationTask, load_examples, make_pair_encoder

DEFAULT_MAX_LENGTH = 128  # of your own texts


def main(arguments: list[str] | None) -> int:
    parser = make_parser(__doc__, ClassificationCard)
    own = parser.add_argument_group("your own texts")
    own.add_argument("--labels", metavar="A,B,C", help="label words, separated by commas")
    own.add_argument("--text", action="append", help="a text to classify; may be repeated")
    own.add_argument("--input", metavar="FILE", help="texts to classify, one a line; - reads standard input")
    parsed = parser.parse_args(arguments)
    texts = OwnTexts(parsed.labels, parsed.text, parsed.input)
    for name in ("labels", "text", "input"):
        delattr(parsed, name)
    options = parse_options(parsed)
    return classify_own_texts(texts, options) if texts.given else run(options)


def run(options: Options) -> int:
    with Runner(options, ClassificationCard, __file__) as runner:
        for session in runner:
            card, split = session.card, session.split
            examples = load_examples(card, session.folder, split, session.limit)
            task = ClassificationTask(card, session.prompt, session.encoder, examples)
            published = published_by_template(card.name, session.published_model, session.prompt.number, split)
            scored = contrast(task, session, published)
            runner.add(session, replace(scored, details=scored.details.model_copy(update={"prompts": task.prompts})))
        return runner.finish()


@dataclass(frozen=True)
class OwnTexts:
    """What the user wants to have classified, as given: labels with commas between, texts, a file of texts."""

    labels: str | None
    texts: list[str] | None
    input: str | None

    @property
    def given(self) -> bool:
        """Whether own texts are meant at all."""
        return bool(self.labels or self.texts or self.input)

    def read_labels(self) -> list[str]:
        """Return the labels. Raises UserError unless there are two different ones."""
        labels = [label.strip() for label in checked_text(self.labels or "", "--labels").split(",") if label.strip()]
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise UserError("--labels: two or more different labels are needed, e.g. --labels 体育,财经,教育")
        return labels

    def read_texts(self) -> list[str]:
        """Return the texts. Raises UserError without any."""
        texts = [checked_text(text, "--text") for text in self.texts or []]
        texts += read_texts(self.input) if self.input else []
        if not texts:
            raise UserError(
                "no text to classify; give --text TEXT or --input FILE (one text a line, - for standard input)"
            )
        return texts


def classify_own_texts(own: OwnTexts, options: Options) -> int:
    labels, texts = own.read_labels(), own.read_texts()
    if options.calibration:
        raise UserError("--calibration: is beside a dataset's accuracy, which own texts do not have; leave it out")
    template = parse_template(options.prompt.template or "{}")
    position: Position = options.prompt.prompt_position or "prefix"
    if options.output:
        if options.output.is_dir():
            raise UserError(f"--output {options.output}: a folder; name the file that the answers go to")
        prepare_output(options.output.parent)
    checkpoint = open_checkpoint(options.model, ZERO_SHOT.heads)
    encoder = make_pair_encoder(checkpoint, options.max_length or DEFAULT_MAX_LENGTH)
    print(
        f"{len(texts)} texts x {len(labels)} labels = {len(texts) * len(labels)} pairs, {position} {template.text},"
        f" {checkpoint.name}, {options.precision}"
    )
    prompts = [template.text.replace("{}", label) for label in labels]
    different = list(dict.fromkeys(texts))  # a text that comes again is scored once

    def pairs(count: int) -> Iterator[EncodedPair]:
        return encode_label_pairs(encoder, different[:count], prompts, position)

    scorers, sizes = Scorers(checkpoint, options), [len(labels)] * len(different)
    precision, _ = choose_precision(
        options.precision, scorers.__getitem__, pairs, sizes, lambda scores, n: scores.reshape(n, -1).argmax(1)
    )
    scores = scorers[precision].score(pairs(len(different)), sum(sizes))
    by_text = dict(zip(different, scores.values.reshape(len(different), -1), strict=True))
    scored = [(place, text) for place, text in enumerate(texts) if not np.isnan(by_text[text]).any()]
    if options.output:
        rows = (
            {
                "index": place,
                "text": text,
                "prediction": labels[int(by_text[text].argmax())],
                "scores": dict(zip(labels, rounded(by_text[text]), strict=True)),
            }
            for place, text in scored
        )
        write_json_lines(rows, options.output)
    else:
        print_answers(labels, [(text, by_text[text]) for _, text in scored])
    return 0 if scores.complete else INTERRUPTED


def print_answers(labels: list[str], scored: list[tuple[str, np.ndarray]]) -> None:
    table = Table(header_style="bold")
    for header in ("text", "answer", "log-odds per label, best first"):
        table.add_column(header, overflow="fold")
    for text, scores in scored:
        ranked = sorted(zip(scores, labels, strict=True), key=lambda pair: -pair[0])
        row = "  ".join(f"{label} {score:+.2f}" for score, label in ranked)
        table.add_row(text, labels[int(scores.argmax())], row)
    plain_console().print(table)


if __name__ == "__main__":
    run_main(main)
