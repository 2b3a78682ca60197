"""What steps of LM-BFF, ADAPET and TCBert ask: the label's word, and of ADAPET other tokens under some label's word."""

from __future__ import annotations

import numpy as np
import pytest

from nsp_bert.methods.label_words import MASKED_SHARE, ConditionedTeacher, LabelTeacher, Lesson, TopicTeacher
from nsp_bert.options import Recipe
from nsp_bert.tokenization import EncodedPair, Reads

MASK, CLS, SEP = 4, 2, 3
WORDS = [[50, 60, 70], [51, 61, 71]]  # of three candidates, at each of two places


def lesson(length: int, label: int = 1) -> Lesson:
    """A row of tokens 100, 101 ... between [CLS] and [SEP], with [MASK] at 3 and 4."""
    token_ids = [CLS, *range(100, 98 + length), SEP]
    token_ids[3:5] = [MASK, MASK]
    reads = Reads([3, 4], WORDS)
    return Lesson(EncodedPair(token_ids, length, reads=reads), reads, label)


def conditioned(lessons: list[Lesson], **recipe: int) -> ConditionedTeacher:
    return ConditionedTeacher(Recipe(**recipe), lessons, MASK, [CLS, SEP])


@pytest.mark.parametrize("tokens", [1, 64, 130, 4096])
@pytest.mark.parametrize("kind", [LabelTeacher, TopicTeacher, ConditionedTeacher])
def test_the_weights_of_a_step_add_up_to_one_however_it_is_cut(kind: type[LabelTeacher], tokens: int) -> None:
    lessons = [lesson(length, label) for length, label in ((20, 0), (40, 1), (60, 2), (30, 1), (33, 0))]
    own = {"part_tokens": tokens, "step_rows": 5}
    teacher = conditioned(lessons, **own) if kind is ConditionedTeacher else kind(Recipe(**own), lessons)
    for rows in ([4, 0, 3, 1, 2], [2, 1]):  # a whole step, and a shorter one at the end of an epoch
        parts = list(teacher.parts(rows, np.random.default_rng(1)))
        token_ids, _, _, places, asked, labels, weights = (
            [row for part in parts for row in part[array]] for array in range(7)
        )
        assert sum(weights) == pytest.approx(1)
        by_length = sorted((lessons[row] for row in rows), key=lambda one: -len(one.pair.token_ids))
        assert labels == [one.label for one in by_length]
        for number, one in enumerate(by_length):
            assert places[number].tolist() == [3, 4]
            assert asked[number].tolist() == WORDS
            assert [token for token in token_ids[number].tolist() if token] == one.pair.token_ids
        if kind is ConditionedTeacher:
            assert sum(part[12].sum() for part in parts) == pytest.approx(1)
            for part in parts:
                assert [array.shape for array in part[:3]] == [array.shape for array in part[7:10]]
                assert (part[12] > 0).any(axis=1).all()


def test_what_is_masked_under_some_label_s_word() -> None:
    """A share up to 10.5 % of the tokens, one at least; never [CLS], [SEP] or the word, which is there as it is."""
    one, rng = lesson(80, label=2), np.random.default_rng(0)
    teacher, counts, words = conditioned([one]), [], []
    for _ in range(600):
        asked = teacher._asked(one, rng)
        seen, before = np.array(asked.pair.token_ids), np.array(one.pair.token_ids)
        words.append(seen[3:5].tolist())
        assert asked.is_true == (words[-1] == [70, 71])
        assert not {0, 3, 4, 79} & {*asked.places.tolist()}
        assert (seen[asked.places] == MASK).all()
        assert (before[asked.places] == asked.tokens).all()
        untouched = np.setdiff1d(np.arange(80), [3, 4, *asked.places])
        assert (seen[untouched] == before[untouched]).all()
        assert asked.pair.reads is None
        counts.append(len(set(asked.places)))
    assert (min(counts), max(counts)) == (1, int(MASKED_SHARE * 80))
    assert np.bincount(counts)[2:-1].min() > 50  # the share is uniform; only its end gives the most
    assert min(words.count(word) for word in ([50, 51], [60, 61], [70, 71])) > 160  # the label too
    short = conditioned([lesson(6)])._asked(lesson(6), rng)
    assert len(short.places) == 1
