"""Do PET, GPT and mean vectors equal those of an implementation that shares no
code with them, on the same random weights?

A random checkpoint (3 layers, 384 wide, 21,128 vocabulary entries) is run by
baselines/pet.py and baselines/gpt.py, and by Hugging Face Transformers:

  pet   BertForMaskedLM, log-probabilities gathered at the masks and summed
  gpt   BertLMHeadModel with is_decoder, without segments: log-probabilities of
        the word's tokens, each after those before it; of ChID all that follows
  mean  BertModel, the last layer's mean over all tokens of [CLS] text [SEP]

FewCLUE's patterns are spelled out by hand (tests/golden/fewclue_patterns.py),
the rows read from the data files and tokenised by BertTokenizer. Rows that the
two may rightly shorten differently are left out. Needs torch and transformers
in an environment of their own:

  python -m venv peer && peer/bin/pip install torch transformers pyyaml rich
  peer/bin/python benchmarks/parity_methods.py --data-dir datasets/fewclue

The table: rows compared; rows left out; different predictions; equal ones
(mean: the text that is the nearest by cosine); largest difference of scores,
each row's less their mean (mean: of the vectors' components); deviation of
those scores. A few rows of CSLDCP and IFLYTEK may differ: Hugging Face drops
private-use characters, Google's tokenizer and bert4keras keep them. Exit
status: 1 where a prediction is not equal or a difference is above 1e-3, 2 when
something is missing.
"""

from __future__ import annotations

from _root import ROOT

import argparse
import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from parity_common import (
    MISSING,
    SPLIT,
    Row,
    add_options,
    check_answers,
    check_packages,
    read_card,
    read_rows,
    run_suite,
    write_checkpoint,
)

if not MISSING:
    import numpy as np
    import torch
    from fewclue_patterns import CAUSAL, CLOZE, gpt_scores, pet_scores
    from hugging_face_models import causal_model, hugging_face_model, mean_vector
    from transformers import BertForMaskedLM, BertTokenizer

    from nsp_bert.terminal import new_table, plain_console

DATASETS = ["eprstmt", "csldcp", "tnews", "iflytek", "ocnli", "bustm", "csl", "chid", "cluewsc"]
TOPICS = ["tnews", "csldcp", "iflytek"]  # what similarity was published for
MEAN = "mean"
METHODS = ["pet", "gpt", MEAN]
MAX_LENGTH = 128  # tokens of a text whose vector is asked for
LARGEST = 1e-3  # difference
# Of the drawn weights, as a share of parity.py's. The larger, the more a masked model's answers depend on the text; the
# smaller, the less float32's rounding adds up where a hundred tokens follow a blank.
DEVIATIONS = {"pet": 1, "gpt": 0.4, MEAN: 1}
VECTORS = """
import json, sys, numpy
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import EncodedPair, make_pair_encoder
folder, source, length, target = sys.argv[1:]
checkpoint = open_checkpoint(folder)
encoder = make_pair_encoder(checkpoint, int(length))
scorer, width = Scorer(checkpoint, output="mean"), checkpoint.config["hidden_size"]
def vectors(texts):
    parts = [encoder.fit([encoder.part(text, "right")], specials=2)[0] for text in texts]
    rows = [[encoder.cls_id, *part, encoder.sep_id] for part in parts]
    pairs = [EncodedPair(row, len(row)) for row in rows]
    return scorer.score(pairs, len(pairs), width=width).values.reshape(-1, width)
numpy.savez(target, **{name: vectors(texts) for name, texts in json.load(open(source, encoding="utf-8")).items()})
"""


class Compared(NamedTuple):
    """Two implementations beside each other: the scores of both, row by row, the suite's answers, which are equal."""

    title: str
    pairs: list[tuple[np.ndarray, np.ndarray]]
    answers: list[str | int]
    equal: list[bool]
    left_out: int = 0

    @property
    def passed(self) -> bool:
        """Whether there are rows, every answer is equal, and scores differ by little."""
        return bool(self.equal) and all(self.equal) and self.largest <= LARGEST

    @property
    def largest(self) -> float:
        """The largest difference of scores."""
        return max((float(np.abs(suite - peer).max()) for suite, peer in self.pairs), default=np.nan)

    @property
    def cells(self) -> list[str]:
        """The row of the table, without the method."""
        share, deviation = np.mean(self.equal), np.concatenate([suite for suite, _ in self.pairs]).std()
        counts = [str(len(self.pairs)), str(self.left_out), str(len({*self.answers}))]
        return [self.title, *counts, f"{100 * share:.2f}", f"{self.largest:.1e}", f"{deviation:.2f}"]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_options(parser, DATASETS)
    parser.add_argument(
        "--rows", type=int, default=100, metavar="N", help=f"the first N rows of {SPLIT} (default: 100)"
    )
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=METHODS, help=f"{', '.join(METHODS)} (default: all)"
    )
    return parser.parse_args()


