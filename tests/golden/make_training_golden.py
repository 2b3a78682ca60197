"""Makes tests/golden/training.json: steps of training by PyTorch and Hugging Face alone, as make_golden.py says.

  python tests/golden/make_training_golden.py

Each case is an objective of ours on the same batch, from the tests' random weights, without dropout: the loss, the
gradient of every variable (its norm and three entries), the same entries after one step of AdamW, and how far two
steps move the variable (the norm). All is computed in float64. Names and layouts are those of Google's checkpoints.

torch.optim.AdamW and Keras' AdamW mean different things by epsilon. The former adds it to the corrected root, as does
algorithm 2 of Loshchilov and Hutter (2019): sqrt(v / (1 - beta_2^t)) + epsilon. Keras adds it to the raw root and says
so: it is "epsilon hat" of Kingma and Ba (2015, the end of section 2). One is the other with epsilon hat =
epsilon * sqrt(1 - beta_2^t), by which torch's is divided here before each step; `largest_difference` prints what
leaving it as it is would change. The rest is the same: decay is the learning rate's share of the weights before the
step, and clipping is by the norm of all gradients.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from hugging_face_models import MaskedClassifier, hugging_face_model, torch_name
from torch import Tensor
from torch.nn import functional
from transformers import (
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForSequenceClassification,
    PreTrainedModel,
)

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import random_checkpoint  # noqa: E402

# A rate that makes decay visible, and an epsilon above the rounding of float32, which Adam else scales up to a step
SETTINGS = {"learning_rate": 0.02, "weight_decay": 0.01, "clip_norm": 1.0, "beta_1": 0.9, "beta_2": 0.98}
EPSILON = 1e-6
NO_DECAY = ("bias", "LayerNorm")
STEPS = 2
MASK = 4

# [CLS] first [SEP] second [SEP]; two rows with two masks, another with one
ROWS = [
    ([2, 150, 151, 152, 3], [160, MASK, MASK, 163, 164, 165, 166, 3]),
    ([2, 170, MASK, 3], [172, 173, 3]),
    ([2, 180, 181, 182, 183, 184, 3], [150, MASK, 151, MASK, 152, 3]),
    ([2, 190, 3], [191, 150, 3]),
]
# Soft positions: the second text stands in places of the first, which leaves a gap in two rows
SOFT_PLACES = [
    [0, 1, 2, 5, 6, 2, 3, 4, 5, 6, 7, 8, 9],
    [0, 1, 2, 3, 2, 3, 4],
    [0, 1, 4, 5, 6, 7, 8, 1, 2, 3, 2, 3, 9],
    [0, 1, 2, 1, 2, 3],
]
# (row, place, the token that stands there, weight); the last one is visible. Token 150 is in the text as well
MASKED = [(0, 6, 150, 0.1), (0, 7, 162, 0.2), (1, 2, 171, 0.3), (2, 8, 20000, 0.1), (2, 10, 150, 0.2), (3, 1, 190, 0.1)]

# By row: two places of a label's word, the tokens of three candidates at each of them, and the true candidate
WORDS = [
    ((6, 7), ((150, 151, 20000), (162, 153, 164)), 0),
    ((1, 2), ((171, 172, 150), (175, 171, 173)), 2),
    ((8, 10), ((160, 20000, 161), (150, 152, 151)), 1),
    ((1, 2), ((190, 192, 191), (20000, 194, 150)), 0),
]
# By row, of the last two, taken to have some word in the place of masks: (place, the token that stands there, weight);
# whether the word is the true one
CONDITIONED = [((2, 151, 0.4), (9, 163, 0.1)), ((1, 170, 0.5), (0, 0, 0.0))]
IS_TRUE = [1.0, 0.0]

# Which three entries of a variable are kept, as (row, column), where not the first, the middle and the last: of tokens
# in text and target, in targets alone and in neither; of places and segments that there are, and one that there is not
ENTRIES = {
    "bert/embeddings/word_embeddings": ((150, 0), (20000, 10), (5000, 20)),
    "bert/embeddings/position_embeddings": ((2, 0), (9, 10), (40, 20)),
    "bert/embeddings/token_type_embeddings": ((0, 0), (1, 10), (1, 20)),
    "cls/predictions/output_bias": ((150, 0), (20000, 0), (5000, 0)),
}


class Case(NamedTuple):
    """What is minimised: `loss` of a model of some kind, `own` being the variables that a checkpoint does not have."""

    kind: type[PreTrainedModel]
    loss: Callable[[PreTrainedModel, dict[str, Tensor]], Tensor]
    own: Mapping[str, np.ndarray] = MappingProxyType({})


def batch() -> dict[str, list]:
    """Return the arrays of all cases as lists; rows (4, 13), padded with zeros."""
    width = max(len(first) + len(second) for first, second in ROWS)
    return {
        "token_ids": [padded(first + second, width) for first, second in ROWS],
        "segment_ids": [padded([0] * len(first) + [1] * len(second), width) for first, second in ROWS],
        "position_ids": [list(range(width)) for _ in ROWS],
        "soft_position_ids": [padded(places, width) for places in SOFT_PLACES],
        "places": [row * width + place for row, place, _, _ in MASKED],
        "tokens": [token for _, _, token, _ in MASKED],
        "token_weights": [weight for _, _, _, weight in MASKED],
        "row_weights": [0.1, 0.2, 0.3, 0.4],
        "is_next": [1.0, 0.0, 0.0, 1.0],
        "right_candidates": [0.0, 1.0, 1.0, 0.0],
        "classes": [2, 0, 1, 2],
        "is_right": [1, 0, 0, 1],
        "candidates": [1, 0],
        "candidate_weights": [0.4, 0.6],
        "word_places": [places for places, _, _ in WORDS],
        "word_tokens": [tokens for _, tokens, _ in WORDS],
        "word_labels": [label for _, _, label in WORDS],
        "conditioned_places": [[place for place, _, _ in row] for row in CONDITIONED],
        "conditioned_tokens": [[token for _, token, _ in row] for row in CONDITIONED],
        "conditioned_weights": [[weight for _, _, weight in row] for row in CONDITIONED],
        "is_true": IS_TRUE,
        "mlm_weights": [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        "nsp_labels": [0, 1, 1, 0],
        "nsp_weights": [1.0, 1.0, 0.0, 1.0],
    }


def padded(values: list[int], width: int) -> list[int]:
    """Return values (width,), zeros at the end."""
    return values + [0] * (width - len(values))


def inputs(arrays: dict[str, Tensor], positions: str = "position_ids") -> dict[str, Tensor]:
    """Return a model's arguments."""
    return {
        "input_ids": arrays["token_ids"],
        "token_type_ids": arrays["segment_ids"],
        "position_ids": arrays[positions],
        "attention_mask": (arrays["token_ids"] != 0).long(),
    }


