"""Log-probabilities of tokens, with and without a causal mask, mean vectors, classes: as bert4keras' models give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from nsp_bert.answer_mapping import best_undecided, candidates_contrast, split_by_sizes
from nsp_bert.checkpoints.checkpoint import Checkpoint, open_checkpoint
from nsp_bert.checkpoints.tensors import read_tensors
from nsp_bert.errors import UserError
from nsp_bert.scoring import exact
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import EncodedPair, Reads

CANDIDATES = 3
BACKENDS = ("tensorflow", "openvino")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(str(random_checkpoint.random_checkpoint(tmp_path_factory.mktemp("outputs"), layers=3)))


def trained(folder: Path, classes: int, heads: tuple[str, ...] = ("pooler",)) -> Checkpoint:
    """A checkpoint as training a classifier leaves it, with or without the pooler."""
    made = random_checkpoint.random_checkpoint(folder, layers=3, heads=heads, classes=classes)
    return open_checkpoint(str(made), ("encoder", *heads, "classifier"))


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


def build_bert(checkpoint: Checkpoint, **options: Any) -> Any:
    from nsp_bert.environment import import_tensorflow, quiet_initializers

    import_tensorflow()
    from bert4keras.models import build_transformer_model

    files = str(checkpoint.folder / "bert_config.json"), str(checkpoint.prefix)
    with quiet_initializers():
        return build_transformer_model(*files, return_keras_model=True, **options)


def keras_model(checkpoint: Checkpoint, **options: Any) -> Callable[[list[np.ndarray]], np.ndarray]:
    model = build_bert(checkpoint, **options)
    return lambda inputs: model.predict(inputs, verbose=0)[0]


def keras_classifier(checkpoint: Checkpoint) -> Callable[[list[np.ndarray]], np.ndarray]:
    from nsp_bert.environment import import_tensorflow

    keras = import_tensorflow().keras
    pooled = "pooler" in checkpoint.heads
    bert = build_bert(checkpoint, with_pool=pooled)
    stored = read_tensors(checkpoint.prefix)
    dense = keras.layers.Dense(len(stored["output_bias"]))
    model = keras.Model(bert.inputs, dense(bert.output if pooled else bert.output[:, 0]))
    dense.set_weights([stored["output_weights"].T, stored["output_bias"]])
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
def test_products_of_masked_tokens(checkpoint: Checkpoint, backend: str) -> None:
    pytest.importorskip(backend, reason="openvino is optional")
    pairs = some_pairs(25, checkpoint.config["vocab_size"])
    model = keras_model(checkpoint, with_mlm="linear")
    logits = [model([np.array([p.token_ids]), segments(p)]) for p in pairs]
    expected = [
        np.prod([one[place][tokens] for place, tokens in zip(*p.reads, strict=True)], axis=0)
        for one, p in zip(logits, pairs, strict=True)
    ]
    found = Scorer(checkpoint, backend=backend, output="masked-product").score(pairs, len(pairs), width=CANDIDATES)
    np.testing.assert_allclose(found.values.reshape(-1, CANDIDATES), expected, atol=1e-3, rtol=1e-4)


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


@pytest.mark.parametrize(("classes", "heads"), [(1, ("pooler",)), (4, ("pooler",)), (4, ("MLM",))])
@pytest.mark.parametrize("backend", BACKENDS)
def test_classes(tmp_path: Path, backend: str, classes: int, heads: tuple[str, ...]) -> None:
    """A logit a class; one class gives a score like any other, of which those of a row's candidates compete.

    Without a pooler [CLS] is read as it is.
    """
    pytest.importorskip(backend, reason="openvino is optional")
    checkpoint = trained(tmp_path, classes, heads)
    pairs = [pair._replace(reads=None) for pair in some_pairs(25, checkpoint.config["vocab_size"])]
    model = keras_classifier(checkpoint)
    expected = np.array([model([np.array([p.token_ids]), segments(p)]) for p in pairs])
    assert np.ptp(expected) > 1
    scorer = Scorer(checkpoint, backend=backend, output="classes")
    found = scorer.score(pairs, len(pairs), width=classes).values
    np.testing.assert_allclose(found.reshape(-1, classes), expected, atol=1e-4)


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.2), ("float16", 0.05)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_classes_in_reduced_precision(tmp_path: Path, backend: str, precision: str, tolerance: float) -> None:
    pytest.importorskip(backend, reason="openvino is optional")
    checkpoint = trained(tmp_path, 4)
    pairs = [pair._replace(reads=None) for pair in some_pairs(25, checkpoint.config["vocab_size"])]
    expected = Scorer(checkpoint, output="classes").score(pairs, len(pairs), width=4).values
    try:
        reduced = Scorer(checkpoint, precision, backend=backend, output="classes")
    except UserError as error:
        pytest.skip(str(error))  # not every processor computes in it
    found = reduced.score(pairs, len(pairs), width=4).values
    assert 0 < np.abs(found - expected).max() < tolerance


@pytest.mark.parametrize(("classes", "candidates"), [(5, 1), (1, 5)])
def test_auto_settles_classes(tmp_path: Path, classes: int, candidates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with a logit a class, and rows of candidates with one logit each, are predicted as in float32."""
    monkeypatch.setattr(exact, "fast_precision", lambda: "bfloat16")
    checkpoint = trained(tmp_path, classes)
    pairs = [pair._replace(reads=None) for pair in some_pairs(300 * candidates, checkpoint.config["vocab_size"])]
    rows = [pairs[start : start + candidates] for start in range(0, len(pairs), candidates)]
    sizes = [classes * candidates] * len(rows)
    table = exact.PairTable(lambda chosen: (pair for row in chosen for pair in row), rows, sizes, classes)

    @cache
    def scorer(precision: str) -> Scorer:
        return Scorer(checkpoint, precision, output="classes")

    def best(values: np.ndarray) -> Sequence[int]:
        return candidates_contrast(split_by_sizes(sizes, values)).tolist()

    engine = exact.Engine(scorer, "auto", "classes")
    assert engine.fast == "bfloat16"
    scored = engine.score(table)
    exact.settle_and_check([exact.Question([scored], partial(best_undecided, sizes=sizes))], scored, sizes, best)
    expected = scorer("float32").score(pairs, len(pairs), width=classes).values
    assert best(scored.values) == best(expected)
    assert 0 < engine.deviation < 0.2
    assert 0 < scored.exact.mean() < 1
    np.testing.assert_allclose(scored.values[scored.exact], expected[scored.exact], atol=1e-5)
