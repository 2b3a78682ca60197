from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import random_checkpoint
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.errors import UserError
from nsp_bert.pretraining import corpus
from nsp_bert.pretraining.corpus import (
    Source,
    index_document,
    learn_vocabulary,
    load_source,
    read_documents,
    read_lines,
)
from nsp_bert.pretraining.masks import choose_masked
from nsp_bert.pretraining.pairs import (
    IS_NEXT,
    NO_FRAME,
    NOT_NEXT,
    PairRules,
    PairSampler,
    SpecialIds,
    Split,
    WordFrequencies,
    sample_pairs,
    split_documents,
)
from utils import load_tokenizer

SPECIAL = SpecialIds(pad=0, cls=2, sep=3, mask=4, vocab_size=60000, punctuation=(5,))


def make_source(name: str, offset: int, documents: int = 20, clauses: int = 12) -> Source:
    """Documents of consecutive token ids: what follows what can be read off the ids."""
    rng = np.random.default_rng(offset)
    sizes = rng.integers(2, 15, (documents, clauses))
    starts = np.concatenate([[0], np.cumsum(sizes.ravel())])
    total = int(starts[-1])
    return Source(
        name=name,
        token_ids=(np.arange(total) + offset).astype(np.uint16),
        word_starts=rng.random(total) < 0.6,
        clause_starts=starts,
        clause_documents=np.repeat(np.arange(documents), clauses).astype(np.int32),
        document_starts=starts[::clauses],
    )


@pytest.fixture(scope="module")
def splits() -> list[Split]:
    sources = [make_source("one", 100), make_source("two", 20000)]
    return [Split(source, source.boundaries(), share) for source, share in zip(sources, (3.0, 1.0), strict=True)]


@pytest.mark.parametrize("length", [16, 32, 128])
def test_true_pairs_continue_and_false_pairs_come_from_another_document(splits: list[Split], length: int) -> None:
    first, second, labels = sample_pairs(splits, np.random.default_rng(1), 4000, length, PairRules(0.8))
    sizes = (first.end - first.start) + (second.end - second.start)
    assert sizes.max() <= length - 3
    assert (first.end > first.start).all()
    assert (second.end > second.start).all()
    follows = (first.source == second.source) & (first.end == second.start) & (first.document == second.document)
    assert follows[labels == IS_NEXT].all()
    strange = (first.source != second.source) | (first.document != second.document)
    assert strange[labels == NOT_NEXT].all()
    assert 0.45 < (labels == NOT_NEXT).mean() < 0.55
    within = first.source == second.source
    assert 0.7 < within[labels == NOT_NEXT].mean() < 0.95


def test_segments_betray_no_label(splits: list[Split]) -> None:
    """Length and source of either segment are distributed alike in true and false pairs."""
    first, second, labels = sample_pairs(splits, np.random.default_rng(2), 40000, 64, PairRules(1.0))
    for values in (first.end - first.start, second.end - second.start, first.source, second.source):
        means = [values[labels == label].mean() for label in (IS_NEXT, NOT_NEXT)]
        assert means[0] == pytest.approx(means[1], rel=0.05)


def test_short_prompts_are_in_distribution(splits: list[Split]) -> None:
    first, second, _ = sample_pairs(splits, np.random.default_rng(3), 4000, 64, PairRules(0.8))
    shorter = np.minimum(first.end - first.start, second.end - second.start)
    assert (shorter <= 4).mean() > 0.1
    assert (shorter >= 16).mean() > 0.1


def test_keywords_are_words_of_their_segment(splits: list[Split]) -> None:
    plain = sample_pairs(splits, np.random.default_rng(6), 4000, 64, PairRules(0.8))
    first, second, labels = sample_pairs(splits, np.random.default_rng(6), 4000, 64, PairRules(0.8, 0.5))
    np.testing.assert_array_equal(labels, plain[2])
    shares = []
    for segments, whole in zip((first, second), plain[:2], strict=True):
        cut = (segments.start != whole.start) | (segments.end != whole.end)
        shares.append(cut.mean())
        for row in np.flatnonzero(cut):
            start, end = segments.start[row], segments.end[row]
            word_starts = splits[segments.source[row]].source.word_starts
            assert whole.start[row] <= start < end <= whole.end[row]
            assert end - start >= 2
            assert word_starts[start] or start == whole.start[row]
            assert not word_starts[start + 1 : end].any()
    assert shares[0] > shares[1] > 0.01


