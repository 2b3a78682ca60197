"""The bundled checkpoint: it is small, whole, and better than chance."""

from __future__ import annotations

import json
from pathlib import Path

import nsp_bert_classification
from nsp_bert.cards import load_card
from nsp_bert.checkpoints.checkpoint import DEFAULT_MODEL, MODELS, open_checkpoint


def test_it_is_small_and_whole() -> None:
    checkpoint = open_checkpoint(DEFAULT_MODEL)
    assert checkpoint.heads == ("encoder", "pooler", "MLM", "NSP")
    assert sum(path.stat().st_size for path in (MODELS / DEFAULT_MODEL).iterdir()) < 25_000_000


def test_it_beats_chance_on_the_sample(tmp_path: Path) -> None:
    assert nsp_bert_classification.main(["--dataset", "tnews", "--output", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "tnews.test_public.json").read_text(encoding="utf-8"))
    low, _ = summary["metrics"]["accuracy_interval"]
    assert summary["sample"]
    assert low > 1 / len(load_card("tnews").labels)
