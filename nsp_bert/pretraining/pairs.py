"""Next Sentence Prediction pairs with masked words, drawn from indexed text (Devlin et al. 2019, Cui et al. 2021)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nsp_bert.checkpoints.checkpoint import SPECIALS_PER_PAIR
from nsp_bert.pretraining.corpus import Source
from nsp_bert.pretraining.masks import choose_masked

IS_NEXT, NOT_NEXT = 0, 1
SHORTEST_SEGMENT = 2
REDRAWS = 3
CLAUSE_END_SHARE = 0.5  # a text may end with its sentence or be cut off: both stand in the training data
FIRST_KEYWORD_SHARE = 0.7  # of the keywords stand first, where a prefix prompt stands
BARE_END_SHARE = 0.5  # prompts end without punctuation
FRAMED_SHARE = 0.6  # of the keywords stand in a frame, where there are frames
RARE_WORD = 1e-4  # a keyword more frequent than this share of all words is drawn less often
WORD_SLOTS = 1 << 20
KEYWORD_DRAWS = 4


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens, and those of the punctuation marks that may be dropped at a segment's end."""

    pad: int
    cls: int
    sep: int
    mask: int
    vocab_size: int
    punctuation: tuple[int, ...] = ()


@dataclass(frozen=True)
class Split:
    """One source with the clause boundaries at which pairs may be cut, and its share of all pairs."""

    source: Source
    boundaries: np.ndarray
    share: float
    with_nsp: bool = True


@dataclass(frozen=True)
class Segments:
    """Segment spans of n pairs: source index, document and token offsets, number of the frame, all int64 (n,)."""

    source: np.ndarray
    document: np.ndarray
    start: np.ndarray
    end: np.ndarray
    frame: np.ndarray

    def columns(self) -> tuple[np.ndarray, ...]:
        """Return the five arrays in the order of the fields."""
        return self.source, self.document, self.start, self.end, self.frame


