"""Do the suite's scores equal those of an implementation that shares no code with
it, on the same random weights?

A random checkpoint (3 layers, 384 wide, 21,128 vocabulary entries) is scored by
the suite's task scripts and by Hugging Face Transformers'
BertForNextSentencePrediction and BertTokenizer, whose pairs are built here from
the data files and the dataset cards. Rows that the two may rightly shorten
differently are left out; thresholds and ranking need every row, so both sides
then use the suite's score. Needs torch and transformers in an environment of
their own:

  python -m venv peer && peer/bin/pip install torch transformers pyyaml rich
  peer/bin/python benchmarks/parity.py --data-dir datasets/fewclue --rows 60

The table: rows of test_public compared; rows of it and of dev left out; equal
predictions; equal labels by ranking; how near the suite's accuracy_ranked is to
that of its scores ranked here; largest difference of log-odds, their deviation.
A few rows of CSLDCP and IFLYTEK differ: Hugging Face drops private-use
characters, Google's tokenizer and bert4keras keep them. Exit status: 1 when
fewer than 99.5 % of a dataset's predictions are equal, 2 when something is
missing.
"""

from __future__ import annotations

from _root import ROOT

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from parity_common import (
    CARDS,
    MISSING,
    SPLIT,
    Card,
    Row,
    add_options,
    check_answers,
    check_packages,
    read_card,
    read_rows,
    run_suite,
    stop,
    write_checkpoint,
)

if not MISSING:
    import numpy as np
    import torch
    from hugging_face_models import hugging_face_model  # as the golden values are made
    from torch.nn.utils.rnn import pad_sequence
    from transformers import BertTokenizer

    from nsp_bert.terminal import new_table, plain_console

CARD_DEFAULTS = {"max_length": 128, "dev_split": "dev_few_all", "joiner": ",", "labels": ()}
ENOUGH = 0.995  # share of equal predictions
BATCH_TOKENS = 8192

Tokenize = Callable[[str], list[int]]  # without [CLS] and [SEP]


class Pair(NamedTuple):
    """Token ids without [CLS] and [SEP]; position ids of the whole, by default 0, 1, 2 …"""

    first: list[int]
    second: list[int]
    positions: list[int] | None = None


class Split(NamedTuple):
    """A split scored by both: log-odds per row, Hugging Face's being the suite's in rows that are not `compared`."""

    metrics: dict[str, float]
    answers: list[Row]
    suite: list[np.ndarray]
    peer: list[np.ndarray]
    compared: list[int]


def parse_arguments() -> argparse.Namespace:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(CARDS.glob("*.yaml"))}
    names = [name for name, text in texts.items() if any(f"\ntask: {task}\n" in text for task in TASKS)]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_options(parser, names)
    parser.add_argument("--rows", type=int, metavar="N", help=f"only the first N rows of {SPLIT} (default: all)")
    return parser.parse_args()


def room(card: Card) -> int:
    """Return how many tokens a pair holds besides [CLS], [SEP] and [SEP]."""
    return card["max_length"] - 3


def in_order(card: Card, prompt: list[int], text: list[int]) -> Pair:
    return Pair(prompt, text) if card["position"] == "prefix" else Pair(text, prompt)


def classification_pairs(card: Card, row: Row, tokenize: Tokenize) -> list[Pair]:
    """Return a pair per label, by the last template; the text alone is cut, at its right end."""
    template = card["templates"][-1]
    text = tokenize(row[card["fields"]["text"]])
    words = (template.get("words") or card["labels"]).values()
    prompts = [tokenize(template["text"].replace("{}", word)) for word in words]
    return [in_order(card, prompt, text[: room(card) - len(prompt)]) for prompt in prompts]


def sentence_pair(card: Card, row: Row, tokenize: Tokenize) -> list[Pair]:
    """Return the pair, the longer side cut at its right end; no pair where both would have to be cut."""
    prompt, text = (row[card["fields"][field]] for field in ("prompt", "text"))
    prompt = card["joiner"].join(prompt) if isinstance(prompt, list) else prompt
    first, second, _ = in_order(card, tokenize(prompt), tokenize(text))
    surplus = max(len(first) + len(second) - room(card), 0)
    if surplus > abs(len(first) - len(second)):
        return []
    longer = max(len(first), len(second)) - surplus  # what stays of it; the other side is not longer than that
    return [Pair(first[:longer], second[:longer])]


