"""Makes the golden values in tests/golden with Hugging Face Transformers alone (no TensorFlow, none of our engine).

  pip install torch transformers
  python tests/golden/make_golden.py

classification.json: sample rows against prompts, [CLS] prompt [SEP] text [SEP], only the text being truncated.
pairs.json: the first sample rows that fit, of sentence pairs, coreference (two stages) and cloze (soft positions).
methods.json: PET's and GPT's scores of the first sample rows that fit, and the first numbers of mean vectors.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from functools import partial
from itertools import islice
from pathlib import Path

import torch
import yaml
from fewclue_patterns import CAUSAL, CLOZE, gpt_scores, pet_scores
from hugging_face_models import causal_model, hugging_face_model, mean_vector
from transformers import BertForMaskedLM, BertForNextSentencePrediction, BertTokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

import random_checkpoint  # noqa: E402

ROWS = 6
LABELS = 4
MAX_LENGTH = 128
METHOD_DATASETS = ("tnews", "ocnli", "chid", "cluewsc")
METHOD_ROWS = 3
VECTORS, NUMBERS = 2, 8


def read_texts(card: dict) -> list[str]:
    """Return the texts of a dataset's sample, in JSON lines or csv."""
    path = ROOT / "datasets" / "sample" / card["path"].format(split=card.get("split", "test_public"))
    keys = card["fields"]["text"]
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, card.get("columns")) if path.suffix == ".csv" else map(json.loads, stream)
        return [row[keys] if isinstance(keys, str) else ". ".join(row[key] for key in keys) for row in rows]


def classification(model: BertForNextSentencePrediction, tokenizer: BertTokenizer) -> dict:
    """Return dataset -> rows -> log-odds per prompt."""
    golden = {}
    for card in cards():
        if card["task"] != "classification":
            continue
        template = card["templates"][-1]
        words = list((template.get("words") or card["labels"]).values())[:LABELS]
        prompts = [template["text"].replace("{}", word) for word in words]
        golden[card["name"]] = [
            log_odds(
                model,
                tokenizer(
                    prompts,
                    [text] * len(words),
                    truncation="only_second",
                    max_length=MAX_LENGTH,
                    padding=True,
                    return_tensors="pt",
                ),
            )
            for text in read_texts(card)[:ROWS]
        ]
    return golden


def pairs(model: BertForNextSentencePrediction, tokenizer: BertTokenizer) -> dict:
    """Return dataset -> index of the row -> log-odds of its pair or of its candidates."""
    golden: dict = {}
    for card in cards():
        if card["task"] not in ("sentence-pair", "coreference", "cloze"):
            continue
        path = ROOT / "datasets" / "sample" / card["path"].format(split="test_public")
        found: dict = {}
        for index, row in enumerate(map(json.loads, path.open(encoding="utf-8"))):
            encoded = soft_cloze(tokenizer, card, row) if card["task"] == "cloze" else text_pair(tokenizer, card, row)
            if encoded["input_ids"].shape[1] <= card.get("max_length", MAX_LENGTH) and len(found) < ROWS:
                found[index] = log_odds(model, encoded)
        golden[card["name"]] = found
    return golden


def text_pair(tokenizer: BertTokenizer, card: dict, row: dict) -> dict:
    """Encode a sentence pair, or a text with the question what a pronoun means and the span."""
    if card["task"] == "coreference":
        target = row["target"]
        question = card["templates"][-1]["text"].replace("{}", target["span2_text"])
        prompt, text = target["span1_text"], row["text"] + question
    else:
        prompt, text = row[card["fields"]["prompt"]], row[card["fields"]["text"]]
        prompt = ",".join(prompt) if isinstance(prompt, list) else prompt
    first, second = (prompt, text) if card["position"] == "prefix" else (text, prompt)
    return dict(tokenizer(first, second, return_tensors="pt"))