def split_documents(source: Source, held_out_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (training, held-out) boundaries; whole documents are held out, at least one where there are several."""
    boundaries = source.boundaries()
    documents = source.clause_documents[boundaries]
    usable = np.unique(documents)
    count = max(round(held_out_share * len(usable)), 1) if len(usable) > 1 and held_out_share > 0 else 0
    chosen = np.random.default_rng([seed, len(usable)]).choice(usable, count, replace=False)
    held_out = np.isin(documents, chosen)
    return boundaries[~held_out], boundaries[held_out]


Frame = tuple[list[int], list[int]]
NO_FRAME: Frame = ([], [])


@dataclass(frozen=True)
class PairRules:
    """How pairs are drawn: the share of false pairs within one source, of pairs with a segment cut down to a word.

    `frames` are phrases that a word may be put into, as token ids before and after it; the first one is empty.
    """

    same_source_share: float
    keyword_share: float = 0.0
    frames: tuple[Frame, ...] = (NO_FRAME,)


@dataclass(frozen=True)
class WordFrequencies:
    """How often a word begins with two given tokens, as a share of all words; a table of hashed pairs of tokens."""

    shares: np.ndarray

    @classmethod
    def of(cls, splits: list[Split]) -> WordFrequencies:
        """Count the words of at least two tokens in all texts."""
        counts = np.ones(WORD_SLOTS)
        for split in splits:
            starts, ids = split.source.word_starts, split.source.token_ids
            long = np.flatnonzero(starts[:-1] & ~starts[1:])
            counts += np.bincount(_slot(ids[long], ids[long + 1]), minlength=WORD_SLOTS)
        return cls(counts / counts.sum())

    def kept_share(self, first: int, second: int) -> float:
        """Return the share of draws in which a word is kept, as word2vec subsamples (Mikolov et al. 2013, 2.3)."""
        return float(np.sqrt(RARE_WORD / self.shares[_slot(np.int64(first), np.int64(second))]))


def _slot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (np.asarray(first, np.int64) * 1_000_003 + np.asarray(second, np.int64)) % WORD_SLOTS


def sample_pairs(
    splits: list[Split],
    rng: np.random.Generator,
    count: int,
    length: int,
    rules: PairRules,
    frequencies: WordFrequencies | None = None,
) -> tuple[Segments, Segments, np.ndarray]:
    """Return (first segments, second segments, labels int32: 0 = next, 1 = not next) of `count` pairs.

    A pair fills at most `length` tokens with its three special tokens. In half of the pairs the second segment comes
    from another document, cut by the same rule to the same room, and with `same_source_share` from the same source:
    neither segment betrays the label by itself, only their relation does. In `keyword_share` of the pairs one segment
    is a single word of what it was, which may be put into a phrase: so short are the label words that the scripts
    score. Frequent words are drawn less often; `frequencies` are those of all texts.
    """
    shares = np.array([split.share for split in splits]) / sum(split.share for split in splits)
    sources = rng.choice(len(splits), count, p=shares)
    first_room, second_room = _segment_lengths(rng, count, length - SPECIALS_PER_PAIR)
    first, second = _cut(splits, sources, rng, first_room, second_room)
    strangers = _strangers(splits, shares, first, rng, (first_room, second_room), rules.same_source_share)
    strange = (rng.random(count) < 0.5) & ~_same_document(first, strangers)
    second = _where(strange, strangers, second)
    if rules.keyword_share:
        frequencies = frequencies or WordFrequencies.of(splits)
        fate, edge = rng.random(count), FIRST_KEYWORD_SHARE * rules.keyword_share
        first = _keywords(splits, first, fate < edge, rng, rules.frames, frequencies)
        second = _keywords(
            splits, second, (fate >= edge) & (fate < rules.keyword_share), rng, rules.frames, frequencies
        )
    return first, second, np.where(strange, NOT_NEXT, IS_NEXT).astype(np.int32)


def _where(rows: np.ndarray, chosen: Segments, other: Segments) -> Segments:
    pairs = zip(chosen.columns(), other.columns(), strict=True)
    return Segments(*(np.where(rows, one, another) for one, another in pairs))


def _keywords(
    splits: list[Split],
    segments: Segments,
    chosen: np.ndarray,
    rng: np.random.Generator,
    frames: tuple[Frame, ...],
    frequencies: WordFrequencies,
) -> Segments:
    """Cut the chosen segments down to one word, in a frame where it fits into the room of what was cut away.

    A segment stays as it is where no word of at least two tokens is drawn.
    """
    starts, ends, framed = segments.start.copy(), segments.end.copy(), segments.frame.copy()
    for row in np.flatnonzero(chosen):
        source = splits[segments.source[row]].source
        start, end = _draw_word(source, int(segments.start[row]), int(segments.end[row]), rng, frequencies)
        if end - start < SHORTEST_SEGMENT:
            continue
        starts[row], ends[row] = start, end
        frame = int(rng.integers(0, len(frames))) if rng.random() < FRAMED_SHARE else 0
        before, after = frames[frame]
        if len(before) + len(after) + end - start <= segments.end[row] - segments.start[row]:
            framed[row] = frame
    return Segments(segments.source, segments.document, starts, ends, framed)


def _draw_word(
    source: Source, start: int, end: int, rng: np.random.Generator, frequencies: WordFrequencies
) -> tuple[int, int]:
    """Return the offsets of a word in the segment, rather a rare one; it may be shorter than two tokens."""
    low = high = start
    for _ in range(KEYWORD_DRAWS):
        low = int(rng.integers(start, end))
        high = low + 1
        while low > start and not source.word_starts[low]:
            low -= 1
        while high < end and not source.word_starts[high]:
            high += 1
        if high - low >= SHORTEST_SEGMENT:
            first, second = source.token_ids[low : low + 2].tolist()
            if rng.random() < frequencies.kept_share(first, second):
                break
    return low, high


def _strangers(
    splits: list[Split],
    shares: np.ndarray,
    first: Segments,
    rng: np.random.Generator,
    rooms: tuple[np.ndarray, np.ndarray],
    same_source_share: float,
) -> Segments:
    """Return a second segment from elsewhere for each pair, drawn again where it came from the pair's own document."""
    count = len(first.source)
    anywhere = rng.choice(len(splits), (REDRAWS, count), p=shares)
    sources = np.where(rng.random(count) < same_source_share, first.source, anywhere[0])
    _, drawn = _cut(splits, sources, rng, *rooms)
    for redraw in anywhere[1:]:
        _, again = _cut(splits, redraw, rng, *rooms)
        drawn = _where(_same_document(first, drawn), again, drawn)
    return drawn


def _same_document(one: Segments, other: Segments) -> np.ndarray:
    return (one.source == other.source) & (one.document == other.document)


def _segment_lengths(rng: np.random.Generator, count: int, room: int) -> tuple[np.ndarray, np.ndarray]:
    """One segment is short, the other takes what is left of the room.

    Half of the pairs are balanced (the short side has a quarter to a half of the room), half are prompt-like (it is
    log-uniform from 2 tokens up).
    """
    balanced = rng.uniform(room / 4, room / 2, count)
    prompt_like = np.exp(rng.uniform(np.log(SHORTEST_SEGMENT), np.log(room / 2), count))
    short = np.where(rng.random(count) < 0.5, balanced, prompt_like).astype(np.int64)
    first_is_short = rng.random(count) < 0.5
    return np.where(first_is_short, short, room - short), np.where(first_is_short, room - short, short)


def _cut(
    splits: list[Split],
    sources: np.ndarray,
    rng: np.random.Generator,
    first_room: np.ndarray,
    second_room: np.ndarray,
) -> tuple[Segments, Segments]:
    """Cut a document of each source at a random clause boundary: what ends there is first, what begins is second."""
    count = len(sources)
    document, start, middle, end = np.empty((4, count), np.int64)
    whole = rng.random((2, count)) < CLAUSE_END_SHARE
    for index in np.unique(sources):
        rows = np.flatnonzero(sources == index)
        source = splits[index].source
        clause = rng.choice(splits[index].boundaries, len(rows))
        middle[rows] = source.clause_starts[clause]
        document[rows] = source.clause_documents[clause]
        first = np.maximum(source.document_starts[document[rows]], middle[rows] - first_room[rows])
        last = np.minimum(source.document_starts[document[rows] + 1], middle[rows] + second_room[rows])
        clause_first = source.clause_starts[np.searchsorted(source.clause_starts, first)]
        clause_last = source.clause_starts[np.searchsorted(source.clause_starts, last, side="right") - 1]
        start[rows] = np.where(whole[0, rows] & (clause_first < middle[rows]), clause_first, first)
        end[rows] = np.where(whole[1, rows] & (clause_last > middle[rows]), clause_last, last)
    bare = np.zeros(count, np.int64)
    return Segments(sources, document, start, middle, bare), Segments(sources, document, middle, end, bare)


@dataclass(frozen=True)
class Batch:
    """A masked batch of B pairs padded to T tokens; P is the room for masked positions.

    token_ids, segment_ids int32 (B, T); masked_positions int32 (P,) into the flattened batch, masked_token_ids int32
    (P,), masked_weights float32 (P,); nsp_labels int32 (B,), nsp_weights float32 (B,).
    """

    token_ids: np.ndarray
    segment_ids: np.ndarray
    masked_positions: np.ndarray
    masked_token_ids: np.ndarray
    masked_weights: np.ndarray
    nsp_labels: np.ndarray
    nsp_weights: np.ndarray

    @property
    def arrays(self) -> list[np.ndarray]:
        """The fields in their order."""
        return list(vars(self).values())


@dataclass(frozen=True)
class PairSampler:
    """Draws batch number `step` of a seed: stateless, so that a resumed run sees what it would have seen."""

    splits: list[Split]
    special: SpecialIds
    batch_tokens: int
    lengths: dict[int, float]
    rules: PairRules
    whole_word: bool = True
    masked_share: float = 0.15
    seed: int = 0

    @cached_property
    def frequencies(self) -> WordFrequencies:
        """How frequent the words of the texts are."""
        return WordFrequencies.of(self.splits)

    def batch(self, step: int) -> Batch:
        """Return batch `step`; its length is drawn from `lengths` (tokens -> share of the batches)."""
        rng = np.random.default_rng([self.seed, step])
        shares = np.array(list(self.lengths.values()))
        length = int(rng.choice(list(self.lengths), p=shares / shares.sum()))
        count = max(self.batch_tokens // length, 2)
        first, second, labels = sample_pairs(self.splits, rng, count, length, self.rules, self.frequencies)
        bare = rng.random((2, count)) < BARE_END_SHARE
        token_ids = np.full((count, length), self.special.pad, np.int32)
        segment_ids = np.zeros((count, length), np.int32)
        word_starts = np.ones((count, length), bool)
        maskable = np.zeros((count, length), bool)
        for row in range(count):
            place = 1
            for segment, side in ((first, 0), (second, 1)):
                source = self.splits[segment.source[row]].source
                ids = source.token_ids[segment.start[row] : segment.end[row]]
                size = len(ids)
                if bare[side, row] and size > SHORTEST_SEGMENT and ids[-1] in self.special.punctuation:
                    size -= 1
                before, after = self.rules.frames[segment.frame[row]]
                token_ids[row, place : place + len(before)] = before
                segment_ids[row, place : place + len(before)] = side
                place += len(before)
                token_ids[row, place : place + size] = ids[:size]
                word_starts[row, place : place + size] = source.word_starts[segment.start[row] :][:size]
                word_starts[row, place] = True
                maskable[row, place : place + size] = True
                rest = [*after, self.special.sep]
                token_ids[row, place + size : place + size + len(rest)] = rest
                segment_ids[row, place : place + size + len(rest)] = side
                place += size + len(rest)
        token_ids[:, 0] = self.special.cls
        with_nsp = np.array([split.with_nsp for split in self.splits])
        weights = (with_nsp[first.source] & with_nsp[second.source]).astype(np.float32)
        if not self.whole_word:
            word_starts[:] = True
        chosen = choose_masked(maskable, word_starts, self.masked_share, rng)
        return self._masked(token_ids, segment_ids, chosen, labels, weights, rng)

    def _masked(
        self,
        token_ids: np.ndarray,
        segment_ids: np.ndarray,
        chosen: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        rng: np.random.Generator,
    ) -> Batch:
        """Replace the chosen tokens: 80 % by [MASK], 10 % by a random token, 10 % stay (BERT, section 3.1)."""
        room = int(token_ids.size * self.masked_share) + len(token_ids)
        positions = np.flatnonzero(chosen)[:room]
        targets = token_ids.ravel()[positions]
        fate = rng.random(len(positions))
        flat = token_ids.ravel()
        random_ids = rng.integers(0, self.special.vocab_size, len(positions))
        flat[positions] = np.where(fate < 0.8, self.special.mask, np.where(fate < 0.9, random_ids, targets))
        filled = len(positions)
        return Batch(
            token_ids=flat.reshape(token_ids.shape),
            segment_ids=segment_ids,
            masked_positions=np.pad(positions, (0, room - filled)).astype(np.int32),
            masked_token_ids=np.pad(targets, (0, room - filled)).astype(np.int32),
            masked_weights=np.pad(np.ones(filled, np.float32), (0, room - filled)),
            nsp_labels=labels,
            nsp_weights=weights,
        )


def prefetch(sampler: PairSampler, start: int, end: int, depth: int = 4) -> Iterator[Batch]:
    """Yield batches `start` … `end` - 1, made in a background thread."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(depth)

    def produce() -> None:
        try:
            for step in range(start, end):
                ready.put(sampler.batch(step))
        except BaseException as error:
            ready.put(error)

    threading.Thread(target=produce, daemon=True).start()
    for _ in range(start, end):
        batch = ready.get()
        if isinstance(batch, BaseException):
            raise batch
        yield batch