def log_odds(model: BertForNextSentencePrediction, arguments: dict[str, Tensor]) -> Tensor:
    """Return logit(IsNext) - logit(NotNext) of each pair (B,)."""
    logits = model(**arguments).logits
    return logits[:, 0] - logits[:, 1]


def next_or_not(model: BertForNextSentencePrediction, arrays: dict[str, Tensor]) -> Tensor:
    """Binary cross-entropy of every pair by itself."""
    odds = log_odds(model, inputs(arrays))
    return functional.binary_cross_entropy_with_logits(odds, arrays["is_next"], arrays["row_weights"], reduction="sum")


def competing(model: BertForNextSentencePrediction, arrays: dict[str, Tensor]) -> Tensor:
    """Cross-entropy over the two candidates of a row, in soft positions; a row has the weight of its first one."""
    odds = log_odds(model, inputs(arrays, "soft_position_ids")).reshape(2, 2)
    losses = functional.cross_entropy(odds, arrays["right_candidates"].reshape(2, 2), reduction="none")
    return (losses * arrays["row_weights"][::2]).sum()


def masked(model: BertForMaskedLM, arrays: dict[str, Tensor]) -> Tensor:
    """Cross-entropy over the vocabulary at some places."""
    return tokens_loss(model(**inputs(arrays)).logits, arrays, arrays["token_weights"])


