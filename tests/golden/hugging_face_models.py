"""Hugging Face's models with the arrays of a checkpoint in Google's names, and what they say of token ids.

No TensorFlow and none of our engine: the golden values and the benchmarks of parity rest on this.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForSequenceClassification,
    BertLMHeadModel,
    PreTrainedModel,
)

ModelT = TypeVar("ModelT", bound=PreTrainedModel)


class MaskedClassifier(BertForMaskedLM):
    """An MLM head, and a linear layer on [CLS] without the pooler."""

    def __init__(self, config: BertConfig):
        super().__init__(config)
        self.classifier = torch.nn.Linear(config.hidden_size, config.num_labels)


VOCABULARY, NEXT_SENTENCE = ("cls/predictions",), ("bert/pooler", "cls/seq_relationship")
OTHER_HEADS = {
    BertForNextSentencePrediction: VOCABULARY,
    BertForMaskedLM: NEXT_SENTENCE,
    MaskedClassifier: NEXT_SENTENCE,
    BertForPreTraining: (),
    BertForSequenceClassification: ("cls/",),
    BertLMHeadModel: NEXT_SENTENCE,
}
NOT_IN_FILES = {"bert.embeddings.position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
TORCH_NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "output_weights": "weight",
    "output_bias": "bias",
    "_embeddings": "_embeddings.weight",
}


def hugging_face_model(
    config: dict[str, Any], tensors: dict[str, Any], kind: type[ModelT] = BertForNextSentencePrediction
) -> ModelT:
    """Load Google-named arrays into Hugging Face's model, every parameter accounted for; it leaves out other heads.

    Those of a classifier are classifier/output_weights and classifier/output_bias.
    """
    model = kind(BertConfig(**config)).eval()
    state = {}
    for name, value in tensors.items():
        if name.startswith(OTHER_HEADS[kind]):
            continue
        state[torch_name(name)] = torch.tensor(value.T if name.endswith("kernel") else value)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= NOT_IN_FILES, missing
    model.tie_weights()
    return model


def torch_name(name: str) -> str:
    """Return Hugging Face's name of a variable of Google's; a kernel is transposed there."""
    ending = next((ending for ending in TORCH_NAMES if name.endswith(ending)), "")
    renamed = name.removesuffix(ending) + TORCH_NAMES.get(ending, "")
    return renamed.replace("layer_", "layer.").replace("/", ".")


def causal_model(config: dict[str, Any], tensors: dict[str, Any]) -> BertLMHeadModel:
    """Load the same arrays into a model that sees what is before a place alone, without segments."""
    segments = "bert/embeddings/token_type_embeddings"
    without = tensors | {segments: 0 * tensors[segments]}
    return hugging_face_model(config | {"is_decoder": True}, without, BertLMHeadModel)


@torch.inference_mode()
def masked_scores(model: BertForMaskedLM, token_ids: list[int], mask_id: int, words: list[list[int]]) -> torch.Tensor:
    """Return for each word (C,) the sum of its tokens' log-probabilities at the masks of a row, all filled at once."""
    row = torch.tensor([token_ids])
    found = model(row).logits[0, row[0] == mask_id].log_softmax(-1)
    return found[torch.arange(len(found)), torch.tensor(words)].sum(-1)


@torch.inference_mode()
def causal_scores(model: BertLMHeadModel, rows: list[list[int]], asked: int) -> torch.Tensor:
    """Return for each row (C,) the sum of the log-probabilities of its last tokens, `asked` of them.

    The rows are equally long, so that there is no padding.
    """
    row_ids = torch.tensor(rows)
    found = model(row_ids, logits_to_keep=asked + 1).logits[:, :-1].log_softmax(-1)
    return found.gather(-1, row_ids[:, -asked:, None]).sum((1, 2))


@torch.inference_mode()
def mean_vector(model: PreTrainedModel, token_ids: list[int]) -> torch.Tensor:
    """Return the mean (width,) of the last layer over all tokens."""
    return model.bert(torch.tensor([token_ids])).last_hidden_state[0].mean(0)