def coreference_pair(card: Card, row: Row, tokenize: Tokenize) -> list[Pair]:
    """Return the pair of the text with its question and the span; no pair where it is too long."""
    fields, target = card["fields"], row[card["fields"]["target"]]
    question = card["templates"][-1]["text"].replace("{}", target[fields["pronoun"]])
    pair = in_order(card, tokenize(target[fields["span"]]), tokenize(row[fields["text"]] + question))
    return [pair] if len(pair.first + pair.second) <= room(card) else []


def cloze_pairs(card: Card, row: Row, tokenize: Tokenize) -> list[Pair]:
    """Return a pair per candidate, text first, its position ids those of the blank; no pair where one is too long."""
    before, after = map(tokenize, row[card["fields"]["text"]].split(card["blank"]))
    pairs = []
    for word in map(tokenize, row[card["fields"]["candidates"]]):
        blank = len(before) + 1  # behind [CLS]
        behind = blank + len(word)
        end = behind + len(after)
        positions = [*range(blank), *range(behind, end), end, *range(blank, behind), end + 1]
        pairs.append(Pair(before + after, word, positions))
    return pairs if all(len(pair.first + pair.second) <= room(card) for pair in pairs) else []


TASKS: dict[str, tuple[str, Callable[[Card, Row, Tokenize], list[Pair]]]] = {
    "classification": ("nsp_bert_classification.py", classification_pairs),
    "sentence-pair": ("nsp_bert_sentence_pair.py", sentence_pair),
    "coreference": ("nsp_bert_coreference_resolution.py", coreference_pair),
    "cloze": ("nsp_bert_cloze_style.py", cloze_pairs),
}