def test_whole_documents_are_held_out() -> None:
    source = make_source("one", 100, documents=50)
    training, held_out = split_documents(source, 0.1, seed=1)
    sides = [set(source.clause_documents[side]) for side in (training, held_out)]
    assert (len(sides[0]), len(sides[1])) == (45, 5)
    assert not sides[0] & sides[1]
    assert split_documents(make_source("one", 100, documents=1), 0.1, seed=1)[1].size == 0


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 8),
    used=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.15, 0.5, 1.0]),
)
def test_words_are_masked_whole(seed: int, rows: int, used: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    maskable = np.zeros((rows, 48), bool)
    maskable[:, 1 : used + 1] = True
    word_starts = rng.random((rows, 48)) < 0.5
    word_starts[:, :2] = True
    word_starts[:, used + 1 :] = True
    chosen = choose_masked(maskable, word_starts, share, rng)
    assert not (chosen & ~maskable).any()
    assert chosen.any(axis=1).all()
    words = np.cumsum(word_starts, axis=1)
    for row in range(rows):
        for word in np.unique(words[row][maskable[row]]):
            assert len(set(chosen[row][(words[row] == word) & maskable[row]])) == 1
    if share == 1.0:
        assert (chosen == maskable).all()


def test_masked_share_and_fates(splits: list[Split]) -> None:
    sampler = PairSampler(splits, SPECIAL, batch_tokens=64 * 512, lengths={64: 1.0}, rules=PairRules(0.8))
    batch = sampler.batch(0)
    kept = batch.masked_weights > 0
    positions, targets = batch.masked_positions[kept], batch.masked_token_ids[kept]
    now = batch.token_ids.ravel()[positions]
    real = (batch.token_ids > 4).sum() + (batch.token_ids == 4).sum()
    assert len(positions) / real == pytest.approx(0.15, abs=0.01)
    assert (now == SPECIAL.mask).mean() == pytest.approx(0.8, abs=0.03)
    assert (now == targets).mean() == pytest.approx(0.1, abs=0.03)
    assert len(np.unique(positions)) == len(positions)


def test_batches_are_functions_of_seed_and_step(splits: list[Split]) -> None:
    sampler = PairSampler(splits, SPECIAL, 2048, {32: 0.5, 64: 0.5}, PairRules(0.8, 0.3), seed=4)
    again = PairSampler(splits, SPECIAL, 2048, {32: 0.5, 64: 0.5}, PairRules(0.8, 0.3), seed=4)
    for name, value in vars(sampler.batch(17)).items():
        np.testing.assert_array_equal(value, vars(again.batch(17))[name])
    assert {sampler.batch(step).token_ids.shape for step in range(12)} == {(64, 32), (32, 64)}


def test_a_batch_is_well_formed(splits: list[Split]) -> None:
    muted = [splits[0], Split(splits[1].source, splits[1].boundaries, 1.0, with_nsp=False)]
    batch = PairSampler(muted, SPECIAL, 4096, {64: 1.0}, PairRules(0.5), seed=2).batch(3)
    for ids, segments in zip(batch.token_ids, batch.segment_ids, strict=True):
        length = (ids != SPECIAL.pad).sum()
        separators = np.flatnonzero(ids == SPECIAL.sep)
        assert ids[0] == SPECIAL.cls
        assert (len(separators), separators[1]) == (2, length - 1)
        assert segments.tolist() == [0] * (separators[0] + 1) + [1] * (length - separators[0] - 1) + [0] * (64 - length)
    assert 0 < batch.nsp_weights.mean() < 1


def test_documents_clauses_and_words(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("天气预报：明天晴，后天有雨。\n出门带伞\n\n第二篇，短。\n", encoding="utf-8")
    assert list(read_documents(path)) == [["天气预报：明天晴，后天有雨。", "出门带伞"], ["第二篇，短。"]]
    assert len(list(read_documents(path, line_documents=True))) == 3
    token_ids, word_starts, clause_starts = index_document(next(read_documents(path)), lambda word: [1] * len(word))
    assert len(token_ids) == len(word_starts) == 18
    assert clause_starts.tolist() == [0, 5, 9, 14]
    assert word_starts[0]
    assert not word_starts[1]


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz"])
def test_compressed_text_is_read(tmp_path: Path, suffix: str) -> None:
    import gzip
    import lzma

    data = "\ufeff第一行\r\n第二行\n".encode()
    path = tmp_path / f"text.txt{suffix}"
    path.write_bytes({"": bytes, ".xz": lzma.compress, ".gz": gzip.compress}[suffix](data))
    assert list(read_lines(path)) == ["第一行", "第二行"]
    path.write_bytes(path.read_bytes()[:-3] if suffix else "好".encode("gb18030"))
    with pytest.raises(UserError, match=r"text\.txt"):
        list(read_lines(path))


def test_vocabulary_is_learned(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("猫猫猫猫猫狗 Linux Linux Linux Linux LINUX é\n" * 2 + "罕\n", encoding="utf-8")
    tokens = learn_vocabulary([path], 200, 5)
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert {"猫", "linux", "a", "##a", "0"} <= set(tokens)
    assert not {"罕", "狗", "Linux", "é"} & set(tokens)
    assert len(tokens) == len(set(tokens))
    with pytest.raises(UserError, match="--vocab-size"):
        learn_vocabulary([path], 20, 5)


def test_indexing_is_cached_until_the_text_changes(tmp_path: Path) -> None:
    text, vocab, cache = tmp_path / "text.txt", tmp_path / "vocab.txt", tmp_path / "cache"
    vocab.write_text("\n".join(random_checkpoint.vocabulary()) + "\n", encoding="utf-8")
    text.write_text("春天来了，花开了。\n鸟也叫。\n", encoding="utf-8")
    first = load_source(text, vocab, cache, load_tokenizer)
    assert first.boundaries().tolist() == [1, 2]
    stored = list(cache.iterdir())
    assert len(stored) == 1
    again = load_source(text, vocab, cache, load_tokenizer)
    np.testing.assert_array_equal(first.token_ids, again.token_ids)
    text.write_text("秋天，叶落。\n", encoding="utf-8")
    assert len(load_source(text, vocab, cache, load_tokenizer).token_ids) == 6
    assert len(list(cache.iterdir())) == 2
    text.write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no text"):
        load_source(text, vocab, cache, load_tokenizer)


def test_chunks_are_indexed_elsewhere_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, vocab = tmp_path / "text.txt", tmp_path / "vocab.txt"
    vocab.write_text("\n".join(random_checkpoint.vocabulary()) + "\n", encoding="utf-8")
    text.write_text("春天来了，花开了。\n鸟也叫。\n\n秋天，叶落。\n\n天凉，加衣服。\n", encoding="utf-8")
    whole = load_source(text, vocab, tmp_path / "whole", load_tokenizer)
    monkeypatch.setattr(corpus, "CHUNK_LINES", 1)
    in_chunks = load_source(text, vocab, tmp_path / "chunks", load_tokenizer, processes=2)
    assert in_chunks.boundaries().tolist() == whole.boundaries().tolist() == [1, 2, 4, 6]
    np.testing.assert_array_equal(in_chunks.token_ids, whole.token_ids)


def test_frames_hold_words_and_betray_nothing(splits: list[Split]) -> None:
    """A framed word has the phrase around it, in its own segment; the frame fits into what was cut away."""
    frame = ([60001 - 2, 60001 - 3], [60001 - 4])
    rules = PairRules(0.8, 1.0, (NO_FRAME, frame))
    first, second, labels = sample_pairs(splits, np.random.default_rng(7), 4000, 64, rules)
    framed = (first.frame == 1) | (second.frame == 1)
    assert 0.1 < framed.mean() < 0.5
    assert abs(labels[framed].mean() - labels[~framed].mean()) < 0.06
    sampler = PairSampler(splits, SPECIAL, 8192, {64: 1.0}, rules, masked_share=0.0, seed=1)
    batch = sampler.batch(0)
    seen = 0
    for token_ids, segment_ids in zip(batch.token_ids, batch.segment_ids, strict=True):
        for start in np.flatnonzero(token_ids == frame[0][0]):
            end = start + int(np.flatnonzero(token_ids[start:] == frame[1][0])[0])
            assert token_ids[start + 1] == frame[0][1]
            assert token_ids[end + 1] == SPECIAL.sep
            assert token_ids[start - 1] in (SPECIAL.cls, SPECIAL.sep)
            assert len(set(segment_ids[start : end + 2])) == 1
            seen += 1
    assert seen > 10


def test_frequent_words_are_drawn_less_often() -> None:
    """Word 1 2 is nine of ten words of the text, word 3 4 the tenth; by word2vec's rule both are drawn alike."""
    token_ids = np.array(([1, 2] * 9 + [3, 4]) * 400, np.uint16)
    starts = np.arange(0, len(token_ids) + 1, 20)
    documents = (np.arange(len(starts) - 1) // 4).astype(np.int32)
    source = Source("text", token_ids, np.arange(len(token_ids)) % 2 == 0, starts, documents, starts[::4])
    split = Split(source, source.boundaries(), 1.0)
    frequencies = WordFrequencies.of([split])
    assert frequencies.kept_share(1, 2) == pytest.approx(frequencies.kept_share(3, 4) / 3, rel=0.01)
    first, _, _ = sample_pairs([split], np.random.default_rng(0), 4000, 40, PairRules(0.0, 1.0))
    words = token_ids[first.start[first.end - first.start == 2]]
    assert (words == 3).mean() > 0.11