def tokens_loss(logits: Tensor, arrays: dict[str, Tensor], weights: Tensor) -> Tensor:
    """Return the weighted sum of the cross-entropies at the places of logits (B, T, vocabulary)."""
    at_places = logits.flatten(0, 1)[arrays["places"]]
    return (functional.cross_entropy(at_places, arrays["tokens"], reduction="none") * weights).sum()


def classified(model: BertForSequenceClassification, arrays: dict[str, Tensor]) -> Tensor:
    """Cross-entropy over three classes."""
    losses = functional.cross_entropy(model(**inputs(arrays)).logits, arrays["classes"], reduction="none")
    return (losses * arrays["row_weights"]).sum()


def right_or_not(model: BertForSequenceClassification, arrays: dict[str, Tensor]) -> Tensor:
    """Binary cross-entropy of the one logit of every pair."""
    logits, answers, weights = model(**inputs(arrays)).logits[:, 0], arrays["is_right"].double(), arrays["row_weights"]
    return functional.binary_cross_entropy_with_logits(logits, answers, weights, reduction="sum")


def classified_candidates(model: BertForSequenceClassification, arrays: dict[str, Tensor]) -> Tensor:
    """Cross-entropy over the two candidates of a row, each having one logit."""
    logits = model(**inputs(arrays)).logits.reshape(2, 2)
    losses = functional.cross_entropy(logits, arrays["candidates"], reduction="none")
    return (losses * arrays["candidate_weights"]).sum()


def pretrained(model: BertForPreTraining, arrays: dict[str, Tensor]) -> Tensor:
    """MLM + NSP, each the mean over what counts; class 0 is IsNext."""
    outputs = model(**inputs(arrays))
    mlm = tokens_loss(outputs.prediction_logits, arrays, arrays["mlm_weights"] / arrays["mlm_weights"].sum())
    nsp = functional.cross_entropy(outputs.seq_relationship_logits, arrays["nsp_labels"], reduction="none")
    return mlm + (nsp * arrays["nsp_weights"]).sum() / arrays["nsp_weights"].sum()


def word_logits(logits: Tensor, arrays: dict[str, Tensor]) -> Tensor:
    """Return (R, n, C) of the candidates' tokens at their places, of logits (R, T, vocabulary) or the like."""
    rows = torch.arange(len(logits))[:, None]
    at_places = logits[rows, arrays["word_places"][: len(logits)]]
    return at_places.gather(-1, arrays["word_tokens"][: len(logits)])


def summed(model: BertForMaskedLM, arrays: dict[str, Tensor]) -> Tensor:
    """Cross-entropy over the candidates of a row of the sums of log-probabilities."""
    return competing_words(word_logits(model(**inputs(arrays)).logits.log_softmax(-1), arrays).sum(1), arrays)


def multiplied(model: BertForMaskedLM, arrays: dict[str, Tensor]) -> Tensor:
    """Cross-entropy over the candidates of a row of the products of logits."""
    return competing_words(word_logits(model(**inputs(arrays)).logits, arrays).prod(1), arrays)


def competing_words(scores: Tensor, arrays: dict[str, Tensor]) -> Tensor:
    """Return the weighted sum of the cross-entropies of scores (R, C)."""
    return (functional.cross_entropy(scores, arrays["word_labels"], reduction="none") * arrays["row_weights"]).sum()


