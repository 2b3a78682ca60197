"""Tiny random BERT checkpoints for tests: NumPy alone decides the weights, so that any implementation can load them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ASCII = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
PUNCTUATION = list("，。！？；：、“”‘’（）《》…—·")


def vocabulary() -> list[str]:
    """Return special tokens, ASCII, `##` continuations, Chinese punctuation and the common CJK characters."""
    pieces = ["##" + character for character in ASCII if character.isalnum()]
    return SPECIAL + ASCII + pieces + PUNCTUATION + [chr(code) for code in range(0x4E00, 0x9FA6)]


def config(
    layers: int = 2, hidden: int = 32, max_position: int = 256, vocab_size: int | None = None, segments: int = 2
) -> dict[str, Any]:
    """Return the contents of a `bert_config.json`."""
    return {
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": max_position,
        "num_attention_heads": 4,
        "num_hidden_layers": layers,
        "type_vocab_size": segments,
        "vocab_size": vocab_size or len(vocabulary()),
    }


def weights(
    config: dict[str, Any], seed: int = 0, heads: tuple[str, ...] = ("pooler", "MLM", "NSP"), classes: int = 0
) -> dict:
    """Return Google's variable names -> float32 arrays, drawn wide enough for scores that differ visibly.

    Without segments, or with a classifier of so many `classes`, the others are the same.
    """
    rng = np.random.default_rng(seed)
    hidden, wide = config["hidden_size"], config["intermediate_size"]

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.15, shape).astype(np.float32)

    tensors: dict[str, np.ndarray] = {
        "bert/embeddings/word_embeddings": draw(config["vocab_size"], hidden),
        "bert/embeddings/token_type_embeddings": draw(2, hidden),
        "bert/embeddings/position_embeddings": draw(config["max_position_embeddings"], hidden),
    }

    if not config["type_vocab_size"]:
        del tensors["bert/embeddings/token_type_embeddings"]

    def norm(name: str) -> None:
        tensors[f"{name}/beta"] = draw(hidden)
        tensors[f"{name}/gamma"] = 1 + draw(hidden)

    def dense(name: str, inputs: int, outputs: int) -> None:
        tensors[f"{name}/kernel"] = draw(inputs, outputs)
        tensors[f"{name}/bias"] = draw(outputs)

    norm("bert/embeddings/LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        prefix = f"bert/encoder/layer_{layer}"
        for part in ("query", "key", "value"):
            dense(f"{prefix}/attention/self/{part}", hidden, hidden)
        dense(f"{prefix}/attention/output/dense", hidden, hidden)
        norm(f"{prefix}/attention/output/LayerNorm")
        dense(f"{prefix}/intermediate/dense", hidden, wide)
        dense(f"{prefix}/output/dense", wide, hidden)
        norm(f"{prefix}/output/LayerNorm")
    if "pooler" in heads:
        dense("bert/pooler/dense", hidden, hidden)
    if "MLM" in heads:
        dense("cls/predictions/transform/dense", hidden, hidden)
        norm("cls/predictions/transform/LayerNorm")
        tensors["cls/predictions/output_bias"] = draw(config["vocab_size"])
    if "NSP" in heads:
        tensors["cls/seq_relationship/output_weights"] = draw(2, hidden) * 4
        tensors["cls/seq_relationship/output_bias"] = draw(2)
    if classes:
        tensors["output_weights"] = draw(classes, hidden) * 4
        tensors["output_bias"] = draw(classes)
    return tensors


def write(
    folder: Path,
    tensors: dict[str, np.ndarray],
    config: dict[str, Any],
    tokens: list[str],
    name: str = "bert_model.ckpt",
) -> Path:
    """Write a checkpoint folder in the original TensorFlow format and return it."""
    from nsp_bert.environment import import_tensorflow

    tf = import_tensorflow()
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(folder / name),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensors[one] for one in names],
    )
    (folder / "bert_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8", newline="\n")
    return folder


def random_checkpoint(
    folder: Path, seed: int = 0, heads: tuple[str, ...] = ("pooler", "MLM", "NSP"), classes: int = 0, **shape: int
) -> Path:
    """Write a random checkpoint of a given shape and return its folder."""
    settings = config(**shape)
    return write(folder, weights(settings, seed, heads, classes), settings, vocabulary()[: settings["vocab_size"]])
