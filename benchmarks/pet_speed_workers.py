"""The engines that pet_speed.py compares; speed_workers.py says how they are started and what they answer."""

from __future__ import annotations

import _root  # noqa: F401

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from speed_workers import Arrays, Engine, FirstScores, Job, load_ours, serve

BATCH = 32  # rows of hf-fill-mask-32


def load_pet(job: Job, first: FirstScores) -> Engine:
    """The way of baselines/pet.py from texts to scores, tokenising included."""
    from nsp_bert.checkpoints.checkpoint import open_checkpoint
    from nsp_bert.checkpoints.vocabulary import load_vocabulary
    from nsp_bert.pattern_encoding import PatternEncoder
    from nsp_bert.patterns import parse_pattern
    from nsp_bert.scoring.backends import count_cores
    from nsp_bert.scoring.scorer import Scorer
    from nsp_bert.tokenization import make_pair_encoder

    checkpoint = open_checkpoint(job["model"])
    encoder = make_pair_encoder(checkpoint, job["max_length"])
    mask_id = load_vocabulary(checkpoint.vocab_path)["[MASK]"]
    patterns = PatternEncoder(encoder, parse_pattern(job["pattern"]), mask_id)
    words = [encoder.tokenize(word) for word in job["words"]]
    scorer = Scorer(checkpoint, output="masked")

    def run() -> Arrays:
        pairs = (patterns.masked({"text": text}, words) for text in job["texts"])
        return answers(first.note(scorer.score(pairs, len(job["texts"]), width=len(words)).values), job)

    return Engine(run, f"{count_cores()} x 1")


def load_fill_mask(batch: int, job: Job, first: FirstScores) -> Engine:
    """A loop around Hugging Face's tokenizer and masked model, as its users write it, `batch` rows at a time."""
    import torch
    from hugging_face_models import hugging_face_model
    from transformers import BertForMaskedLM, BertTokenizer

    config = json.loads(Path(job["config"]).read_text(encoding="utf-8"))
    model = hugging_face_model(config, dict(np.load(job["arrays"])), BertForMaskedLM)
    tokenizer = BertTokenizer(job["vocabulary"], do_lower_case=job["do_lower_case"])
    words = torch.tensor(tokenizer(job["words"], add_special_tokens=False)["input_ids"])
    pattern = job["pattern"].replace("{label}", tokenizer.mask_token * words.shape[1])

    def batches() -> Iterator[list[str]]:
        rows = [pattern.replace("{text}", text) for text in job["texts"]]
        return (rows[start : start + batch] for start in range(0, len(rows), batch))

    @torch.inference_mode()
    def score(rows: list[str]) -> np.ndarray:
        inputs = tokenizer(rows, padding=True, truncation=True, max_length=job["max_length"], return_tensors="pt")
        logits = model(**inputs).logits[inputs["input_ids"] == tokenizer.mask_token_id]
        found = logits.log_softmax(-1).reshape(len(rows), words.shape[1], -1)
        return first.note(found[:, torch.arange(words.shape[1]), words].sum(-1).numpy())

    def run() -> Arrays:
        return answers(np.concatenate([score(rows) for rows in batches()]), job)

    return Engine(run, f"1 x {torch.get_num_threads()}")


def answers(scores: np.ndarray, job: Job) -> Arrays:
    """Return the scores as (rows, words), and the best word of each row."""
    table = scores.reshape(len(job["texts"]), len(job["words"]))
    return {"scores": table, "predictions": table.argmax(1)}


ENGINES: dict[str, Callable[[Job, FirstScores], Any]] = {
    "pet": load_pet,
    "nsp-bert": partial(load_ours, "tensorflow", "float32"),
    "hf-fill-mask": partial(load_fill_mask, 1),
    "hf-fill-mask-32": partial(load_fill_mask, BATCH),
}


if __name__ == "__main__":
    serve(ENGINES)
