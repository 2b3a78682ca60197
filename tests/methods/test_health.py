"""The health checks of the heads: what they ask, as bert4keras' models answer it, and what is made of the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RandomScorer

from nsp_bert.checkpoints.checkpoint import DEFAULT_MODEL, Checkpoint, open_checkpoint
from nsp_bert.environment import import_tensorflow, quiet_initializers
from nsp_bert.methods.health import (
    HEALTH_TEXTS,
    AskedTokens,
    Health,
    Masks,
    chance_note,
    check_masks,
    choose_tokens,
    health_documents,
    load_documents,
    log_probabilities,
)
from nsp_bert.scoring.outputs import READS, Output
from nsp_bert.scoring.scorer import Scorer

MASK = 4
MODELS: dict[Output, dict[str, Any]] = {  # as bert4keras builds them
    "masked": {"with_mlm": True},
    "masked-product": {"with_mlm": "linear"},
    "causal": {"application": "lm", "segment_vocab_size": 0},
}


@pytest.fixture(scope="module")
def checkpoint(checkpoint_dir: Path) -> Checkpoint:
    return open_checkpoint(str(checkpoint_dir))


def test_verdicts() -> None:
    high, low = np.linspace(1, 3, 120), np.linspace(-3, -1, 120)
    assert Health(high, low).verdict == "works"
    assert (
        Health(high, np.roll(high, 60)).verdict
        == "is at chance: it does not tell neighbours from strangers; was it trained, and was it loaded?"
    )
    assert Health(high + 9, low + 9).verdict.startswith("works, but its margins are shifted")
    assert Health(low, high).verdict.startswith("looks inverted")


def test_tokens_against_the_most_frequent_one() -> None:
    asked = np.array([7] * 30 + list(range(100, 170)))
    assert Masks(asked, np.full(100, 7)).verdict.startswith("is at chance")
    assert Masks(asked, np.full(100, 7)).chance == Masks(asked, np.full(100, 7)).accuracy.value == 0.3
    assert Masks(asked, np.where(np.arange(100) < 60, asked, 1)).verdict == "works"


def test_health_texts() -> None:
    for path in HEALTH_TEXTS.glob("*.txt"):
        documents = load_documents(path)
        assert (len(documents), {len(document) for document in documents}) == (30, {5})


def test_what_is_asked() -> None:
    """Each candidate at each place has a score of its own: the sum over the places has one that counts."""
    asked = AskedTokens([np.array([2, 50, 60, 50, 3]), np.array([2, 70, 60, 3])], np.array([[3, 2], [1, 2]]))
    assert asked.tokens.tolist() == [[50, 60], [70, 60]]
    tokens = [[50, 60, 70, -1, -1, -1], [-1, -1, -1, 50, 60, 70]]
    masked, product, causal = (list(asked.pairs(output, MASK)) for output in READS)
    assert [pair.token_ids for pair in masked] == [[2, 50, MASK, MASK, 3], [2, MASK, MASK, 3]]
    assert masked == product
    assert [pair.token_ids for pair in causal] == [[2, 50, 60, 50, 3], [2, 70, 60, 3]]
    assert [pair.reads for pair in masked] == [([3, 2], tokens), ([1, 2], tokens)]
    assert [pair.reads for pair in causal] == [([2, 1], tokens), ([0, 1], tokens)]


@pytest.mark.parametrize("output", READS)
def test_log_probabilities_are_those_of_bert4keras(checkpoint: Checkpoint, output: Output) -> None:
    import_tensorflow()
    from bert4keras.models import build_transformer_model

    files = str(checkpoint.folder / "bert_config.json"), str(checkpoint.prefix)
    with quiet_initializers():
        model = build_transformer_model(*files, return_keras_model=True, **MODELS[output])
    asked = choose_tokens(checkpoint, health_documents("zh")[:4])
    found = log_probabilities(checkpoint, Scorer(checkpoint, output=output), asked, output)
    for text, places, values in zip(asked.texts, asked.places, found, strict=True):
        token_ids = text[None].copy()
        if output != "causal":
            token_ids[0, places] = MASK
        inputs = [token_ids, np.zeros_like(token_ids)][: len(model.inputs)]
        said = model.predict(inputs, verbose=0)[0]
        expected = said if output == "masked-product" else np.log(said)
        read = places - 1 if output == "causal" else places
        np.testing.assert_allclose(values, expected[read][:, asked.candidates], atol=2e-4)


@pytest.mark.parametrize("output", READS)
def test_random_weights_are_at_chance(checkpoint: Checkpoint, output: Output) -> None:
    note = chance_note(checkpoint, Scorer(checkpoint, output=output), output)
    assert note.startswith("the MLM head of random is at chance on models/health/zh.txt (")
    assert ("masked tokens found" in note) == (output != "causal")


def test_the_bundled_checkpoint_fills_in_masks() -> None:
    checkpoint = open_checkpoint(DEFAULT_MODEL)
    scorer = Scorer(checkpoint, output="masked")
    assert chance_note(checkpoint, scorer, "masked") == ""
    masks = check_masks(checkpoint, scorer, health_documents("zh"))
    assert masks.works
    assert masks.accuracy.value > 3 * masks.chance


def test_what_cannot_be_checked_is_not(checkpoint: Checkpoint) -> None:
    """Without a word, and without a scorer being asked."""
    scorer: Any = None
    assert chance_note(checkpoint, scorer, "next-sentence") == ""
    assert chance_note(checkpoint, scorer, "mean") == ""
    assert chance_note(replace(checkpoint, language="fr"), scorer, "masked") == ""


def test_an_interrupted_check_says_nothing(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RandomScorer, "complete", False)
    scorer: Any = RandomScorer()
    with pytest.raises(KeyboardInterrupt):
        chance_note(checkpoint, scorer, "masked")
