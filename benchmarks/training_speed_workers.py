"""The engines that training_speed.py compares; speed_workers.py says how they are started and what they answer."""

from __future__ import annotations

import _root  # noqa: F401

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from speed_workers import Arrays, Engine, FirstScores, Job, serve

from nsp_bert.training.optimization import Optimization

OBJECTIVES = ("nsp", "masked", "classifier")
PRECISIONS = ("float32", "bfloat16")
CLASSES = 15
LABEL_MASKS = 2  # of a row, which PET's loss asks for beside a share of all tokens
MASKED_SHARE = 0.15
MASK = 4
SPECIAL = 5  # ids of the vocabulary that are no text
RATE = 1e-5
NO_DECAY = ("bias", "LayerNorm")


def make_batches(job: Job) -> list[Arrays]:
    """Return the batches of a round: rows from half as long as the longest on, some of their tokens masked."""
    rng, rows, width = np.random.default_rng(0), job["rows"], job["tokens"]
    count = LABEL_MASKS + round(MASKED_SHARE * 0.75 * width)
    batches = []
    for _ in range(job["steps"]):
        lengths = rng.integers(width // 2, width + 1, rows)
        lengths[0] = width
        text = np.arange(width) < lengths[:, None]
        token_ids = np.where(text, rng.integers(SPECIAL, job["vocabulary"], (rows, width)), 0)
        chosen = [rng.choice(length, min(count, length), replace=False) for length in lengths]
        places = np.concatenate([row * width + np.sort(columns) for row, columns in enumerate(chosen)])
        tokens = token_ids.ravel()[places]
        token_ids.ravel()[places] = MASK
        batches.append(
            {
                "token_ids": token_ids,
                "segment_ids": text & (np.arange(width) >= width // 4),
                "position_ids": np.broadcast_to(np.arange(width), text.shape),
                "places": places,
                "tokens": tokens,
                "is_next": rng.integers(0, 2, rows),
                "classes": rng.integers(0, CLASSES, rows),
            }
        )
    return [{name: array.astype(np.int32) for name, array in batch.items()} for batch in batches]


def load_ours(objective: str, precision: str, job: Job, first: FirstScores) -> Engine:
    """The steps that the scripts take."""
    from nsp_bert.checkpoints.checkpoint import open_checkpoint
    from nsp_bert.scoring.backends import count_cores
    from nsp_bert.training.objectives import ClassifierTraining, MaskedTraining, NextSentenceTraining

    config = json.loads(Path(job["config"]).read_text(encoding="utf-8"))
    common = config, Optimization(), precision, 0
    if objective == "classifier":
        training: Any = ClassifierTraining(*common, classes=CLASSES)
    else:
        training = (NextSentenceTraining if objective == "nsp" else MaskedTraining)(*common)
    training.load_weights(open_checkpoint(job["model"]))
    told = {"nsp": ["is_next"], "masked": ["places", "tokens"], "classifier": ["classes"]}[objective]

    def arrays(batch: Arrays) -> list[np.ndarray]:
        answers = [batch[name] for name in told]
        answers = [answers[0].astype(np.float32)] if objective == "nsp" else answers
        weights = np.full(len(answers[-1]), 1 / len(answers[-1]), np.float32)
        return [batch["token_ids"], batch["segment_ids"], batch["position_ids"], *answers, weights]

    steps = [arrays(batch) for batch in make_batches(job)]
    before = training.evaluate(steps[0])[0]

    def run() -> Arrays:
        losses = [float(training.train(step, learning_rate=RATE)[0]) for step in steps]
        return {"before": before, "losses": first.note(np.array(losses))}

    return Engine(run, f"1 x {count_cores()}")


def load_hugging_face(objective: str, precision: str, job: Job, first: FirstScores) -> Engine:
    """A plain loop of PyTorch around Hugging Face's model and torch's AdamW, logits at all places."""
    import torch
    from hugging_face_models import hugging_face_model
    from torch.nn import functional
    from transformers import BertForMaskedLM, BertForNextSentencePrediction, BertForSequenceClassification

    kinds = {
        "nsp": BertForNextSentencePrediction,
        "masked": BertForMaskedLM,
        "classifier": BertForSequenceClassification,
    }
    config = json.loads(Path(job["config"]).read_text(encoding="utf-8"))
    config |= {"attn_implementation": "sdpa", "num_labels": CLASSES}
    tensors = dict(np.load(job["arrays"]))
    if objective == "classifier":
        kernel = np.random.default_rng(0).normal(0, config["initializer_range"], (CLASSES, config["hidden_size"]))
        tensors |= {"classifier/output_weights": kernel.astype(np.float32)}
        tensors |= {"classifier/output_bias": np.zeros(CLASSES, np.float32)}
    model = hugging_face_model(config, tensors, kinds[objective])
    settings = Optimization()
    groups: dict[bool, list] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[not any(part in name for part in NO_DECAY)].append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": groups[True], "weight_decay": settings.weight_decay}, {"params": groups[False], "weight_decay": 0}],
        lr=RATE,
        betas=(settings.beta_1, settings.beta_2),
        eps=settings.epsilon,
    )

    def inputs(batch: Arrays) -> dict[str, Any]:
        arrays = {name: torch.tensor(array).long() for name, array in batch.items()}
        given = {
            "input_ids": arrays["token_ids"],
            "token_type_ids": arrays["segment_ids"],
            "attention_mask": (arrays["token_ids"] != 0).long(),
        }
        if objective == "masked":
            given["labels"] = torch.full_like(arrays["token_ids"], -100)
            given["labels"].view(-1)[arrays["places"]] = arrays["tokens"]
        elif objective == "classifier":
            given["labels"] = arrays["classes"]
        else:
            given["is_next"] = arrays["is_next"].float()
        return given

    def loss_of(given: dict[str, Any]) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            if objective != "nsp":
                return model(**given).loss
            logits = model(**{name: value for name, value in given.items() if name != "is_next"}).logits.float()
            return functional.binary_cross_entropy_with_logits(logits[:, 0] - logits[:, 1], given["is_next"])

    def step(batch: Arrays) -> float:
        optimizer.zero_grad()
        loss = loss_of(inputs(batch))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        return loss.item()

    batches = make_batches(job)
    with torch.no_grad():
        before = loss_of(inputs(batches[0])).item()
    model.train()

    def run() -> Arrays:
        return {"before": np.array(before), "losses": first.note(np.array([step(batch) for batch in batches]))}

    return Engine(run, f"1 x {torch.get_num_threads()}")


ENGINES: dict[str, Callable[[Job, FirstScores], Engine]] = {
    f"{prefix}{objective}-{precision}": partial(load, objective, precision)
    for objective in OBJECTIVES
    for precision in PRECISIONS
    for prefix, load in (("", load_ours), ("hf-", load_hugging_face))
}


if __name__ == "__main__":
    serve(ENGINES)
