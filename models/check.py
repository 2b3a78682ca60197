"""What a checkpoint holds, and whether its NSP and MLM heads work: `python models/check.py NAME_OR_DIR`."""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console

from nsp_bert.checkpoints.checkpoint import Checkpoint, open_checkpoint, read_shapes
from nsp_bert.checkpoints.shapes import HEADS
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.cli import new_parser
from nsp_bert.environment import import_tensorflow, quiet_initializers
from nsp_bert.errors import UserError
from nsp_bert.files import MODELS, digest
from nsp_bert.results.metrics import Accuracy
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.terminal import new_table, plain_console, run_main
from nsp_bert.tokenization import make_pair_encoder

HEALTH_TEXTS = MODELS / "health"
MAX_LENGTH = 128
MASKED_SHARE = 0.15
WORKS = 0.6  # pairwise accuracy whose interval must lie above it; words that recur lift even random weights over 0.5
SEED = 0


@dataclass(frozen=True)
class Health:
    """Margins (log-odds, float32) of neighbouring sentences and, in the same order, of each with a stranger."""

    neighbours: np.ndarray
    strangers: np.ndarray

    @property
    def pairwise(self) -> Accuracy:
        """Share of sentences that score higher with their neighbour than with a stranger."""
        return Accuracy(len(self.neighbours), int((self.neighbours > self.strangers).sum()))

    @property
    def at_zero(self) -> Accuracy:
        """Accuracy when a margin above 0 says: next sentence."""
        right = (self.neighbours > 0).sum() + (self.strangers <= 0).sum()
        return Accuracy(2 * len(self.neighbours), int(right))

    @property
    def verdict(self) -> str:
        low, high = self.pairwise.interval
        if low > WORKS:
            shifted = self.at_zero.interval[0] <= 0.5
            return "works" + (", but its margins are shifted: compare scores, do not cut them at 0" if shifted else "")
        if high < 1 - WORKS:
            return "looks inverted: neighbours score lower than strangers; are the two rows of the head exchanged?"
        return "is at chance: it does not tell neighbours from strangers; was it trained, and was it loaded?"


@dataclass(frozen=True)
class Masks:
    """What the MLM head says of masked tokens: the ids int64 (n,) that were masked, and those it finds likeliest."""

    masked: np.ndarray
    guessed: np.ndarray

    @property
    def accuracy(self) -> Accuracy:
        """Share of masked tokens that are found."""
        return Accuracy(len(self.masked), int((self.masked == self.guessed).sum()))

    @property
    def chance(self) -> float:
        """What guessing the most frequent masked token would reach."""
        return float(np.bincount(self.masked).max() / len(self.masked))

    @property
    def verdict(self) -> str:
        """Whether the head does better than that guess, by its 95 % interval."""
        if self.accuracy.interval[0] > self.chance:
            return "works"
        return "is at chance: it finds masked tokens no better than a guess; was it trained, and was it loaded?"


def load_documents(path: Path) -> list[list[str]]:
    """Return the documents of a health text: a sentence a line, a blank line between documents."""
    return [part.split("\n") for part in path.read_text(encoding="utf-8").strip().split("\n\n")]


def health_documents(language: str) -> list[list[str]]:
    """Return the documents of a language's health text. Raises UserError without one."""
    path = HEALTH_TEXTS / f"{language}.txt"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in HEALTH_TEXTS.glob("*.txt")))
        raise UserError(f"no health text for the language {language!r}; there are {known}")
    return load_documents(path)


def check_health(checkpoint: Checkpoint, documents: list[list[str]]) -> Health:
    """Score every sentence with its successor and with one of another document."""
    rng = np.random.default_rng(SEED)
    pairs = []
    for number, document in enumerate(documents):
        for first, second in pairwise(document):
            stranger = (number + int(rng.integers(1, len(documents)))) % len(documents)
            pairs += [(first, second), (first, documents[stranger][int(rng.integers(len(documents[stranger])))])]
    encoder = make_pair_encoder(checkpoint, min(MAX_LENGTH, checkpoint.max_position))
    encoded = (encoder.encode([encoder.part(a, "right")], [encoder.part(b, "right")]) for a, b in pairs)
    margins = Scorer(checkpoint).score(encoded, len(pairs)).values
    return Health(margins[::2], margins[1::2])


