"""Token embeddings to start from: factorised co-occurrence of tokens (Levy and Goldberg 2014)."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import svds
from tqdm import tqdm

from nsp_bert.pretraining.pairs import Split

WINDOW = 16  # tokens to the right; a pair at distance d counts 1 / d
TOKENS = 40_000_000  # of text that are counted, shared among the sources as the pairs are
SMOOTHING = 0.75  # exponent of the context's frequency (Levy, Goldberg and Dagan 2015)
RARE = 20  # tokens that are seen less often keep their random embedding


def cooccurrence_embeddings(splits: list[Split], vocab_size: int, width: int, seed: int) -> np.ndarray:
    """Return float32 (vocab_size, width) with rows of mean square 1; zero rows for tokens that are too rare.

    The rows are the leading singular vectors of the tokens' positive pointwise mutual information.
    """
    counts = count_cooccurrences(splits, vocab_size)
    tokens = counts.sum(axis=1)
    contexts = counts.sum(axis=0) ** SMOOTHING
    expected = np.outer(tokens / tokens.sum(), contexts / contexts.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts / counts.sum() / expected)
    information = np.where(counts > 0, np.maximum(information, 0), 0).astype(np.float32)
    start = np.random.default_rng(seed).normal(size=vocab_size).astype(np.float32)
    left, values, _ = svds(information, k=width, v0=start)
    vectors = left * np.sqrt(values)
    vectors[tokens < RARE] = 0
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1) * width**0.5).astype(np.float32)


def count_cooccurrences(splits: list[Split], vocab_size: int) -> np.ndarray:
    """Return symmetric counts float32 (vocab_size, vocab_size), sources weighted by their shares."""
    counts = np.zeros(vocab_size * vocab_size, np.float32)
    total = sum(split.share for split in splits)
    for split in tqdm(splits, desc="counting neighbours", unit=" files"):
        wanted = TOKENS * split.share / total
        token_ids = split.source.token_ids[: int(wanted)].astype(np.int64)
        weight = max(wanted / len(token_ids), 1.0)
        starts = split.source.document_starts
        document = np.searchsorted(starts, np.arange(len(token_ids)), side="right")
        for distance in range(1, WINDOW + 1):
            same = document[distance:] == document[:-distance]
            pairs = token_ids[:-distance][same] * vocab_size + token_ids[distance:][same]
            distinct, times = np.unique(pairs, return_counts=True)
            counts[distinct] += times * (weight / distance)
    square = counts.reshape(vocab_size, vocab_size)
    return square + square.T
