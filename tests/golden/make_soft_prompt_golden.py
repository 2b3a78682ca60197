"""Makes tests/golden/soft_prompt.json: steps of P-tuning by PyTorch and Hugging Face alone.

  python tests/golden/make_soft_prompt_golden.py

The soft tokens go through torch's LSTM and two linear layers, or come out of a table. `before`: they are rows of the
model's inputs_embeds; `after`: they overwrite what BertEmbeddings returns, and the encoder and the head follow. What is
kept, and the optimiser, are those of make_training_golden.py. The LSTM's second bias, which Keras does not have, is 0
and stays so. A causal model is a decoder whose table of segments is 0 and stays so; it is asked for tokens at other
places, which see soft ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from hugging_face_models import causal_model, hugging_face_model, torch_name
from make_training_golden import (
    EPSILON,
    SETTINGS,
    STEPS,
    batch,
    digits,
    kept_places,
    lines,
    optimizer_of,
    tensors,
    tokens_loss,
)
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertForMaskedLM, BertForNextSentencePrediction, BertLMHeadModel, PreTrainedModel

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import random_checkpoint  # noqa: E402
import random_prompt  # noqa: E402

# (row, place, number of the soft token); the first one is in two rows
SOFT = [(0, 8, 0), (0, 9, 1), (1, 4, 0), (2, 4, 2)]
CAUSAL_PLACES = [9, 10, 18, 34, 36, 40]  # into the flattened batch


class Case(NamedTuple):
    """A model, an encoder of soft tokens, where they come in, whether they alone are trained."""

    kind: type[PreTrainedModel]
    encoder: str
    insert: str
    freeze: bool = False

    @property
    def causal(self) -> bool:
        """Whether the model sees what is before a place alone."""
        return self.kind is BertLMHeadModel


class Prompt(nn.Module):
    """Soft tokens, and what encodes them."""

    def __init__(self, encoder: str):
        """Take the weights of random_prompt."""
        super().__init__()
        width = random_prompt.WIDTH
        drawn = {name: torch.tensor(value) for name, value in random_prompt.weights(encoder).items()}
        self.table = nn.Parameter(drawn["table"])
        self.names = {"table": "table"}
        if encoder == "none":
            return
        self.lstm = nn.LSTM(width, width // 2, 2, batch_first=True, bidirectional=True)
        self.mlp = nn.ModuleList([nn.Linear(width, width) for _ in range(2)])
        for layer in range(2):
            for direction, ending in zip(random_prompt.DIRECTIONS, ("", "_reverse"), strict=True):
                ours, torchs = f"lstm_{layer}/{direction}", f"l{layer}{ending}"
                self.names[f"{ours}/kernel"] = f"lstm.weight_ih_{torchs}"
                self.names[f"{ours}/recurrent"] = f"lstm.weight_hh_{torchs}"
                self.names[f"{ours}/bias"] = f"lstm.bias_ih_{torchs}"
                second = self.get_parameter(f"lstm.bias_hh_{torchs}")
                second.data.zero_()
                second.requires_grad_(False)
            self.names |= {f"mlp_{layer}/kernel": f"mlp.{layer}.weight", f"mlp_{layer}/bias": f"mlp.{layer}.bias"}
        for ours, torchs in self.names.items():
            self.get_parameter(torchs).data.copy_(
                drawn[ours].T if drawn[ours].ndim > 1 and ours != "table" else drawn[ours]
            )

    def forward(self) -> Tensor:
        """Return the embeddings (N, width)."""
        if len(self.names) == 1:
            return self.table
        rows, _ = self.lstm(self.table[None])
        return self.mlp[1](functional.relu(self.mlp[0](rows)))[0]


class Prompted(nn.Module):
    """A model with a prompt."""

    def __init__(self, case: Case):
        """Load the tests' weights, in float64 and without dropout."""
        super().__init__()
        config = random_checkpoint.config() | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        self.case = case
        weights = random_checkpoint.weights(config)
        self.model = causal_model(config, weights) if case.causal else hugging_face_model(config, weights, case.kind)
        self.prompt = Prompt(case.encoder)
        self.model.requires_grad_(not case.freeze)
        if case.causal:
            self.model.bert.embeddings.token_type_embeddings.requires_grad_(False)
        self.double().train()

    def forward(self, arrays: dict[str, Tensor]) -> Tensor:
        """Return the logits of the head."""
        embeddings, words = self.model.bert.embeddings, arrays["token_ids"].clone()
        first = self.model.config.vocab_size
        soft = words >= first
        rows = self.prompt()[words[soft] - first]
        words[soft] = 0
        own = {"token_type_ids": arrays["segment_ids"], "position_ids": arrays["position_ids"]}
        mask = (arrays["token_ids"] != 0).long()
        if self.case.insert == "before":
            inputs = embeddings.word_embeddings(words).masked_scatter(soft[..., None], rows)
            return self.model(inputs_embeds=inputs, attention_mask=mask, **own).logits
        states = embeddings(input_ids=words, **own).masked_scatter(soft[..., None], rows)
        there = mask[:, None, None, :].bool()
        if self.case.causal:
            there = there & torch.ones(mask.shape[1], mask.shape[1]).tril().bool()
        seen = (1.0 - there.double()) * torch.finfo(torch.float64).min
        encoded = self.model.bert.encoder(states, attention_mask=seen)[0]
        if not isinstance(self.model, BertForNextSentencePrediction):
            return self.model.cls(encoded)
        return self.model.cls(self.model.bert.pooler(encoded))

    def loss(self, arrays: dict[str, Tensor]) -> Tensor:
        """Return the loss of the case's head."""
        logits = self(arrays)
        if not isinstance(self.model, BertForNextSentencePrediction):
            return tokens_loss(logits, arrays, arrays["token_weights"])
        odds, weights = logits[:, 0] - logits[:, 1], arrays["row_weights"]
        return functional.binary_cross_entropy_with_logits(odds, arrays["is_next"], weights, reduction="sum")


