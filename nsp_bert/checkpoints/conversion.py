"""Tensors of BERT by the names of three worlds: Google's TensorFlow checkpoints, Hugging Face, UER-py.

Every tensor is accounted for: it is carried over, or it is named as left out or missing. Nothing is drawn at random.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from nsp_bert.checkpoints.shapes import check_complete, check_shapes, count_classes, google_shapes
from nsp_bert.errors import UserError

Tensors = dict[str, np.ndarray]
HEAD_SIZE = 64  # every published BERT has it; a UER file does not tell the number of attention heads

# Spellings of UER-py and of its successor -> Hugging Face's.
UER_NAMES = {
    r"embedding\.(word_embedding|word\.embedding)": "bert.embeddings.word_embeddings",
    r"embedding\.(position_embedding|pos\.embedding)": "bert.embeddings.position_embeddings",
    r"embedding\.(segment_embedding|seg\.embedding)": "bert.embeddings.token_type_embeddings",
    r"embedding\.layer_norm": "bert.embeddings.LayerNorm",
    r"target\.n?sp[_.]linear_1": "bert.pooler.dense",
    r"target\.n?sp[_.]linear_2": "cls.seq_relationship",
    r"target\.mlm[_.]linear_1": "cls.predictions.transform.dense",
    r"target\.(mlm\.)?layer_norm": "cls.predictions.transform.LayerNorm",
    r"target\.mlm[_.]linear_2": "cls.predictions.decoder",
}
UER_LAYER = re.compile(r"encoder\.(?:transformer|layers?)\.(\d+)\.(.+)\.(\w+)")
UER_LAYER_NAMES = {
    "self_attn.linear_layers.0": "attention.self.query",
    "self_attn.linear_layers.1": "attention.self.key",
    "self_attn.linear_layers.2": "attention.self.value",
    "self_attn.final_linear": "attention.output.dense",
    "layer_norm_1": "attention.output.LayerNorm",
    "feed_forward.linear_1": "intermediate.dense",
    "feed_forward.linear_2": "output.dense",
    "layer_norm_2": "output.LayerNorm",
}
WRAPPERS = re.compile(r"^(?:module\.|model\.)+")
BUFFERS = re.compile(r"(?:^|\.)embeddings\.(?:position_ids|token_type_ids)$")
DECODER = "cls.predictions.decoder.weight"
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
SEGMENTS = "bert.embeddings.token_type_embeddings.weight"
FOREIGN = "no part of a BERT, of its pre-training heads or of a classifier"
SPECIAL_NAMES = {  # Google's: the rest of a name is spelled by rule
    "cls/predictions/output_bias": "cls.predictions.bias",
    "cls/seq_relationship/output_weights": "cls.seq_relationship.weight",
    "cls/seq_relationship/output_bias": "cls.seq_relationship.bias",
    "output_weights": "classifier.weight",
    "output_bias": "classifier.bias",
}
GOOGLE_NAMES = {theirs: google for google, theirs in SPECIAL_NAMES.items()}


@dataclass(frozen=True)
class Converted:
    """Tensors by Google's names, float32; what was left out with the reason; the heads that are there."""

    tensors: Tensors
    left_out: dict[str, str]
    heads: tuple[str, ...]


def is_uer(names: list[str]) -> bool:
    """Return whether tensors are named as UER-py names them."""
    return any(WRAPPERS.sub("", name).startswith("embedding.") for name in names)


def to_hugging_face_names(state: Tensors) -> Tensors:
    """Return tensors of a Hugging Face or UER-py state under Hugging Face's present names.

    Taken away: wrappers (`module.`), the first row of UER's three segment embeddings (its padding), a missing `bert.`
    and the old LayerNorm names gamma and beta.
    """
    uer = is_uer(list(state))
    renamed: Tensors = {}
    for name, tensor in state.items():
        new = WRAPPERS.sub("", name)
        if uer:
            new = _uer_to_hugging_face(new)
            tensor = tensor[1:] if new == SEGMENTS else tensor
        elif re.match(r"(embeddings|encoder|pooler)\.", new):
            new = f"bert.{new}"
        new = new.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        renamed[new] = tensor
    return renamed


def _uer_to_hugging_face(name: str) -> str:
    if (layer := UER_LAYER.fullmatch(name)) and layer[2] in UER_LAYER_NAMES:
        return f"bert.encoder.layer.{layer[1]}.{UER_LAYER_NAMES[layer[2]]}.{layer[3]}"
    for pattern, replacement in UER_NAMES.items():
        if match := re.fullmatch(rf"{pattern}\.(?P<end>\w+)", name):
            new = f"{replacement}.{match['end']}"
            return "cls.predictions.bias" if new == "cls.predictions.decoder.bias" else new
    return name