def soft_cloze(tokenizer: BertTokenizer, card: dict, row: dict) -> dict:
    """Encode the candidates of a blank: each stands behind the text, with the position ids of the blank."""
    before, after = (tokenizer.tokenize(part) for part in row["content"].split(card["blank"]))
    rows = []
    for word in map(tokenizer.tokenize, row["candidates"]):
        gap = list(range(1 + len(before), 1 + len(before) + len(word)))
        behind = list(range(gap[-1] + 1, gap[-1] + 1 + len(after)))
        end = gap[-1] + 1 + len(after)
        tokens = ["[CLS]", *before, *after, "[SEP]", *word, "[SEP]"]
        places = [0, *range(1, 1 + len(before)), *behind, end, *gap, end + 1]
        segments = [0] * (len(before) + len(after) + 2) + [1] * (len(word) + 1)
        rows.append((tokenizer.convert_tokens_to_ids(tokens), places, segments))
    longest = max(len(tokens) for tokens, _, _ in rows)
    padded = [[part + [0] * (longest - len(part)) for part in row] for row in rows]
    mask = [[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens, _, _ in rows]
    ids, places, segments = (torch.tensor([row[part] for row in padded]) for part in range(3))
    return {
        "input_ids": ids,
        "position_ids": places,
        "token_type_ids": segments,
        "attention_mask": torch.tensor(mask),
    }


def methods(config: dict, tensors: dict, tokenizer: BertTokenizer) -> dict:
    """Return PET's and GPT's scores, dataset -> index of the row -> scores, and mean vectors of the first texts."""
    masked, causal = hugging_face_model(config, tensors, BertForMaskedLM), causal_model(config, tensors)
    golden: dict = {"pet": {}, "gpt": {}}
    for card in (card for card in cards() if card["name"] in METHOD_DATASETS):
        name = card["name"]
        path = ROOT / "datasets" / "sample" / card["path"].format(split="test_public")
        rows = [json.loads(line) for line in path.open(encoding="utf-8")]
        for method, score in (
            ("pet", partial(pet_scores, masked, tokenizer, CLOZE[name])),
            ("gpt", partial(gpt_scores, causal, tokenizer, CAUSAL[name])),
        ):
            found = ((index, score(card, row)) for index, row in enumerate(rows))
            fitting = ((index, rounded(scores)) for index, scores in found if scores is not None)
            golden[method][name] = dict(islice(fitting, METHOD_ROWS))
    texts = read_texts(next(card for card in cards() if card["name"] == METHOD_DATASETS[0]))[:VECTORS]
    golden["mean"] = {
        index: rounded(mean_vector(masked, tokenizer(text)["input_ids"])[:NUMBERS]) for index, text in enumerate(texts)
    }
    return golden


def log_odds(model: BertForNextSentencePrediction, encoded: dict) -> list[float]:
    """Return logit(IsNext) - logit(NotNext) of each pair."""
    with torch.no_grad():
        logits = model(**encoded).logits
    return rounded(logits[:, 0] - logits[:, 1])


def rounded(values: torch.Tensor) -> list[float]:
    """Return values (n,) with six digits behind the point."""
    return [round(float(value), 6) for value in values]


def cards() -> list[dict]:
    """Return every dataset card."""
    paths = sorted((ROOT / "datasets" / "cards").glob("*.yaml"))
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]


def main() -> None:
    config = random_checkpoint.config()
    tensors = random_checkpoint.weights(config)
    model = hugging_face_model(config, tensors)
    with tempfile.TemporaryDirectory() as folder:
        vocab = Path(folder) / "vocab.txt"
        vocab.write_text("\n".join(random_checkpoint.vocabulary()) + "\n", encoding="utf-8")
        tokenizer = BertTokenizer(str(vocab), do_lower_case=True)
    for name, golden in (
        ("classification", classification(model, tokenizer)),
        ("pairs", pairs(model, tokenizer)),
        ("methods", methods(config, tensors, tokenizer)),
    ):
        target = HERE / f"{name}.json"
        target.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
        print(f"{target}: {', '.join(golden)}")


if __name__ == "__main__":
    main()
