"""The configuration of a BERT, checked, and the variables that a checkpoint of it holds, with their shapes."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from nsp_bert.cards import validation_reasons
from nsp_bert.errors import UserError
from nsp_bert.files import parse_json

FETCH_AGAIN = "fetch the checkpoint again"
HEADS = {  # the variable that tells of a head
    "encoder": "bert/embeddings/word_embeddings",
    "pooler": "bert/pooler/dense/kernel",
    "MLM": "cls/predictions/transform/dense/kernel",
    "NSP": "cls/seq_relationship/output_weights",
    "classifier": "output_weights",
}
CLASSIFIER = ("output_weights", "output_bias")  # as Google's run_classifier names them
SOFT_EMBEDDINGS = "soft_prompt/embeddings"  # of soft tokens that come in after the normalisation of the others
SEGMENT_TABLE = "bert/embeddings/token_type_embeddings"
Shape = tuple[int, ...]


class BertConfig(BaseModel):
    """What a `bert_config.json` has to say, of the right types; other keys are left as they are."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    vocab_size: int = Field(gt=0)
    soft_tokens: int = Field(default=0, ge=0)  # the last ones of the vocabulary
    hidden_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    hidden_act: str
    max_position_embeddings: int = Field(gt=0)
    type_vocab_size: int = Field(default=2, ge=0)  # 0: no segments, as in a causal language model
    hidden_dropout_prob: float = Field(default=0.1, ge=0, lt=1)
    attention_probs_dropout_prob: float = Field(default=0.1, ge=0, lt=1)
    initializer_range: float = Field(default=0.02, gt=0)
    do_lower_case: bool | None = None
    checkpoint_name: str | None = None

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"{self.num_attention_heads} heads do not divide hidden_size {self.hidden_size}")
        if self.soft_tokens >= self.vocab_size:
            raise ValueError(f"{self.soft_tokens} soft_tokens leave nothing of vocab_size {self.vocab_size}")
        return self


def load_config(path: Path) -> dict[str, Any]:
    """Return a `bert_config.json`.

    Raises UserError when it is absent or broken, or a key is missing or of a wrong type.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); a checkpoint folder needs it") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); {FETCH_AGAIN}") from error
    config = parse_json(text, str(path), FETCH_AGAIN)
    if not isinstance(config, dict):
        raise UserError(f"{path}: not a JSON object; is it the configuration of a BERT?")
    try:
        BertConfig.model_validate(config)
    except ValidationError as error:
        raise UserError(f"{path}: {validation_reasons(error)}; is it the configuration of a BERT?") from error
    return config


def count_classes(held: Mapping[str, Sequence[int]]) -> int:
    """Return how many classes the classifier among variables of these shapes has, 0 where there is none."""
    return next((held[name][0] for name in CLASSIFIER if held.get(name)), 0)


def google_shapes(config: dict[str, Any], classes: int) -> dict[str, Shape]:
    """Return Google's variables of a configuration, all heads and the pooler included, with their shapes.

    A type_vocab_size of 0 has no table of segments; `classes` are a classifier's, of which a configuration says
    nothing.
    """
    hidden, wide, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    shapes: dict[str, Shape] = {
        "bert/embeddings/word_embeddings": (vocab, hidden),
        "bert/embeddings/position_embeddings": (config["max_position_embeddings"], hidden),
        "cls/predictions/output_bias": (vocab,),
        "cls/seq_relationship/output_weights": (2, hidden),
        "cls/seq_relationship/output_bias": (2,),
        "output_weights": (classes, hidden),
        "output_bias": (classes,),
    }
    if segments := config.get("type_vocab_size", 2):
        shapes[SEGMENT_TABLE] = (segments, hidden)
    dense = {"bert/pooler/dense": (hidden, hidden), "cls/predictions/transform/dense": (hidden, hidden)}
    norms = ["bert/embeddings/LayerNorm", "cls/predictions/transform/LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"bert/encoder/layer_{layer}"
        dense |= {f"{prefix}/attention/self/{part}": (hidden, hidden) for part in ("query", "key", "value")}
        dense[f"{prefix}/attention/output/dense"] = (hidden, hidden)
        dense[f"{prefix}/intermediate/dense"] = (hidden, wide)
        dense[f"{prefix}/output/dense"] = (wide, hidden)
        norms += [f"{prefix}/attention/output/LayerNorm", f"{prefix}/output/LayerNorm"]
    for name, shape in dense.items():
        shapes |= {f"{name}/kernel": shape, f"{name}/bias": shape[1:]}
    for name in norms:
        shapes |= {f"{name}/gamma": (hidden,), f"{name}/beta": (hidden,)}
    return shapes


def check_shapes(held: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> None:
    """Raise UserError naming the first variable that is held in another shape than the configuration's."""
    for name, shape in held.items():
        if name in shapes and tuple(shape) != shapes[name]:
            raise UserError(
                f"{name}: the weights have the shape {tuple(shape)}, the configuration says {shapes[name]};"
                " take weights and configuration of the same checkpoint"
            )


def check_complete(held: Container[str], shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """Return the heads that are there whole. Raises UserError when the encoder or half a head is missing."""
    groups: dict[str, list[str]] = {head: [] for head in HEADS}
    for name in shapes:
        groups[_head_of(name)].append(name)
    heads = []
    for head, names in groups.items():
        missing = [name for name in names if name not in held]
        if missing and (head == "encoder" or len(missing) < len(names)):
            shown = ", ".join(missing[:4]) + (f" … ({len(missing)} in all)" if len(missing) > 4 else "")
            raise UserError(f"the weights lack {shown}; is the file whole, and is it a BERT?")
        if not missing:
            heads.append(head)
    return tuple(heads)


def _head_of(google: str) -> str:
    prefixes = {
        "bert/pooler": "pooler",
        "cls/predictions": "MLM",
        "cls/seq_relationship": "NSP",
        "output_": "classifier",
    }
    return next((head for prefix, head in prefixes.items() if google.startswith(prefix)), "encoder")
