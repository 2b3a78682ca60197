"""Embeddings from co-occurrence: counts by hand, and neighbours in the text are neighbours in the space."""

from __future__ import annotations

import numpy as np
import pytest

from nsp_bert.pretraining import embeddings
from nsp_bert.pretraining.corpus import Source
from nsp_bert.pretraining.embeddings import cooccurrence_embeddings, count_cooccurrences
from nsp_bert.pretraining.pairs import Split


def split(documents: list[list[int]]) -> Split:
    """Return documents as the only text, each a clause."""
    token_ids = np.array([token for document in documents for token in document], np.uint16)
    starts = np.cumsum([0, *map(len, documents)])
    clauses = np.arange(len(documents), dtype=np.int32)
    source = Source("text", token_ids, np.ones(len(token_ids), bool), starts, clauses, starts)
    return Split(source, np.arange(1), 1.0)


def test_counts_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """At distance d a pair counts 1 / d, both ways, and never across documents."""
    monkeypatch.setattr(embeddings, "TOKENS", 5)
    counts = count_cooccurrences([split([[0, 1, 2], [3, 0]])], 4)
    expected = np.zeros((4, 4))
    for one, other, weight in ((0, 1, 1), (1, 2, 1), (0, 2, 0.5), (3, 0, 1)):
        expected[one, other] += weight
        expected[other, one] += weight
    np.testing.assert_allclose(counts, expected)


def test_tokens_of_the_same_documents_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens 0-9 and 10-19 never meet; 20 is too rare for an embedding."""
    monkeypatch.setattr(embeddings, "TOKENS", 4000)
    rng = np.random.default_rng(0)
    documents = [(10 * (number % 2) + rng.integers(0, 10, 20)).tolist() for number in range(199)]
    documents.append([20, 0])
    vectors = cooccurrence_embeddings([split(documents)], 21, 4, seed=0)
    np.testing.assert_allclose((vectors[:20] ** 2).mean(axis=1), 1, atol=1e-5)
    assert not vectors[20].any()
    cosines = vectors[:20] @ vectors[:20].T / 4
    assert cosines[:10, :10].min() > 0.5 > cosines[:10, 10:].max()
    np.testing.assert_array_equal(vectors, cooccurrence_embeddings([split(documents)], 21, 4, seed=0))
