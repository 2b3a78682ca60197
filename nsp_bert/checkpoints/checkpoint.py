"""A name or a folder -> the verified files of a checkpoint in the original TensorFlow format, and its heads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nsp_bert.checkpoints.hugging_face import cached_copy, is_hugging_face
from nsp_bert.checkpoints.model_cards import DEFAULT_MODEL as DEFAULT_MODEL
from nsp_bert.checkpoints.model_cards import MODELS, ModelCard, load_model_cards
from nsp_bert.checkpoints.shapes import (
    HEADS,
    SEGMENT_TABLE,
    SOFT_EMBEDDINGS,
    check_complete,
    check_shapes,
    count_classes,
    google_shapes,
    load_config,
)
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UnsuitableError, UserError, first_line, meant

TRAINED = "checkpoint"  # where pre-training puts it below its output folder
SPECIALS_PER_PAIR = 3  # [CLS], [SEP], [SEP]
LFS_POINTER = b"version https://git-lfs"
LARGEST_POINTER = 1024
EXAMPLES = 5  # models that a refusal names


@dataclass(frozen=True)
class Checkpoint:
    """The verified files of one checkpoint; `prefix` is what TensorFlow calls the checkpoint's path.

    `known` says whether it is the model that models/cards.yaml has under its name; `remark` why not, where its name
    says otherwise. `causal` marks a language model that has only learned to read from left to right.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    vocab_path: Path
    prefix: Path
    heads: tuple[str, ...]
    do_lower_case: bool
    language: str = "zh"
    known: bool = False
    remark: str = ""
    causal: bool = False

    @property
    def max_position(self) -> int:
        """Number of rows of the position table: the longest pair in tokens."""
        return int(self.config["max_position_embeddings"])


def open_checkpoint(
    name_or_dir: str, needs: tuple[str, ...] = ("encoder", "pooler", "NSP"), *, causal: bool = False
) -> Checkpoint:
    """Return the checkpoint of a card's name (models/NAME) or of a folder.

    Raises UserError when files are missing or disagree, when a head in `needs` is not in the weights, or when it is a
    causal language model, unless `causal` says that one will do.
    """
    cards = load_model_cards()
    if name_or_dir.lower() in cards and not Path(name_or_dir).is_dir():
        name_or_dir = name_or_dir.lower()
    if name_or_dir in cards:
        listed = cards[name_or_dir]
        check_use(name_or_dir, tuple(listed.heads), listed.causal, needs, causal)
    folder = MODELS / name_or_dir if name_or_dir in cards else Path(name_or_dir)
    if not folder.is_dir():
        known = f"known names: {', '.join(cards)}{meant(name_or_dir.lower(), cards)}"
        where = cards[name_or_dir].remedy(name_or_dir) if name_or_dir in cards else known
        raise UserError(f"{folder}: no such checkpoint folder; {where}")
    folder = in_tensorflow_format(trained_below(folder))
    refuse_pointers(folder)
    config = load_config(folder / "bert_config.json")
    name = next((known for known in cards if (MODELS / known).resolve() == folder.resolve()), "")
    name = name or config.get("checkpoint_name") or Path(name_or_dir).resolve().name
    vocab_path = folder / "vocab.txt"
    prefix = find_prefix(folder)
    shapes = read_shapes(prefix)
    card = cards.get(name)
    remark = unlike_card(folder, config, card) if card else ""
    card = None if remark else card
    one_way = SEGMENT_TABLE not in shapes or bool(card and card.causal)
    counted = {*card.heads, "classifier"} if card else {*HEADS}  # a card tells what was pre-trained
    heads = tuple(head for head, variable in HEADS.items() if variable in shapes and head in counted)
    check_use(str(folder), heads, one_way, needs, causal)
    check_sizes(folder, config, len(load_vocabulary(vocab_path)), shapes)
    lower = card.do_lower_case if card else config.get("do_lower_case") is not False
    language = card.language if card else "zh"
    return Checkpoint(name, folder, config, vocab_path, prefix, heads, lower, language, bool(card), remark, one_way)


def trained_below(folder: Path) -> Path:
    """Return the folder, or where pre-training has put its checkpoint below it."""
    below = folder / TRAINED
    return below if (below / "bert_config.json").is_file() and not (folder / "bert_config.json").exists() else folder


def in_tensorflow_format(folder: Path) -> Path:
    """Return the folder, or the TensorFlow copy of one in Hugging Face's format, made when it is first asked for."""
    if (folder / "bert_config.json").exists() or not is_hugging_face(folder):
        return folder
    refuse_pointers(folder)
    return cached_copy(folder)


def unlike_card(folder: Path, config: dict[str, Any], card: ModelCard) -> str:
    """Return why a checkpoint is not the model of a card whose name it has; empty where its shape is the card's."""
    keys = ("num_hidden_layers", "hidden_size", "num_attention_heads")
    wanted, shape = (card.layers, card.hidden, card.heads_count), tuple(config[key] for key in keys)
    if shape == wanted:
        return ""
    layers, hidden, heads = shape
    return (
        f"{folder}: {layers} layers x {hidden} with {heads} heads, not the {card.layers} x {card.hidden} with"
        f" {card.heads_count} of {card.title}: no published numbers beside it"
    )


