"""Folders in Hugging Face's or UER-py's format -> a checkpoint in the original TensorFlow format."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nsp_bert.checkpoints.conversion import Converted, config_from_uer, is_uer, to_google
from nsp_bert.checkpoints.shapes import BertConfig, load_config
from nsp_bert.checkpoints.tensors import write_tensors
from nsp_bert.checkpoints.torch_files import WEIGHT_FILES, find_weights, read_state
from nsp_bert.checkpoints.vocabulary import load_vocabulary, tokens_of_tokenizer
from nsp_bert.errors import UserError
from nsp_bert.files import digest, parse_json, replacing_folder, write_text

KEPT_KEYS = tuple(key for key in BertConfig.model_fields if key not in ("do_lower_case", "checkpoint_name"))


@dataclass(frozen=True)
class Conversion:
    """What was converted from which file, of which project."""

    weights: Path
    kind: str
    converted: Converted


def is_hugging_face(folder: Path) -> bool:
    """Return whether a folder has Hugging Face's configuration and weights."""
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in WEIGHT_FILES)


def cached_copy(folder: Path) -> Path:
    """Return the TensorFlow copy of a folder in Hugging Face's format, in the user's cache; made where it is not there.

    It is known by the checksums of what it was made from. Raises UserError where the folder cannot be converted.
    """
    names = ("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json", find_weights(folder).name)
    made_from = "".join(digest(folder / name) for name in names if (folder / name).is_file())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nsp_bert"
    copy = cache / f"{folder.resolve().name}.{hashlib.sha256(made_from.encode()).hexdigest()[:16]}"
    if not copy.is_dir():
        print(f"{folder}: Hugging Face's format; converting it once, into {copy}")
        write_tensorflow(folder, copy)
    return copy


def write_tensorflow(source: Path, target: Path, vocab: Path | None = None, heads: int | None = None) -> Conversion:
    """Write a checkpoint in TensorFlow's format from a folder or a weight file of Hugging Face or UER-py.

    `vocab` stands in for a vocabulary that is not beside the weights, `heads` are the attention heads of a UER-py file.
    Raises UserError where configuration, vocabulary and weights are not one BERT's.
    """
    weights = find_weights(source)
    state = read_state(weights)
    uer = is_uer(list(state))
    config = config_from_uer(state, heads) if uer else hugging_face_config(weights.parent / "config.json")
    if vocab is None and uer and not (weights.parent / "vocab.txt").is_file():
        raise UserError(f"{weights}: no vocab.txt beside it; give --vocab (UER-py's Chinese models: google-bert-zh's)")
    vocab = vocab or weights.parent / "vocab.txt"
    tokens = load_vocabulary(vocab) if vocab.is_file() else tokens_of_tokenizer(weights.parent)
    if len(tokens) > config["vocab_size"]:
        raise UserError(f"{vocab}: {len(tokens)} lines, but the weights hold {config['vocab_size']} word embeddings")
    converted = to_google(state, config)
    with replacing_folder(target) as folder:
        write_tensors(folder / "bert_model.ckpt", converted.tensors)
        write_json(folder / "bert_config.json", config)
        if vocab.is_file():
            shutil.copyfile(vocab, folder / "vocab.txt")
        else:
            write_text("\n".join(tokens) + "\n", folder / "vocab.txt")
    return Conversion(weights, "UER-py" if uer else "Hugging Face", converted)


def hugging_face_config(path: Path) -> dict[str, Any]:
    """Return the BERT configuration in a Hugging Face folder. Raises UserError when it is another model's."""
    config = load_config(path)
    if config.get("model_type", "bert") != "bert":
        raise UserError(f"{path}: model_type is {config['model_type']!r}, not a BERT")
    kept = {key: config[key] for key in KEPT_KEYS if key in config}
    tokenizer = path.with_name("tokenizer_config.json")
    if tokenizer.is_file():
        settings = parse_json(tokenizer.read_text(encoding="utf-8"), str(tokenizer), "fetch the model again")
        lower = settings.get("do_lower_case") if isinstance(settings, dict) else None
        if lower not in (None, True, False):
            raise UserError(f"{tokenizer}: do_lower_case is {lower!r}, neither true nor false; fetch the model again")
        kept |= {} if lower is None else {"do_lower_case": bool(lower)}
    return kept


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object with sorted keys."""
    write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", path)