class Parity:
    """The random checkpoint, Hugging Face's tokenizer and models, and the rows, beside the suite's scripts."""

    def __init__(self, options: argparse.Namespace, deviation: float) -> None:
        """Write the checkpoint and load the same arrays."""
        self._options, self._model = options, options.work / f"random-{deviation}"
        config, tensors = write_checkpoint(self._model, options, deviation)
        self._tokenizer = BertTokenizer(str(self._model / "vocab.txt"), do_lower_case=True)
        self._masked = hugging_face_model(config, tensors, BertForMaskedLM)
        self._language = {
            "pet": (partial(pet_scores, self._masked, self._tokenizer), CLOZE),
            "gpt": (partial(gpt_scores, causal_model(config, tensors), self._tokenizer), CAUSAL),
        }
        cards = [read_card(name) for name in options.datasets]
        paths = {card["name"]: options.data_dir / card["path"].format(split=SPLIT) for card in cards}
        self._cards = {card["name"]: card for card in cards}
        self._rows = {name: read_rows(path, options.rows) for name, path in paths.items()}

    def compare(self, method: str) -> Iterator[Compared]:
        """Yield what both say, dataset by dataset."""
        if method == MEAN:
            yield from self._vectors()
            return
        results = self._options.work / "results"
        script = (ROOT / "baselines" / f"{method}.py", "--dataset", *self._cards, "--split", SPLIT)
        data = ("--data-dir", self._options.data_dir, "--limit", self._options.rows, "--output", results)
        run_suite(self._options, *script, *data, "--model", self._model)
        score, patterns = self._language[method]
        for name, card in self._cards.items():
            answers = read_rows(results / f"{name}.{SPLIT}.{method}.jsonl")
            check_answers(card, self._rows[name], answers)
            peer = [score(patterns[name], card, row) for row in self._rows[name]]
            yield beside(card["title"], answers, peer, [*patterns[name].labels(card)])

    def _vectors(self) -> Iterator[Compared]:
        """Yield the mean vectors of both, and which other text is the nearest to each."""
        topics = [name for name in self._cards if name in TOPICS]
        texts = {name: [row[self._cards[name]["fields"]["text"]] for row in self._rows[name]] for name in topics}
        source, target = self._options.work / "texts.json", self._options.work / "vectors.npz"
        source.write_text(json.dumps(texts), encoding="utf-8")
        run_suite(self._options, "-c", VECTORS, self._model, source, MAX_LENGTH, target)
        for name, suite in np.load(target).items():
            encoded = self._tokenizer(texts[name], truncation=True, max_length=MAX_LENGTH)["input_ids"]
            peer = np.stack([mean_vector(self._masked, token_ids).numpy() for token_ids in encoded])
            answers = nearest(suite)
            equal = (answers == nearest(peer)).tolist()
            yield Compared(self._cards[name]["title"], [*zip(suite, peer, strict=True)], answers.tolist(), equal)


def beside(title: str, rows: list[Row], peer: list[torch.Tensor | None], labels: list[str]) -> Compared:
    """Compare the rows of the suite's result file with Hugging Face's scores; without labels the answers are places."""
    pairs, answers, equal = [], [], []
    for row, scores in zip(rows, peer, strict=True):
        if scores is not None:
            best = int(scores.argmax())
            pairs.append((centred(np.array(row["scores"])), centred(scores.double().numpy())))
            answers.append(row["prediction"])
            equal.append(row["prediction"] == (labels[best] if labels else str(best)))
    return Compared(title, pairs, answers, equal, len(rows) - len(pairs))


def centred(scores: np.ndarray) -> np.ndarray:
    """Return a row's scores less their mean."""
    return scores - scores.mean()


def nearest(vectors: np.ndarray) -> np.ndarray:
    """Return which other vector is the nearest to each (n,), by cosine."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines.argmax(1)


def main() -> int:
    options = parse_arguments()
    check_packages()
    table = new_table(("method", "dataset", "rows", "left out", "answers", "equal %", "max diff", "std"), texts=2)
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        options.work = options.work or Path(folder)
        for method in options.methods:
            for compared in Parity(options, DEVIATIONS[method]).compare(method):
                table.add_row(method, *compared.cells)
                passed &= compared.passed
    plain_console().print(table)
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
