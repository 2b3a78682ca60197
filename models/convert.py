"""Convert a BERT between PyTorch and the original TensorFlow format that the scripts read.

  python models/convert.py models/pytorch/bert-base-chinese models/google-bert-zh
  python models/convert.py mixed_corpus_bert_base_model.bin models/uer-mixed-bert-base --vocab vocab.txt
  python models/convert.py models/nsp_bert_mini nsp_bert_mini_pytorch

SOURCE is a Hugging Face folder (config.json, vocab.txt, model.safetensors or pytorch_model.bin), a .bin file of UER-py
(which carries no vocabulary: give --vocab, for its Chinese models the vocab.txt of google-bert-zh), or a folder in the
original TensorFlow format, which becomes a Hugging Face one. Every tensor is accounted for: what is left out is listed,
a shape that is not the configuration's or a missing tensor is an error. Needs safetensors, and torch for .bin files:
pip install safetensors torch
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from nsp_bert.checkpoints.checkpoint import load_vocabulary, open_checkpoint
from nsp_bert.checkpoints.conversion import config_from_uer, is_uer, to_google, to_hugging_face
from nsp_bert.checkpoints.shapes import BertConfig, load_config
from nsp_bert.checkpoints.tensors import read_tensors, write_tensors
from nsp_bert.checkpoints.torch_files import find_weights, read_state, write_safetensors
from nsp_bert.errors import UserError
from nsp_bert.files import parse_json, replacing_folder
from nsp_bert.terminal import run_main

KEPT_KEYS = tuple(key for key in BertConfig.model_fields if key not in ("do_lower_case", "checkpoint_name"))


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder or .bin file")
    parser.add_argument("target", type=Path, metavar="TARGET", help="folder to write; must not exist yet")
    parser.add_argument("--vocab", type=Path, metavar="FILE", help="vocab.txt, where the source has none")
    parser.add_argument("--heads", type=int, help="attention heads of a UER-py file; default hidden / 64")
    parser.add_argument("--overwrite", action="store_true", help="replace TARGET")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    if options.target.exists() and not options.overwrite:
        raise UserError(f"{options.target}: is there already; give --overwrite to replace it")
    if options.source.is_dir() and list(options.source.glob("*.ckpt*.index")):
        to_pytorch(options)
    else:
        to_tensorflow(options)
    return 0


def to_tensorflow(options: argparse.Namespace) -> None:
    weights = find_weights(options.source)
    state = read_state(weights)
    uer = is_uer(list(state))
    config = config_from_uer(state, options.heads) if uer else hugging_face_config(weights.parent / "config.json")
    vocab = options.vocab or weights.parent / "vocab.txt"
    if not vocab.is_file():
        raise UserError(f"{vocab}: no such file; give --vocab (UER-py's Chinese models: the one of google-bert-zh)")
    size = len(load_vocabulary(vocab))
    if size > config["vocab_size"]:
        raise UserError(f"{vocab}: {size} lines, but the weights hold {config['vocab_size']} word embeddings")
    converted = to_google(state, config)
    with replacing_folder(options.target) as folder:
        write_tensors(folder / "bert_model.ckpt", converted.tensors)
        write_json(folder / "bert_config.json", config)
        shutil.copyfile(vocab, folder / "vocab.txt")
    kind = "UER-py" if uer else "Hugging Face"
    report(f"{weights} ({kind})", options.target, len(converted.tensors), converted.left_out)
    print(f"heads: {', '.join(converted.heads)}")
    if "NSP" not in converted.heads:
        print("without an NSP head the task scripts cannot use it")


def to_pytorch(options: argparse.Namespace) -> None:
    checkpoint = open_checkpoint(str(options.source), needs=("encoder",))
    state, left_out = to_hugging_face(read_tensors(checkpoint.prefix))
    with replacing_folder(options.target) as folder:
        write_safetensors(state, folder / "model.safetensors")
        config = checkpoint.config | {"model_type": "bert", "architectures": ["BertForPreTraining"]}
        write_json(folder / "config.json", config)
        write_json(folder / "tokenizer_config.json", {"do_lower_case": checkpoint.do_lower_case})
        shutil.copyfile(checkpoint.vocab_path, folder / "vocab.txt")
    report(f"{checkpoint.name} (TensorFlow)", options.target, len(state), left_out)


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
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def report(source: str, target: Path, carried: int, left_out: dict[str, str]) -> None:
    print(f"{source} -> {target}: {carried} tensors")
    for name, reason in sorted(left_out.items()):
        print(f"left out: {name} ({reason})")


if __name__ == "__main__":
    run_main(main)