def to_google(state: Tensors, config: dict[str, Any]) -> Converted:
    """Return a Hugging Face or UER-py state as Google's variables.

    Raises UserError when a tensor of the encoder is missing, half a head is, or a shape is not the configuration's.
    """
    named = to_hugging_face_names(state)
    classes = count_classes({google_name(name): tensor.shape for name, tensor in named.items()})
    shapes = google_shapes(config, classes)
    tensors: Tensors = {}
    left_out: dict[str, str] = {}
    for name, tensor in named.items():
        google = google_name(name)
        if google in shapes:
            value = tensor.T if is_transposed(google) else tensor
            tensors[google] = np.ascontiguousarray(value, dtype=np.float32)
        elif re.match(r"bert/encoder/layer_\d+/", google) and not BUFFERS.search(name):
            raise UserError(
                f"{name}: the weights hold a layer more than the {config['num_hidden_layers']} of the configuration;"
                " take weights and configuration of the same checkpoint"
            )
        else:
            left_out[name] = _reason(name, tensor, named)
    check_shapes({name: tensor.shape for name, tensor in tensors.items()}, shapes)
    return Converted(tensors, left_out, check_complete(tensors, shapes))


def _reason(name: str, tensor: np.ndarray, named: Tensors) -> str:
    if BUFFERS.search(name):
        return "a buffer, not a weight"
    twin = {DECODER: EMBEDDINGS, "cls.predictions.decoder.bias": "cls.predictions.bias"}.get(name)
    if twin in named:
        same = named[twin].shape == tensor.shape and np.array_equal(named[twin], tensor)
        return f"equal to {twin}" if same else f"DIFFERS from {twin}, to which the original format ties it"
    return FOREIGN


def to_hugging_face(tensors: Tensors) -> tuple[Tensors, dict[str, str]]:
    """Return Google's variables under Hugging Face's names, and the variables left out with the reason."""
    state: Tensors = {}
    left_out: dict[str, str] = {}
    for google, tensor in tensors.items():
        name = hugging_face_name(google)
        if name is None:
            left_out[google] = FOREIGN
        else:
            state[name] = np.ascontiguousarray(tensor.T if is_transposed(google) else tensor)
    return state, left_out


def google_name(name: str) -> str:
    """Return Google's name of a Hugging Face tensor; what is none of BERT's gets a name that no BERT has."""
    if name in GOOGLE_NAMES:
        return GOOGLE_NAMES[name]
    google = re.sub(r"\.layer\.(\d+)\.", r".layer_\1.", name).replace(".", "/")
    if "LayerNorm" in google:
        return google.replace("/weight", "/gamma").replace("/bias", "/beta")
    google = google.removesuffix("/weight") if google.endswith("_embeddings/weight") else google
    return re.sub(r"/weight$", "/kernel", google)


def hugging_face_name(google: str) -> str | None:
    """Return Hugging Face's name of one of Google's variables, None for what is none of BERT's (optimiser slots)."""
    if google in SPECIAL_NAMES:
        return SPECIAL_NAMES[google]
    if not google.startswith(("bert/", "cls/")) or re.search(r"adam|lamb", google, re.IGNORECASE):
        return None
    name = re.sub(r"layer_(\d+)/", r"layer/\1/", google).replace("/", ".")
    name = re.sub(r"\.(gamma|kernel)$", ".weight", name)
    name = re.sub(r"\.beta$", ".bias", name)
    return f"{name}.weight" if name.endswith("_embeddings") else name


def is_transposed(google: str) -> bool:
    """Return whether PyTorch keeps the transpose of this variable."""
    return google.endswith("/kernel")


def config_from_uer(state: Tensors, heads: int | None) -> dict[str, Any]:
    """Return the configuration that the shapes of a UER-py state tell; the number of heads is hidden / 64 by default.

    Raises UserError when the tensors are not those of a BERT.
    """
    named = to_hugging_face_names(state)
    layers = {int(match[1]) for name in named if (match := re.match(r"bert\.encoder\.layer\.(\d+)\.", name))}
    try:
        vocab, hidden = named[EMBEDDINGS].shape
        wide = named["bert.encoder.layer.0.intermediate.dense.weight"].shape[0]
        positions = named["bert.embeddings.position_embeddings.weight"].shape[0]
        segments = named[SEGMENTS].shape[0]
    except KeyError as error:
        raise UserError(f"the weights lack {error.args[0]}; is this a BERT of UER-py?") from error
    return {
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": wide,
        "max_position_embeddings": positions,
        "num_attention_heads": heads or hidden // HEAD_SIZE,
        "num_hidden_layers": len(layers),
        "type_vocab_size": segments,
        "vocab_size": vocab,
    }