class Peer:
    """Hugging Face's tokenizer and model, on a random checkpoint that is written for the suite."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        """Write the checkpoint with the suite's interpreter and load the same arrays."""
        config, tensors = write_checkpoint(folder, options)
        tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True, split_special_tokens=True)
        self.tokenize: Tokenize = cache(lambda text: tokenizer(text, add_special_tokens=False)["input_ids"])
        self.cls_id, self.sep_id = tokenizer.cls_token_id, tokenizer.sep_token_id
        self.model = hugging_face_model(config, tensors)

    def score(self, pairs: list[Pair]) -> list[float]:
        """Return the log-odds of IsNext; batches are sorted by length, the longest first."""
        values = torch.empty(len(pairs))
        lengths = [len(pair.first) + len(pair.second) + 3 for pair in pairs]
        order = sorted(range(len(pairs)), key=lambda row: -lengths[row])
        while order:
            size = max(BATCH_TOKENS // lengths[order[0]], 1)
            batch, order = order[:size], order[size:]
            with torch.inference_mode():
                logits = self.model(**self._inputs([pairs[row] for row in batch])).logits
            values[batch] = logits[:, 0] - logits[:, 1]
        return values.tolist()

    def _inputs(self, pairs: list[Pair]) -> dict[str, torch.Tensor]:
        token_ids = [[self.cls_id, *first, self.sep_id, *second, self.sep_id] for first, second, _ in pairs]
        rows = {
            "input_ids": token_ids,
            "token_type_ids": [[0] * (len(first) + 2) + [1] * (len(second) + 1) for first, second, _ in pairs],
            "position_ids": [pair.positions or range(len(ids)) for pair, ids in zip(pairs, token_ids, strict=True)],
            "attention_mask": [[1] * len(ids) for ids in token_ids],
        }
        return {name: pad_sequence([torch.tensor(row) for row in rows[name]], batch_first=True) for name in rows}


def score_split(card: Card, split: str, limit: int | None, options: argparse.Namespace, peer: Peer) -> Split:
    """Score the same rows of a split by the suite's script and by Hugging Face."""
    (script, build), output = TASKS[card["task"]], options.work / "results"
    arguments = ("--model", options.work / "random", "--data-dir", options.data_dir, "--output", output)
    limited = () if limit is None else ("--limit", limit)
    run_suite(options, ROOT / script, "--dataset", card["name"], "--split", split, *arguments, *limited)
    rows = read_rows(options.data_dir / card["path"].format(split=split), limit)
    answers = read_rows(output / f"{card['name']}.{split}.jsonl")
    metrics = json.loads((output / f"{card['name']}.{split}.json").read_text(encoding="utf-8"))["metrics"]
    check_answers(card, rows, answers)
    groups = [build(card, row, peer.tokenize) for row in rows]
    compared = [index for index, group in enumerate(groups) if group]
    values = iter(peer.score([*itertools.chain.from_iterable(groups)]))
    suite = [np.array(answer["scores"], np.float32) for answer in answers]
    ours = [np.array([next(values) for _ in group] or suite[at], np.float32) for at, group in enumerate(groups)]
    return Split(metrics, answers, suite, ours, compared) if compared else stop(f"{card['title']}: every row left out")


def ranked(scores: np.ndarray, labels: int) -> np.ndarray:
    """Return the label index of each score: the ranking cut into equal parts, the remainder in the last."""
    places = np.argsort(np.argsort(scores, kind="stable"))
    return np.searchsorted(np.arange(1, labels) * (len(scores) // labels), places, side="right")


def passed(scores: np.ndarray, dev: np.ndarray, labels: int) -> np.ndarray:
    """Return how many thresholds each score is above: the highest score of each of dev's parts but the last."""
    thresholds = np.sort(dev)[np.arange(1, labels) * (len(dev) // labels) - 1]
    return (scores[:, None] > thresholds).sum(1)


def contrast(test: Split, dev: Split, labels: list[str]) -> tuple[list[str], list[float]]:
    """Return Hugging Face's answers by thresholds, the share of equal ranks, and how near `accuracy_ranked` is."""
    ours, suite = np.concatenate(test.peer), np.concatenate(test.suite)
    answers = [labels[index] for index in passed(ours, np.concatenate(dev.peer), len(labels))]
    ranks = ranked(suite, len(labels))  # the suite writes their accuracy alone
    accuracy = np.mean([labels[rank] == answer["label"] for rank, answer in zip(ranks, test.answers, strict=True)])
    equal = (ranks == ranked(ours, len(labels)))[test.compared].mean()
    return answers, [equal, 1 - abs(accuracy - test.metrics["accuracy_ranked"])]


def compare(card: Card, options: argparse.Namespace, peer: Peer) -> tuple[list[str], bool]:
    """Score a dataset both ways; return its cells of the table and whether enough predictions are equal."""
    splits = [score_split(card, SPLIT, options.rows, options, peer)]
    test, labels, shares = splits[0], list(card["labels"]), []
    if card["task"] in ("sentence-pair", "coreference"):
        splits.append(score_split(card, card["dev_split"], None, options, peer))
        answers, shares = contrast(*splits, labels)
    else:
        best = [int(scores.argmax()) for scores in test.peer]
        answers = [labels[index] if labels else str(index) for index in best]
    shares.insert(0, np.mean([test.answers[row]["prediction"] == answers[row] for row in test.compared]))
    pairs = [(split.suite[row], split.peer[row]) for split in splits for row in split.compared]
    suite, ours = (np.concatenate(part) for part in zip(*pairs, strict=True))
    left_out = " + ".join(str(len(split.peer) - len(split.compared)) for split in splits)
    figures = [f"{100 * share:.2f}" for share in shares] + [""] * (3 - len(shares))
    figures += [f"{np.abs(suite - ours).max():.1e}", f"{suite.std():.2f}"]
    return [card["title"], str(len(test.compared)), left_out, *figures], min(shares) >= ENOUGH


def main() -> int:
    options = parse_arguments()
    check_packages()
    table = new_table(("dataset", "rows", "left out", "equal %", "ranks %", "stated %", "max diff", "std"))
    with tempfile.TemporaryDirectory() as folder:
        options.work = options.work or Path(folder)
        peer = Peer(options.work / "random", options)
        results = [compare(CARD_DEFAULTS | read_card(name), options, peer) for name in options.datasets]
    for cells, _ in results:
        table.add_row(*cells)
    plain_console().print(table)
    return 0 if all(enough for _, enough in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
