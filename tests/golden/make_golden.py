"""Makes tests/golden/classification.json with Hugging Face Transformers alone (no TensorFlow, none of our engine).

  pip install torch transformers
  python tests/golden/make_golden.py

Every sample row is scored against every prompt: [CLS] prompt [SEP] text [SEP], only the text being truncated.
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


def main() -> None:
    config = random_checkpoint.config()
    model = hugging_face_model(config, random_checkpoint.weights(config))
    with tempfile.TemporaryDirectory() as folder:
        vocab = Path(folder) / "vocab.txt"
        vocab.write_text("\n".join(random_checkpoint.vocabulary()) + "\n", encoding="utf-8")
        tokenizer = BertTokenizer(str(vocab), do_lower_case=True)
    golden = {}
    for card_path in sorted((ROOT / "datasets" / "cards").glob("*.yaml")):
        card = yaml.safe_load(card_path.read_text(encoding="utf-8"))
        if card["task"] != "classification":
            continue
        template = card["templates"][-1]
        words = list((template.get("words") or card["labels"]).values())[:LABELS]
        texts = read_texts(card)[:ROWS]
        scores = []
        for text in texts:
            encoded = tokenizer(
                [template["text"].replace("{}", word) for word in words],
                [text] * len(words),
                truncation="only_second",
                max_length=MAX_LENGTH,
                padding=True,
                return_tensors="pt",
            )
            with torch.no_grad():
                logits = model(**encoded).logits
            scores.append([round(float(value), 6) for value in logits[:, 0] - logits[:, 1]])
        golden[card["name"]] = scores
    target = HERE / "classification.json"
    target.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    print(f"{target}: {', '.join(golden)}")


if __name__ == "__main__":
    main()
