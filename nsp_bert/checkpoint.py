"""A name or a folder -> the verified files of a checkpoint in the original TensorFlow format, and its heads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError

MODELS = Path(__file__).resolve().parent.parent / "models"
DEFAULT_MODEL = "nsp_bert_mini"
SPECIALS_PER_PAIR = 3  # [CLS], [SEP], [SEP]
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONFIG_KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
)
HEADS = {
    "encoder": "bert/embeddings/word_embeddings",
    "pooler": "bert/pooler/dense/kernel",
    "MLM": "cls/predictions/transform/dense/kernel",
    "NSP": "cls/seq_relationship/output_weights",
}


class ModelCard(BaseModel):
    """A model's facts, one entry of models/cards.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str
    language: str
    do_lower_case: bool
    source: str


@dataclass(frozen=True)
class Checkpoint:
    """The verified files of one checkpoint; `prefix` is what TensorFlow calls the checkpoint's path."""

    name: str
    folder: Path
    config: dict[str, Any]
    vocab_path: Path
    prefix: Path
    heads: tuple[str, ...]
    do_lower_case: bool

    @property
    def max_position(self) -> int:
        """Number of rows of the position table: the longest pair in tokens."""
        return int(self.config["max_position_embeddings"])


def load_model_cards() -> dict[str, ModelCard]:
    """Return models/cards.yaml, validated. Raises UserError naming the entry and the key."""
    path = MODELS / "cards.yaml"
    cards = {}
    for name, entry in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        try:
            cards[name] = ModelCard(**entry)
        except (ValidationError, TypeError) as error:
            raise UserError(f"{path}: {name}: {' '.join(str(error).split())}") from error
    return cards


def open_checkpoint(name_or_dir: str, needs: tuple[str, ...] = ("encoder", "pooler", "NSP")) -> Checkpoint:
    """Return the checkpoint of a card's name (models/NAME) or of a folder.

    Raises UserError when files are missing or disagree, or when a head in `needs` is not in the weights.
    """
    cards = load_model_cards()
    folder = MODELS / name_or_dir if name_or_dir in cards else Path(name_or_dir)
    if not folder.is_dir():
        where = cards[name_or_dir].source if name_or_dir in cards else f"known names: {', '.join(cards)}"
        raise UserError(f"{folder}: no such checkpoint folder; {where}")
    name = next((known for known in cards if (MODELS / known).resolve() == folder.resolve()), folder.name)
    config = load_config(folder / "bert_config.json")
    vocab_path = folder / "vocab.txt"
    prefix = find_prefix(folder)
    shapes = read_shapes(prefix)
    heads = tuple(head for head, variable in HEADS.items() if variable in shapes)
    missing = [head for head in needs if head not in heads]
    if missing:
        with_nsp = ", ".join(cards)
        raise UserError(
            f"{folder}: no {' and no '.join(missing)} head in the weights (they hold: {', '.join(heads) or 'none'});"
            f" take a checkpoint that has one, e.g. {with_nsp}"
        )
    check_sizes(folder, config, len(load_vocabulary(vocab_path)), shapes)
    lower = cards[name].do_lower_case if name in cards else bool(config.get("do_lower_case", True))
    return Checkpoint(name, folder, config, vocab_path, prefix, heads, lower)


def load_config(path: Path) -> dict[str, Any]:
    """Return a `bert_config.json`. Raises UserError when it is absent, broken or lacks a key."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); a checkpoint folder needs it") from error
    except ValueError as error:
        raise UserError(f"{path}: broken JSON ({error}); fetch the checkpoint again") from error
    missing = [key for key in CONFIG_KEYS if key not in config]
    if missing:
        raise UserError(f"{path}: no {', '.join(missing)}; is it the configuration of a BERT?")
    return config


def load_vocabulary(vocab_path: Path) -> dict[str, int]:
    """Return token -> id of a `vocab.txt`, one token a line (LF or CRLF), the id being the line's index."""
    try:
        lines = vocab_path.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{vocab_path}: cannot be read ({error.strerror}); a checkpoint folder needs it") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{vocab_path}: not UTF-8 ({error.reason}); fetch the vocabulary again") from error
    if lines[-1] == "":
        lines.pop()
    vocabulary = {line.strip(): index for index, line in enumerate(lines)}
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise UserError(f"{vocab_path}: no {', '.join(missing)} among its {len(lines)} lines; is it a BERT vocabulary?")
    return vocabulary


def find_prefix(folder: Path) -> Path:
    """Return the TensorFlow checkpoint prefix in a folder. Raises UserError when there is none or more than one."""
    indices = sorted(folder.glob("*.ckpt*.index"))
    if len(indices) != 1:
        found = ", ".join(path.name for path in indices) or "none"
        raise UserError(f"{folder}: one *.ckpt.index is needed, found {found}; PyTorch weights must be converted first")
    prefix = indices[0].with_suffix("")
    if not list(folder.glob(f"{prefix.name}.data-*")):
        raise UserError(f"{prefix}.data-00000-of-00001: no such file; the index alone holds no weights, fetch it again")
    return prefix


def read_shapes(prefix: Path) -> dict[str, list[int]]:
    """Return variable name -> shape of a TensorFlow checkpoint. Raises UserError when it cannot be read."""
    tf = import_tensorflow()
    try:
        return tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError, LookupError, RuntimeError) as error:
        raise UserError(
            f"{prefix}: not a readable TensorFlow checkpoint ({_first_line(error)}); fetch it again"
        ) from error


def check_sizes(folder: Path, config: dict[str, Any], vocab_lines: int, shapes: dict[str, list[int]]) -> None:
    """Raise UserError when vocabulary, configuration and weights disagree."""
    rows, width = shapes[HEADS["encoder"]]
    if vocab_lines > config["vocab_size"] or config["vocab_size"] != rows:
        raise UserError(
            f"{folder}: vocab.txt has {vocab_lines} lines, bert_config.json says vocab_size {config['vocab_size']},"
            f" the weights hold {rows} word embeddings; take the three files of one checkpoint"
        )
    layers = sum(1 for name in shapes if name.endswith("/attention/self/query/kernel"))
    positions = shapes.get("bert/embeddings/position_embeddings", [0])[0]
    for key, found in (
        ("hidden_size", width),
        ("num_hidden_layers", layers),
        ("max_position_embeddings", positions),
    ):
        if config[key] != found:
            raise UserError(
                f"{folder}: bert_config.json says {key} {config[key]}, the weights {found};"
                " take the files of one checkpoint"
            )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