def check_masks(checkpoint: Checkpoint, documents: list[list[str]]) -> Masks:
    """Mask a share of the tokens of every document at random and let bert4keras' MLM model fill them in."""
    import_tensorflow()
    from bert4keras.models import build_transformer_model

    with quiet_initializers():
        model = build_transformer_model(
            str(checkpoint.folder / "bert_config.json"), str(checkpoint.prefix), with_mlm=True, return_keras_model=True
        )
    vocabulary = load_vocabulary(checkpoint.vocab_path)
    encoder = make_pair_encoder(checkpoint, min(MAX_LENGTH, checkpoint.max_position))
    rng = np.random.default_rng(SEED)
    masked, guessed = [], []
    for document in documents:
        text = encoder.part("".join(document), "right").shortened(encoder.max_length - 2)
        token_ids = np.array([[encoder.cls_id, *text, encoder.sep_id]])
        places = 1 + rng.choice(len(text), max(int(MASKED_SHARE * len(text)), 1), replace=False)
        masked.append(token_ids[0, places])
        token_ids[0, places] = vocabulary["[MASK]"]
        guessed.append(model.predict([token_ids, np.zeros_like(token_ids)], verbose=0)[0, places].argmax(axis=1))
    return Masks(np.concatenate(masked), np.concatenate(guessed))


def describe(checkpoint: Checkpoint, console: Console) -> None:
    """Print shape, parameters, heads with their variables, files with their checksums."""
    shapes, config = read_shapes(checkpoint.prefix), checkpoint.config
    parameters = sum(int(np.prod(shape)) for name, shape in shapes.items() if name.startswith(("bert/", "cls/")))
    console.print(
        f"{checkpoint.name}: {config['num_hidden_layers']} layers x {config['hidden_size']},"
        f" {config['num_attention_heads']} heads, {config['max_position_embeddings']} positions,"
        f" {config['vocab_size']} tokens, {parameters / 1e6:.1f} M parameters",
        highlight=False,
        soft_wrap=True,
    )
    table = new_table(("part", "there", "told by"), texts=3)
    for head, variable in HEADS.items():
        table.add_row(head, "yes" if head in checkpoint.heads else "no", variable)
    console.print(table)
    files = [checkpoint.folder / "bert_config.json", checkpoint.vocab_path]
    for path in [*files, *sorted(checkpoint.folder.glob(f"{checkpoint.prefix.name}.*"))]:
        console.print(f"{digest(path)}  {path.name}", highlight=False, soft_wrap=True)


def main(arguments: list[str] | None) -> int:
    """Describe a checkpoint and check its heads; status 0 when the NSP head works, 1 when it does not or is missing."""
    parser = new_parser(
        "Show what a checkpoint holds; check its NSP head on neighbours and strangers, its MLM head on masked tokens."
    )
    parser.add_argument("model", metavar="NAME_OR_DIR", help="a name in models/cards.yaml, or a checkpoint's folder")
    parser.add_argument("--language", help="of the health text: zh or en (default: the model card's, else zh)")
    options = parser.parse_args(arguments)
    checkpoint = open_checkpoint(options.model, needs=("encoder",), causal=True)
    console = plain_console()
    describe(checkpoint, console)
    if checkpoint.causal:
        console.print("causal language model: only baselines/gpt.py can use it; its heads are not checked")
        return 1
    documents = health_documents(options.language or checkpoint.language)
    if "MLM" in checkpoint.heads:
        print_masks(check_masks(checkpoint, documents), console)
    else:
        console.print("MLM head is missing: methods that fill in masks cannot use this checkpoint", soft_wrap=True)
    if missing := [head for head in ("pooler", "NSP") if head not in checkpoint.heads]:
        console.print(f"NSP head is missing ({', '.join(missing)}): the task scripts cannot use this checkpoint")
        return 1
    health = check_health(checkpoint, documents)
    print_health(health, console)
    return 0 if health.verdict.startswith("works") else 1


def print_masks(masks: Masks, console: Console) -> None:
    """Print the accuracy on masked tokens, chance and the verdict."""
    low, high = masks.accuracy.interval
    console.print(
        f"masked tokens found: {100 * masks.accuracy.value:.1f} % of {masks.accuracy.n}"
        f" [{100 * low:.1f}, {100 * high:.1f}], chance {100 * masks.chance:.1f} %"
    )
    console.print(f"MLM head {masks.verdict}", soft_wrap=True)


def print_health(health: Health, console: Console) -> None:
    """Print both accuracies, the margins' quartiles and the verdict."""
    for name, accuracy in (("neighbour above stranger", health.pairwise), ("cut at margin 0", health.at_zero)):
        low, high = accuracy.interval
        console.print(
            f"{name}: {100 * accuracy.value:.1f} % of {accuracy.n} [{100 * low:.1f}, {100 * high:.1f}]",
            highlight=False,
            markup=False,
        )
    for name, margins in (("neighbours", health.neighbours), ("strangers", health.strangers)):
        quartiles = ", ".join(f"{value:+.2f}" for value in np.percentile(margins, (0, 25, 50, 75, 100)))
        console.print(f"margins of {name} (least, quartiles, greatest): {quartiles}", highlight=False, soft_wrap=True)
    console.print(f"NSP head {health.verdict}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run_main(main)
