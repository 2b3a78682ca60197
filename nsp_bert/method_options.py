"""The options of other methods than NSP-BERT zero-shot: patterns, vectors, training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from nsp_bert.cards import CardT, Kind, cards_of
from nsp_bert.checkpoints.soft_prompt import Insert
from nsp_bert.cli import number, positive, whole
from nsp_bert.method_prompts import Predict, Reference, SoftHead
from nsp_bert.options import Recipes
from nsp_bert.patterns import CARD_WORDS
from nsp_bert.rows import FEW_ALL, FIVE

WHITENED = 256  # components of --whitening, as the makers of BERT-whitening have it


def add_pattern_options(group: argparse._ArgumentGroup, kind: Kind[CardT]) -> None:
    """Add the prompt options of a method whose pattern is the card's."""
    sets = dict.fromkeys([CARD_WORDS, *(name for card in cards_of(kind) for name in card.words)])
    group.add_argument(
        "--words",
        choices=[*sets],
        metavar="SET",
        help=f"words of the labels, of the card's words: {', '.join(sets)} (default: those of the card's pattern)",
    )


def add_filled_topic_options(group: argparse._ArgumentGroup, _kind: Kind[CardT]) -> None:
    """Add the sentence about a topic whose masks are filled in, and what predicts."""
    group.add_argument(
        "--prompt", dest="topic", choices=("1", "2"), default="1", help="pattern of the card that rows are put into"
    )
    group.add_argument(
        "--predict",
        choices=get_args(Predict),
        default="masks",
        help="by the words at the masks, or by the linear layer on [CLS]",
    )


def add_soft_prompt_options(parser: argparse.ArgumentParser, training: argparse._ArgumentGroup) -> None:
    """Add how soft tokens are trained, and what reads a prompt that was trained before."""
    training.add_argument(
        "--encoder",
        choices=("lstm", "none"),
        help="lstm: soft tokens come out of an LSTM and an MLP; none: their embeddings are trained themselves"
        " (default: lstm)",
    )
    training.add_argument(
        "--insert",
        choices=get_args(Insert),
        help="soft tokens come in before position, segment and normalisation, as in the paper, or after them, as in"
        " FewCLUE (default: before)",
    )
    training.add_argument(
        "--freeze",
        action="store_const",
        const=True,
        help="train the soft tokens alone; --save keeps nothing else",
    )
    group = parser.add_argument_group("soft prompt")
    group.add_argument(
        "--head",
        choices=get_args(SoftHead),
        default="masked",
        help="masked: the label is filled in; causal: a model that reads from left to right goes on with it; nsp: soft"
        " tokens in an NSP prompt (classification)",
    )
    group.add_argument(
        "--prompt",
        dest="soft_prompt",
        type=Path,
        metavar="FILE",
        help="a trained prompt that --save has written: nothing is trained (default: none)",
    )


def add_topic_options(group: argparse._ArgumentGroup, _kind: Kind[CardT]) -> None:
    """Add what decides which vectors are compared with which, and how."""
    group.add_argument(
        "--prompt",
        dest="topic",
        choices=("1", "2", "none"),
        default="1",
        help="pattern of the card that rows are put into; none: their text alone",
    )
    group.add_argument(
        "--reference",
        choices=get_args(Reference),
        default="nearest",
        help="a label is compared by the nearest of its training rows, or by their mean",
    )
    group.add_argument(
        "--whitening",
        type=positive,
        nargs="?",
        const=WHITENED,
        metavar="K",
        help="whiten the vectors of training rows and test rows together, and keep K principal components"
        f" (default: not; K is {WHITENED} unless it is given)",
    )
    add_training_sets(group)


def add_training_sets(group: argparse._ArgumentGroup, default: tuple[str, ...] = FIVE) -> None:
    """Add which labelled rows a method has."""
    shown = " ".join(default) or "none, it is not trained"
    group.add_argument(
        "--train",
        nargs="+",
        choices=(*FIVE, FEW_ALL),
        default=default,
        metavar="I",
        help=f"training rows, a run each: {', '.join(FIVE)} of train_I.json, or {FEW_ALL} (default: {shown})",
    )


def add_training_options(
    parser: argparse.ArgumentParser, recipes: Recipes, train: tuple[str, ...] = FIVE
) -> argparse._ArgumentGroup:
    """Add how a method is trained, with the defaults of its recipes, and return the group.

    `train` are the training sets without the option.
    """
    group = parser.add_argument_group("training")
    add_training_sets(group, train)
    told = {name: f" (default: {recipes.default(name)})" for name in ("epochs", "learning_rate", "step_rows")}
    group.add_argument("--epochs", type=positive, metavar="N", help=f"passes over the rows{told['epochs']}")
    group.add_argument(
        "--learning-rate", type=number(above=0), metavar="RATE", help=f"largest of a step{told['learning_rate']}"
    )
    group.add_argument(
        "--step-rows",
        type=positive,
        metavar="N",
        help=f"rows of a step, fewer where these have more than {recipes.base.step_pairs} sequences{told['step_rows']}",
    )
    group.add_argument(
        "--part-tokens",
        type=positive,
        metavar="TOKENS",
        help="a step is computed in parts of so many: memory and speed, not the result"
        f" (default: {recipes.base.part_tokens})",
    )
    group.add_argument(
        "--training-precision",
        choices=("float32", "bfloat16"),
        help=f"of the products of a training step (default: {recipes.base.training_precision})",
    )
    group.add_argument(
        "--training-seed",
        type=whole,
        metavar="N",
        help=f"of order, dropout, new weights (default: {recipes.base.training_seed})",
    )
    group.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="keep the trained checkpoints, DIR/DATASET.train_I, for --model (default: none)",
    )
    return group
