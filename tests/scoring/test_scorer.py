from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, SAMPLE

import nsp_bert_cloze_style as cloze
import nsp_bert_coreference_resolution as coreference
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.answer_mapping import candidates_contrast
from nsp_bert.cards import ClassificationCard, cards_of, load_card
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.encoding import encode_label_pairs
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import EncodedPair, make_pair_encoder
from utils import load_examples

GOLDEN = json.loads((ROOT / "tests" / "golden" / "classification.json").read_text(encoding="utf-8"))

PAIRS = json.loads((ROOT / "tests" / "golden" / "pairs.json").read_text(encoding="utf-8"))

VECTORS = json.loads((ROOT / "tests" / "golden" / "methods.json").read_text(encoding="utf-8"))["mean"]


@pytest.fixture(scope="module")
def scorer(checkpoint_dir: Path) -> Scorer:
    return Scorer(open_checkpoint(str(checkpoint_dir)))


@pytest.fixture(scope="module")
def pairs() -> list[EncodedPair]:
    rng = np.random.default_rng(3)
    lengths = rng.integers(3, 120, 60)
    return [EncodedPair(rng.integers(5, 20000, length).tolist(), int(rng.integers(1, length))) for length in lengths]


def test_golden_covers_every_classification_card() -> None:
    assert sorted(GOLDEN) == sorted(card.name for card in cards_of(ClassificationCard))


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_log_odds_equal_hugging_face(scorer: Scorer, checkpoint_dir: Path, name: str) -> None:
    expected = np.array(GOLDEN[name])
    card = load_card(name)
    texts = [example.content.text for example in load_examples(card, SAMPLE, card.split)[: len(expected)]]
    prompts = card.prompts(card.templates[-1])[: expected.shape[1]]
    encoder = make_pair_encoder(open_checkpoint(str(checkpoint_dir)), 128)
    encoded = encode_label_pairs(encoder, texts, prompts, "prefix")
    scores = scorer.score(encoded, expected.size)
    assert scores.complete
    np.testing.assert_allclose(scores.values.reshape(expected.shape), expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (sentence_pair, "bustm"),
        (sentence_pair, "csl"),
        (sentence_pair, "ocnli"),
        (coreference, "cluewsc"),
        (cloze, "chid"),
    ],
)
def test_scripts_equal_hugging_face(script: Any, name: str, checkpoint_dir: Path, tmp_path: Path) -> None:
    """From the file to the log-odds: pairs, positions and scores are those of an implementation of its own."""
    assert script.main(["--model", str(checkpoint_dir), "--dataset", name, "--output", str(tmp_path)]) == 0
    rows = [json.loads(line) for line in (tmp_path / f"{name}.test_public.jsonl").open(encoding="utf-8")]
    assert len(PAIRS[name]) == 6
    for index, expected in PAIRS[name].items():
        np.testing.assert_allclose(rows[int(index)]["scores"], expected, atol=1e-4)


def test_mean_vectors_equal_hugging_face(checkpoint_dir: Path) -> None:
    checkpoint, card = open_checkpoint(str(checkpoint_dir)), load_card("tnews")
    golden = np.array([*VECTORS.values()])
    encoder = make_pair_encoder(checkpoint, card.max_length)
    texts = [example.content.text for example in load_examples(card, SAMPLE, card.split)[: len(golden)]]
    rows = [[encoder.cls_id, *encoder.tokenize(text), encoder.sep_id] for text in texts]
    width = checkpoint.config["hidden_size"]
    pairs = [EncodedPair(row, len(row)) for row in rows]
    found = Scorer(checkpoint, output="mean").score(pairs, len(pairs), width=width).values.reshape(-1, width)
    np.testing.assert_allclose(found[:, : golden.shape[1]], golden, atol=1e-5)


def test_scores_depend_neither_on_batches_nor_on_row_order(checkpoint_dir: Path, pairs: list[EncodedPair]) -> None:
    checkpoint = open_checkpoint(str(checkpoint_dir))
    expected = Scorer(checkpoint).score(pairs, len(pairs)).values
    for batch_tokens in (1, 300, 4096):
        scorer = Scorer(checkpoint, batch_tokens=batch_tokens)
        np.testing.assert_allclose(scorer.score(pairs, len(pairs)).values, expected, atol=1e-4)
    order = np.random.default_rng(5).permutation(len(pairs))
    shuffled = Scorer(checkpoint).score([pairs[index] for index in order], len(pairs)).values
    np.testing.assert_allclose(shuffled, expected[order], atol=1e-4)


def test_windows_do_not_change_scores(
    scorer: Scorer, pairs: list[EncodedPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scorer.score(pairs, len(pairs)).values
    monkeypatch.setattr("nsp_bert.scoring.scorer.WINDOW_PAIRS", 7)
    np.testing.assert_allclose(scorer.score(pairs, len(pairs)).values, expected, atol=1e-4)


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.2), ("float16", 0.05)])
def test_reduced_precision_is_near(
    checkpoint_dir: Path, scorer: Scorer, pairs: list[EncodedPair], precision: str, tolerance: float
) -> None:
    expected = scorer.score(pairs, len(pairs)).values
    reduced = Scorer(open_checkpoint(str(checkpoint_dir)), precision).score(pairs, len(pairs)).values
    assert reduced.dtype == np.float32
    assert 0 < np.abs(reduced - expected).max() < tolerance


def test_ctrl_c_keeps_what_was_scored(
    scorer: Scorer, pairs: list[EncodedPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> object:
        yield from pairs[:30]
        raise KeyboardInterrupt

    expected = scorer.score(pairs, len(pairs)).values
    monkeypatch.setattr("nsp_bert.scoring.scorer.WINDOW_PAIRS", 10)
    scores = scorer.score(interrupted(), len(pairs))
    assert not scores.complete
    np.testing.assert_allclose(scores.values[:30], expected[:30], atol=1e-4)
    assert np.isnan(scores.values[30:]).all()


def test_candidates_contrast_takes_the_first_of_the_best() -> None:
    log_odds = np.array([[1.0, 2.0, 2.0], [-3.0, -4.0, -5.0]], np.float32)
    assert candidates_contrast(log_odds).tolist() == [1, 0]