CASES = {
    "lstm_before": Case(BertForMaskedLM, "lstm", "before"),
    "lstm_after": Case(BertForMaskedLM, "lstm", "after"),
    "lstm_after_frozen": Case(BertForMaskedLM, "lstm", "after", freeze=True),
    "none_before": Case(BertForMaskedLM, "none", "before"),
    "none_before_frozen": Case(BertForMaskedLM, "none", "before", freeze=True),
    "nsp_lstm_before": Case(BertForNextSentencePrediction, "lstm", "before"),
    "causal_lstm_before": Case(BertLMHeadModel, "lstm", "before"),
    "causal_none_after_frozen": Case(BertLMHeadModel, "none", "after", freeze=True),
}


def arrays(case: Case) -> dict[str, Tensor]:
    """Return the batch with soft tokens in it."""
    found = tensors() | ({"places": torch.tensor(CAUSAL_PLACES)} if case.causal else {})
    found["token_ids"] = torch.tensor(token_ids())
    return found


def token_ids() -> list[list[int]]:
    """Return the batch's tokens, with ids behind the vocabulary in the places of soft ones."""
    rows, first = batch()["token_ids"], random_checkpoint.config()["vocab_size"]
    for row, place, number in SOFT:
        rows[row][place] = first + number
    return rows


def readers(case: Case, prompted: Prompted) -> dict[str, Callable[[bool], np.ndarray]]:
    """Return for each variable that is trained what tells its value or its gradient, in Google's or Keras' layout."""
    named = {name: parameter for name, parameter in prompted.named_parameters() if parameter.requires_grad}
    google = {} if case.freeze else {name: f"model.{torch_name(name)}" for name in start()}
    names = google | {f"soft/{ours}": f"prompt.{torchs}" for ours, torchs in prompted.prompt.names.items()}

    def reader(name: str, parameter: nn.Parameter) -> Callable[[bool], np.ndarray]:
        turned = name.endswith(("kernel", "recurrent"))

        def read(gradient: bool) -> np.ndarray:
            array = (parameter.grad if gradient else parameter.detach()).numpy().copy()
            return array.T if turned else array

        return read

    return {name: reader(name, named[torchs]) for name, torchs in names.items() if torchs in named}


def start() -> dict[str, np.ndarray]:
    """Return the tests' weights."""
    return random_checkpoint.weights(random_checkpoint.config())


def golden(case: Case) -> dict[str, Any]:
    """Return losses, and by variable [norm of the gradient, three entries, after a step, norm of the way]."""
    prompted, losses = Prompted(case), []
    optimizer, read = optimizer_of(prompted), readers(case, prompted)
    trained = [parameter for parameter in prompted.parameters() if parameter.requires_grad]
    assert len(read) == len(trained)
    first, kept = {name: tell(False) for name, tell in read.items()}, {}
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        loss = prompted.loss(arrays(case))
        loss.backward()
        losses.append(round(loss.item(), 6))
        gradients = {name: tell(True) for name, tell in read.items()}
        torch.nn.utils.clip_grad_norm_(trained, SETTINGS["clip_norm"])
        for group in optimizer.param_groups:
            group["eps"] = EPSILON / (1 - SETTINGS["beta_2"] ** step) ** 0.5
        optimizer.step()
        for name, tell in read.items():
            places = kept_places(name, first[name].shape)
            if step == 1:
                three = [*map(digits, gradients[name].ravel()[places])]
                after = tell(False).ravel()[places].round(6).tolist()
                kept[name] = [digits(float(np.linalg.norm(gradients[name]))), three, after]
            else:
                kept[name].append(digits(float(np.linalg.norm(tell(False) - first[name]))))
    return {"losses": losses, "variables": kept}


def main() -> None:
    inputs = {"token_ids": token_ids(), "causal_places": CAUSAL_PLACES}
    content = inputs | {"cases": {name: golden(case) for name, case in CASES.items()}}
    target = HERE / "soft_prompt.json"
    target.write_text(lines(content) + "\n", encoding="utf-8")
    print(f"{target}: {', '.join(CASES)}", *(case["losses"] for case in content["cases"].values()))


if __name__ == "__main__":
    main()