def conditioned(model: BertForMaskedLM, arrays: dict[str, Tensor]) -> Tensor:
    """Binary cross-entropy of the candidates in the first two rows, and of tokens in the others."""
    probabilities = model(**inputs(arrays)).logits.softmax(-1)
    words = word_logits(probabilities[:2], arrays).prod(1)
    right = functional.one_hot(arrays["word_labels"][:2], 3).double()
    told = functional.binary_cross_entropy(words, right, reduction="none").mean(1)
    at_places = probabilities[torch.tensor([[2], [3]]), arrays["conditioned_places"]]
    tokens = at_places.gather(-1, arrays["conditioned_tokens"][:, :, None])[:, :, 0]
    targets = arrays["is_true"][:, None].expand_as(tokens)
    weights = arrays["conditioned_weights"]
    fitting = functional.binary_cross_entropy(tokens, targets, weights, reduction="sum")
    return (told * arrays["candidate_weights"]).sum() + fitting


def topic(model: MaskedClassifier, arrays: dict[str, Tensor]) -> Tensor:
    """The MLM loss of the true candidate's tokens, the mean of a row, and cross-entropy by the layer on [CLS]."""
    outputs = model(**inputs(arrays), output_hidden_states=True)
    rows = torch.arange(len(WORDS))
    tokens = arrays["word_tokens"][rows, :, arrays["word_labels"]]
    at_places = outputs.logits[rows[:, None], arrays["word_places"]]
    masks = functional.cross_entropy(at_places.flatten(0, 1), tokens.flatten(), reduction="none").reshape(-1, 2).mean(1)
    classes = model.classifier(outputs.hidden_states[-1][:, 0])
    return (masks * arrays["row_weights"]).sum() + competing_words(classes, arrays)


def classifier(classes: int) -> dict[str, np.ndarray]:
    """Return the variables of a classifier of 32 inputs."""
    rng = np.random.default_rng(classes)
    return {
        "output_weights": rng.normal(0, 0.5, (classes, 32)).round(3),
        "output_bias": rng.normal(0, 0.5, classes).round(3),
    }


CASES = {
    "next_sentence_bce": Case(BertForNextSentencePrediction, next_or_not),
    "next_sentence_softmax": Case(BertForNextSentencePrediction, competing),
    "masked": Case(BertForMaskedLM, masked),
    "classifier": Case(BertForSequenceClassification, classified, classifier(3)),
    "classifier_binary": Case(BertForSequenceClassification, right_or_not, classifier(1)),
    "classifier_candidates": Case(BertForSequenceClassification, classified_candidates, classifier(1)),
    "label_sum": Case(BertForMaskedLM, summed),
    "label_product": Case(BertForMaskedLM, multiplied),
    "conditioned": Case(BertForMaskedLM, conditioned),
    "topic": Case(MaskedClassifier, topic, classifier(3)),
    "pretraining": Case(BertForPreTraining, pretrained),
}


def load(case: Case) -> PreTrainedModel:
    """Return the model of a case in float64, with the tests' weights and without dropout."""
    config = random_checkpoint.config() | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    own = {f"classifier/{name}": value for name, value in case.own.items()}
    classes = {"num_labels": len(case.own["output_bias"])} if own else {}
    model = hugging_face_model(config | classes, random_checkpoint.weights(config) | own, case.kind)
    return model.double().train()


def variables(case: Case, model: PreTrainedModel) -> dict[str, Callable[[bool], np.ndarray]]:
    """Return for each of a model's variables what tells its value or its gradient in Google's layout."""
    parameters = dict(model.named_parameters())
    names = [*random_checkpoint.weights(random_checkpoint.config()), *(f"classifier/{name}" for name in case.own)]
    found = {name: parameters.pop(torch_name(name)) for name in names if torch_name(name) in parameters}
    assert not parameters, [*parameters]

    def read(name: str, gradient: bool) -> np.ndarray:
        array = (found[name].grad if gradient else found[name].detach()).numpy()
        return array.T if name.endswith("kernel") else array

    return {name.removeprefix("classifier/"): partial(read, name) for name in found}


