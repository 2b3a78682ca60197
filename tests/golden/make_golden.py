"""Makes the golden values in tests/golden with Hugging Face Transformers alone (no TensorFlow, none of our engine).

  pip install torch transformers
  python tests/golden/make_golden.py

classification.json: sample rows against prompts, [CLS] prompt [SEP] text [SEP], only the text being truncated.
pairs.json: the first sample rows that fit, of sentence pairs, coreference (two stages) and cloze (soft positions).
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from pathlib import Path

import torch
import yaml
from transformers import BertConfig, BertForNextSentencePrediction, BertTokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

import random_checkpoint  # noqa: E402

ROWS = 6
LABELS = 4
MAX_LENGTH = 128


def hugging_face_model(config: dict, tensors: dict) -> BertForNextSentencePrediction:
    """Load Google-named arrays into Hugging Face's model, every parameter accounted for."""
    model = BertForNextSentencePrediction(BertConfig(**config)).eval()
    state = {}
    for name, value in tensors.items():
        if name.startswith("cls/predictions"):
            continue
        tensor = torch.tensor(value.T if name.endswith("kernel") else value)
        name = name.replace("layer_", "layer.").replace("/", ".")
        for google, torch_name in (
            ("kernel", "weight"),
            ("gamma", "weight"),
            ("beta", "bias"),
            ("output_weights", "weight"),
            ("output_bias", "bias"),
        ):
            if name.endswith(google):
                name = name[: -len(google)] + torch_name
        if name.endswith("_embeddings"):
            name += ".weight"
        state[name] = tensor
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= {"bert.embeddings.position_ids"}, missing
    return model


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


def log_odds(model: BertForNextSentencePrediction, encoded: dict) -> list[float]:
    """Return logit(IsNext) - logit(NotNext) of each pair."""
    with torch.no_grad():
        logits = model(**encoded).logits
    return [round(float(value), 6) for value in logits[:, 0] - logits[:, 1]]


def cards() -> list[dict]:
    """Return every dataset card."""
    paths = sorted((ROOT / "datasets" / "cards").glob("*.yaml"))
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]


def main() -> None:
    config = random_checkpoint.config()
    model = hugging_face_model(config, random_checkpoint.weights(config))
    with tempfile.TemporaryDirectory() as folder:
        vocab = Path(folder) / "vocab.txt"
        vocab.write_text("\n".join(random_checkpoint.vocabulary()) + "\n", encoding="utf-8")
        tokenizer = BertTokenizer(str(vocab), do_lower_case=True)
    for make in (classification, pairs):
        golden = make(model, tokenizer)
        target = HERE / f"{make.__name__}.json"
        target.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
        print(f"{target}: {', '.join(golden)}")


if __name__ == "__main__":
    main()
