"""Log-probabilities of tokens, with and without a causal mask, and mean vectors: as bert4keras' models give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import random_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from nsp_bert.checkpoints.checkpoint import Checkpoint, open_checkpoint
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import EncodedPair, Reads

CANDIDATES = 3
BACKENDS = ("tensorflow", "openvino")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(str(random_checkpoint.random_checkpoint(tmp_path_factory.mktemp("outputs"), layers=3)))


def some_pairs(count: int, vocabulary: int, seed: int = 0) -> list[EncodedPair]:
    """Pairs of many lengths, each asked for tokens at one to three places."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        length = int(rng.integers(6, 40))
        places = sorted(rng.choice(np.arange(1, length - 1), int(rng.integers(1, 4)), replace=False).tolist())
        tokens = rng.integers(5, vocabulary, (len(places), CANDIDATES)).tolist()
        ids = rng.integers(5, vocabulary, length).tolist()
        pairs.append(EncodedPair(ids, int(rng.integers(2, length)), reads=Reads(places, tokens)))
    return pairs


def keras_model(checkpoint: Checkpoint, **options: Any) -> Callable[[list[np.ndarray]], np.ndarray]:
    from nsp_bert.environment import import_tensorflow, quiet_initializers

    import_tensorflow()
    from bert4keras.models import build_transformer_model

    files = str(checkpoint.folder / "bert_config.json"), str(checkpoint.prefix)
    with quiet_initializers():
        model = build_transformer_model(*files, return_keras_model=True, **options)
    return lambda inputs: model.predict(inputs, verbose=0)[0]


def sums(log_probabilities: np.ndarray, reads: Reads) -> np.ndarray:
    """Return the sums (C,) over the places."""
    return sum(log_probabilities[place, tokens] for place, tokens in zip(*reads, strict=True))


def segments(pair: EncodedPair) -> np.ndarray:
    return np.array([[0] * pair.first_length + [1] * (len(pair.token_ids) - pair.first_length)])


@pytest.mark.parametrize("backend", BACKENDS)
def test_masked_tokens(checkpoint: Checkpoint, backend: str) -> None:
    pytest.importorskip(backend, reason="openvino is optional")
    pairs = some_pairs(25, checkpoint.config["vocab_size"])
    model = keras_model(checkpoint, with_mlm=True)
    expected = [sums(np.log(model([np.array([p.token_ids]), segments(p)])), p.reads) for p in pairs]
    scorer = Scorer(checkpoint, backend=backend, output="masked")
    found = scorer.score(pairs, len(pairs), width=CANDIDATES)
    assert found.pairs == len(pairs)
    np.testing.assert_allclose(found.values.reshape(-1, CANDIDATES), expected, atol=2e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tokens_of_a_causal_model(checkpoint: Checkpoint, backend: str) -> None:
    """A place is the last one that the model sees of what it continues."""
    pytest.importorskip(backend, reason="openvino is optional")
    pairs = some_pairs(25, checkpoint.config["vocab_size"])
    model = keras_model(checkpoint, application="lm", segment_vocab_size=0)
    expected = [sums(np.log(model([np.array([p.token_ids])])), p.reads) for p in pairs]
    scorer = Scorer(checkpoint, backend=backend, output="causal")
    found = scorer.score(pairs, len(pairs), width=CANDIDATES).values.reshape(-1, CANDIDATES)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_mean_vectors(checkpoint: Checkpoint, backend: str) -> None:
    pytest.importorskip(backend, reason="openvino is optional")
    pairs = [pair._replace(reads=None) for pair in some_pairs(25, checkpoint.config["vocab_size"])]
    model = keras_model(checkpoint)
    expected = [model([np.array([p.token_ids]), segments(p)]).mean(axis=0) for p in pairs]
    width = checkpoint.config["hidden_size"]
    found = Scorer(checkpoint, backend=backend, output="mean").score(pairs, len(pairs), width=width).values
    np.testing.assert_allclose(found.reshape(-1, width), expected, atol=1e-4)


@pytest.fixture(scope="module")
def causal(checkpoint: Checkpoint) -> Scorer:
    return Scorer(checkpoint, output="causal")


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_later_tokens_change_nothing_in_a_causal_model(causal: Scorer, seed: int) -> None:
    (pair,) = some_pairs(1, 30, seed)
    last = max(pair.reads.places)
    other = pair._replace(token_ids=[*pair.token_ids[: last + 1], *(5 + t % 20 for t in pair.token_ids[last + 1 :]), 7])
    found = causal.score([pair, other], 2, width=CANDIDATES).values.reshape(2, -1)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_scores_do_not_depend_on_the_batch(checkpoint: Checkpoint) -> None:
    """Nor on the order of the pairs, though pairs have different numbers of places."""
    pairs = some_pairs(40, checkpoint.config["vocab_size"], 3)
    for output in ("masked", "causal"):
        wide, narrow = (Scorer(checkpoint, batch_tokens=size, output=output) for size in (4096, 40))
        one = wide.score(pairs, 40, width=CANDIDATES).values.reshape(40, -1)
        other = narrow.score(pairs[::-1], 40, width=CANDIDATES).values.reshape(40, -1)
        np.testing.assert_allclose(one, other[::-1], atol=1e-5)


def test_pairs_that_ask_for_other_tokens_are_different(checkpoint: Checkpoint) -> None:
    pair = some_pairs(1, checkpoint.config["vocab_size"])[0]
    other = pair._replace(reads=Reads(pair.reads.places, [[6, 7, 8]] * len(pair.reads.places)))
    found = Scorer(checkpoint, output="masked").score([pair, other, pair], 3, width=CANDIDATES).values.reshape(3, -1)
    assert np.array_equal(found[0], found[2])
    assert np.abs(found[0] - found[1]).max() > 1e-3