def check_use(where: str, heads: tuple[str, ...], one_way: bool, needs: tuple[str, ...], causal: bool) -> None:
    """Raise UserError when a head in `needs` is not among `heads`, or a model that reads one way has to read both ways.

    The message names models that would do.
    """
    missing = [head for head in needs if head not in heads]
    if missing:
        raise UnsuitableError(
            f"{where}: no {' and no '.join(missing)} head (it has: {', '.join(heads) or 'none'});"
            f" take a checkpoint that has one{examples(needs, causal)}"
        )
    if one_way and not causal:
        raise UnsuitableError(
            f"{where}: a causal language model, without segments, which only baselines/gpt.py and p_tuning.py --head"
            f" causal can use; take another checkpoint{examples(needs, causal)}"
        )


def examples(needs: tuple[str, ...], causal: bool) -> str:
    """Return the names of some models that have these heads, and are causal or not, as the end of a sentence."""
    names = [name for name, card in load_model_cards().items() if set(needs) <= {*card.heads} and card.causal == causal]
    more = " … (python models/download.py --list)" if len(names) > EXAMPLES else ""
    return f", e.g. {', '.join(names[:EXAMPLES])}{more}" if names else ""


def refuse_pointers(folder: Path) -> None:
    """Raise UserError when a file of the folder is what Git LFS leaves in the place of a large file."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stat().st_size < LARGEST_POINTER and path.read_bytes().startswith(LFS_POINTER):
            raise UserError(
                f"{path}: a Git LFS pointer of {path.stat().st_size} bytes, not the file itself; fetch it with"
                " `git lfs pull` or download it"
            )


def find_prefix(folder: Path) -> Path:
    """Return the TensorFlow checkpoint prefix in a folder. Raises UserError when there is none or more than one."""
    indices = sorted(folder.glob("*.ckpt*.index"))
    if len(indices) != 1:
        names = ", ".join(path.name for path in indices) or "none"
        raise UserError(f"{folder}: one *.ckpt.index is needed, found {names}; PyTorch weights must be converted first")
    prefix = indices[0].with_suffix("")
    if not list(folder.glob(f"{prefix.name}.data-*")):
        raise UserError(f"{prefix}.data-00000-of-00001: no such file; the index alone holds no weights, fetch it again")
    return prefix


def read_shapes(prefix: Path) -> dict[str, list[int]]:
    """Return variable name -> shape of a TensorFlow checkpoint.

    Raises UserError when it cannot be read or when its data files are shorter than its variables.
    """
    tf = import_tensorflow()
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except (tf.errors.OpError, ValueError, LookupError, RuntimeError) as error:
        raise UserError(
            f"{prefix}: not a readable TensorFlow checkpoint ({first_line(error)}); fetch it again"
        ) from error
    needed = sum(math.prod(shape) * dtypes[name].size for name, shape in shapes.items())
    size = sum(path.stat().st_size for path in prefix.parent.glob(f"{prefix.name}.data-*"))
    if size < needed:
        raise UserError(f"{prefix}.data-*: truncated, {size} of at least {needed} bytes; fetch it again")
    return shapes


def check_sizes(folder: Path, config: dict[str, Any], vocab_lines: int, shapes: dict[str, list[int]]) -> None:
    """Raise UserError when vocabulary, configuration and weights disagree."""
    rows, width = shapes[HEADS["encoder"]]
    if vocab_lines > config["vocab_size"] or config["vocab_size"] != rows:
        raise UserError(
            f"{folder}: vocab.txt has {vocab_lines} lines, bert_config.json says vocab_size {config['vocab_size']},"
            f" the weights hold {rows} word embeddings; take the three files of one checkpoint"
        )
    layers = sum(1 for name in shapes if name.endswith("/attention/self/query/kernel"))
    segments = shapes.get(SEGMENT_TABLE, [0])[0]
    # A causal language model may come with the configuration of the BERT that it is built like.
    config["type_vocab_size"] = config.get("type_vocab_size", segments) if segments else 0
    for key, actual in (
        ("hidden_size", width),
        ("num_hidden_layers", layers),
        ("intermediate_size", shapes.get("bert/encoder/layer_0/intermediate/dense/bias", [0])[0]),
        ("max_position_embeddings", shapes.get("bert/embeddings/position_embeddings", [0])[0]),
        ("type_vocab_size", segments),
    ):
        if config[key] != actual:
            raise UserError(
                f"{folder}: bert_config.json says {key} {config[key]}, the weights {actual};"
                " take the files of one checkpoint"
            )
    expected = google_shapes(config, count_classes(shapes))
    soft = {SOFT_EMBEDDINGS: (config.get("soft_tokens", 0), width)}
    try:
        check_shapes({name: tuple(shape) for name, shape in shapes.items()}, expected | soft)
        check_complete(shapes, expected)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error
