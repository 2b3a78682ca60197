r"""Convert a BERT between PyTorch and the original TensorFlow format that the scripts read.

  python models/convert.py models/pytorch/bert-base-chinese \
    models/google-bert-zh
  python models/convert.py mixed_corpus_bert_base_model.bin \
    models/uer-mixed-bert-base --vocab vocab.txt
  python models/convert.py models/nsp_bert_mini nsp_bert_mini_pytorch

SOURCE is a Hugging Face folder (config.json, vocab.txt or tokenizer.json, model.safetensors or pytorch_model.bin), a
.bin file of UER-py (which carries no vocabulary: give --vocab, for its Chinese models the vocab.txt of google-bert-zh),
or a folder in the original TensorFlow format, which becomes a Hugging Face one. Every tensor is accounted for: what is
left out is listed, a shape that is not the configuration's or a missing tensor is an error. A Hugging Face folder can
also be given as --model as it is: it is converted into the user's cache. Needs safetensors, and torch for .bin files:
pip install safetensors torch
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

import argparse
import shutil
from pathlib import Path

from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.conversion import Tensors, to_hugging_face
from nsp_bert.checkpoints.hugging_face import write_json, write_tensorflow
from nsp_bert.checkpoints.tensors import read_tensors
from nsp_bert.checkpoints.torch_files import write_safetensors
from nsp_bert.cli import new_parser
from nsp_bert.errors import UserError
from nsp_bert.files import replacing_folder
from nsp_bert.terminal import run_main


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder or .bin file")
    parser.add_argument("target", type=Path, metavar="TARGET", help="folder to write; must not exist yet")
    parser.add_argument("--vocab", type=Path, metavar="FILE", help="a vocab.txt (default: the source's own)")
    parser.add_argument(
        "--heads", type=int, metavar="N", help="attention heads of a UER-py file (default: hidden size / 64)"
    )
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
    made = write_tensorflow(options.source, options.target, options.vocab, options.heads)
    report(f"{made.weights} ({made.kind})", options.target, len(made.converted.tensors), made.converted.left_out)
    print(f"heads: {', '.join(made.converted.heads)}")
    if "NSP" not in made.converted.heads:
        print("without an NSP head the task scripts cannot use it")


def to_pytorch(options: argparse.Namespace) -> None:
    checkpoint = open_checkpoint(str(options.source), needs=("encoder",))
    state, left_out = to_hugging_face(read_tensors(checkpoint.prefix))
    with replacing_folder(options.target) as folder:
        write_safetensors(state, folder / "model.safetensors")
        write_json(folder / "config.json", checkpoint.config | architecture(state))
        write_json(folder / "tokenizer_config.json", {"do_lower_case": checkpoint.do_lower_case})
        shutil.copyfile(checkpoint.vocab_path, folder / "vocab.txt")
    report(f"{checkpoint.name} (TensorFlow)", options.target, len(state), left_out)


def architecture(state: Tensors) -> dict[str, object]:
    """Return what a config.json says of the model beside its shape: with a classifier also the classes, by number."""
    if "classifier.weight" not in state:
        return {"model_type": "bert", "architectures": ["BertForPreTraining"]}
    names = [f"LABEL_{number}" for number in range(len(state["classifier.weight"]))]
    return {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
    }


def report(source: str, target: Path, carried: int, left_out: dict[str, str]) -> None:
    print(f"{source} -> {target}: {carried} tensors")
    for name, reason in sorted(left_out.items()):
        print(f"left out: {name} ({reason})")


if __name__ == "__main__":
    run_main(main)
