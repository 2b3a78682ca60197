"""Get a checkpoint that models/cards.yaml lists, or read where and how to get it by hand.

  python models/download.py --list
  python models/download.py google-bert-zh   # then: --model google-bert-zh
  python models/download.py hfl-bert-wwm     # PyTorch files, to be converted
  python models/download.py hfl-bert-wwm --endpoint https://MIRROR

The card's sources are tried in their order. An archive in the original TensorFlow format becomes models/NAME, checked:
size, the digest that the server states, the CRC of every file, configuration, vocabulary, heads. The files of a Hugging
Face repository become models/pytorch/NAME; models/convert.py makes models/NAME of them. An interrupted download goes
on where it stopped. Base-size models are 0.4 GB, large ones 1.3 GB.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

import argparse
import os
from pathlib import Path
from typing import Any

from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.download import MissingFileError, fetch, unpack_zip
from nsp_bert.checkpoints.model_cards import MODELS, Archive, HuggingFace, ModelCard, load_model_cards
from nsp_bert.checkpoints.shapes import load_config
from nsp_bert.checkpoints.torch_files import WEIGHT_FILES
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.cli import new_parser, positive
from nsp_bert.errors import UserError
from nsp_bert.terminal import plain_console, print_fitting, run_main

HUGGING_FACE = "https://huggingface.co"
UNVERIFIED = "not verified: its makers publish no checksum"


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a name in models/cards.yaml (default: none, as --list)"
    )
    parser.add_argument("--list", action="store_true", help="show the models and what each checkpoint holds")
    parser.add_argument(
        "--source", type=positive, metavar="N", help="only the card's Nth source (default: all in turn)"
    )
    parser.add_argument(
        "--into", type=Path, default=MODELS, metavar="DIR", help="make DIR/NAME (default: the project's models)"
    )
    parser.add_argument(
        "--endpoint",
        default=os.environ.get("HF_ENDPOINT") or HUGGING_FACE,
        metavar="URL",
        help=f"a mirror of Hugging Face (default: the variable HF_ENDPOINT, else {HUGGING_FACE})",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    cards = load_model_cards()
    if options.list or not options.name:
        print_list(cards, options.into)
        return 0
    if options.name not in cards:
        raise UserError(f"{options.name}: no such model; models/cards.yaml has {', '.join(cards)}")
    card, folder = cards[options.name], options.into / options.name
    if folder.exists():
        check_present(card, folder)
        print(f"{folder}: already there and whole")
        return 0
    if not card.sources:
        raise UserError(f"{options.name}: no direct download; {card.by_hand}")
    get(card, options)
    print(*filter(None, (card.note, None if "NSP" in card.heads else "The task scripts need a trained NSP head.")))
    return 0


def get(card: ModelCard, options: argparse.Namespace) -> None:
    """Download from the first source that works. Raises UserError with the last reason where none does."""
    if (options.source or 1) > len(card.sources):
        raise UserError(f"--source {options.source}: {options.name} has {len(card.sources)}")
    numbers = [options.source] if options.source else range(1, len(card.sources) + 1)
    for number in numbers:
        source = card.sources[number - 1]
        print(f"{options.name}: source {number}, {source.where}")
        try:
            if isinstance(source, Archive):
                get_archive(card, source, options.into / options.name)
            else:
                get_repository(card, source, options)
            return
        except UserError as error:
            if number == numbers[-1]:
                raise UserError(f"{error}{f'; by hand: {card.by_hand}' if card.by_hand else ''}") from error
            print(f"source {number} does not work ({error}); trying the next")


def get_archive(card: ModelCard, source: Archive, folder: Path) -> None:
    """Make `folder` of a zip in the original TensorFlow format."""
    archive = folder.with_name(f"{folder.name}.zip")
    try:
        fetch(source.url, archive, source.sha256)
        unpack_zip(archive, folder, lambda unpacked: check_checkpoint(card, unpacked))
    finally:
        archive.unlink(missing_ok=True)
    checked = "size, CRC of every file, configuration, vocabulary, heads"
    print(f"{folder}: {'verified (SHA-256)' if source.sha256 else UNVERIFIED}; checked: {checked}")


def get_repository(card: ModelCard, source: HuggingFace, options: argparse.Namespace) -> None:
    """Make DIR/pytorch/NAME of a repository's configuration, vocabulary and weights; say how to convert them."""
    folder = options.into / "pytorch" / options.name
    address = f"{options.endpoint.rstrip('/')}/{source.repository}/resolve/{source.revision}"
    small = [folder / "config.json", folder / "vocab.txt"]
    for path in small:
        if not path.exists():
            fetch(f"{address}/{path.name}", path)
    try:
        check_shape(card, folder, load_config(small[0]), len(load_vocabulary(small[1])))
    except UserError:
        for path in small:
            path.unlink()
        raise
    if not any((folder / name).exists() for name in WEIGHT_FILES):
        try:
            fetch(f"{address}/{WEIGHT_FILES[0]}", folder / WEIGHT_FILES[0])
        except MissingFileError:
            fetch(f"{address}/{WEIGHT_FILES[1]}", folder / WEIGHT_FILES[1])
    print(f"{folder}: {UNVERIFIED}; checked: sizes, configuration, vocabulary")
    convert = MODELS / "convert.py"
    here = [os.path.relpath(path) for path in (convert, folder, options.into / options.name)]
    print(f"now convert it: python {' '.join(here)}")


def check_present(card: ModelCard, folder: Path) -> None:
    """Raise UserError when what is there is not the card's checkpoint."""
    try:
        check_checkpoint(card, folder)
    except UserError as error:
        raise UserError(f"{folder}: is there, but not as its card says: move it away ({error})") from error


def check_checkpoint(card: ModelCard, folder: Path) -> None:
    """Raise UserError when files are missing or disagree, among themselves or with the card."""
    checkpoint = open_checkpoint(str(folder.absolute()), needs=tuple(card.heads), causal=card.causal)
    check_shape(card, folder, checkpoint.config, len(load_vocabulary(checkpoint.vocab_path)))


def check_shape(card: ModelCard, folder: Path, config: dict[str, Any], vocabulary: int) -> None:
    """Raise UserError when configuration, vocabulary and card disagree."""
    for key, expected in (
        ("num_hidden_layers", card.layers),
        ("hidden_size", card.hidden),
        ("num_attention_heads", card.heads_count),
        ("vocab_size", vocabulary),
    ):
        if config[key] != expected:
            raise UserError(f"{folder}: {key} is {config[key]}, expected {expected}; these files are not {card.title}")


def print_list(cards: dict[str, ModelCard], folder: Path) -> None:
    """Print a row per model, with as much of it as there is room for: name and heads at least."""
    rows = []
    for name, card in cards.items():
        way = "is there" if (folder / name).is_dir() else "download" if card.sources else "by hand"
        heads = " ".join([*(head for head in card.heads if head != "encoder"), *(["causal"] if card.causal else [])])
        rows.append([name, heads, way, card.licence, f"{card.layers}x{card.hidden}", f"{card.parameters:g} M"])
    print_fitting(
        ("name", "heads", "get it", "licence", "size", "params"),
        rows,
        plain_console(),
        texts=4,
        dispensable=("params", "size", "licence", "get it"),
        elsewhere="models/cards.yaml has them",
    )
    print("python models/download.py NAME downloads, or tells how to get it by hand")


if __name__ == "__main__":
    run_main(main)