def kept_places(name: str, shape: tuple[int, ...]) -> list[int]:
    """Return the places of three entries in a flattened variable."""
    size = int(np.prod(shape))
    return [row * (size // shape[0]) + column for row, column in ENTRIES.get(name, ())] or [0, size // 2, size - 1]


def optimizer_of(model: PreTrainedModel) -> torch.optim.AdamW:
    """Return AdamW with the settings, biases and normalisation without decay."""
    groups: dict[bool, list] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[not any(part in name for part in NO_DECAY)].append(parameter)
    decays = {True: SETTINGS["weight_decay"], False: 0.0}
    return torch.optim.AdamW(
        [{"params": group, "weight_decay": decays[decay]} for decay, group in groups.items()],
        lr=SETTINGS["learning_rate"],
        betas=(SETTINGS["beta_1"], SETTINGS["beta_2"]),
        eps=EPSILON,
    )


def tensors() -> dict[str, Tensor]:
    """Return the batch; what is not whole numbers in float64."""
    arrays = {name: torch.tensor(values) for name, values in batch().items()}
    return {name: array.double() if array.is_floating_point() else array for name, array in arrays.items()}


def train(case: Case, keras_epsilon: bool = True) -> dict[str, Any]:
    """Return the loss and what becomes of each variable, by name: arrays of the gradient and after each step."""
    model, losses = load(case), []
    optimizer, read = optimizer_of(model), variables(case, model)
    found: dict[str, list[np.ndarray]] = {name: [] for name in read}
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        loss = case.loss(model, tensors())
        loss.backward()
        losses.append(loss.item())
        for name, tell in read.items():
            found[name] += [tell(True).copy()] if step == 1 else []
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["clip_norm"])
        for group in optimizer.param_groups:
            group["eps"] = EPSILON / (1 - SETTINGS["beta_2"] ** step) ** 0.5 if keras_epsilon else EPSILON
        optimizer.step()
        for name, tell in read.items():
            found[name].append(tell(False).copy())
    return {"losses": losses, "variables": found}


def golden(case: Case, trained: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a case; by variable [norm of the gradient, three entries, after a step, norm of the way].

    A classifier's variables are no checkpoint's: `own` holds what they are at the start.
    """
    start = random_checkpoint.weights(random_checkpoint.config()) | case.own
    kept = {}
    for name, (gradient, first, last) in trained["variables"].items():
        entries = [array.ravel()[kept_places(name, array.shape)] for array in (gradient, first)]
        norms = [float(np.linalg.norm(array)) for array in (gradient, last - start[name])]
        kept[name] = [digits(norms[0]), [*map(digits, entries[0])], entries[1].round(6).tolist(), digits(norms[1])]
    own = {name: value.tolist() for name, value in case.own.items()}
    return {"losses": [round(loss, 6) for loss in trained["losses"]], "own": own, "variables": kept}


def digits(value: float) -> float:
    """Return a number with six digits that count."""
    return float(f"{value:.6g}")


def largest_difference(one: dict[str, Any], other: dict[str, Any]) -> list[float]:
    """Return how far apart the weights of two trainings are after each step."""
    pairs = [zip(one["variables"][name][1:], other["variables"][name][1:], strict=True) for name in one["variables"]]
    return np.max([[np.abs(first - second).max() for first, second in pair] for pair in pairs], axis=0).tolist()


def main() -> None:
    cases = {}
    for name, case in CASES.items():
        trained = train(case)
        cases[name] = golden(case, trained)
        differences = largest_difference(trained, train(case, keras_epsilon=False))
        print(f"{name}: with epsilon as torch takes it, weights differ by", *(f"{one:.1e}" for one in differences))
    start = random_checkpoint.weights(random_checkpoint.config())
    places = {name: kept_places(name, start[name].shape) for name in ENTRIES}
    content = {"settings": SETTINGS | {"epsilon": EPSILON}, "batch": batch(), "places": places, "cases": cases}
    target = HERE / "training.json"
    target.write_text(lines(content) + "\n", encoding="utf-8")
    print(f"{target}: {', '.join(cases)}")


def lines(value: Any) -> str:
    """Return JSON with a line for every value that is no dictionary."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {lines(inner)}" for key, inner in value.items()) + "\n}"


if __name__ == "__main__":
    main()
