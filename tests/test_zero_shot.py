"""The Python API: results by hand, every way of giving texts, nothing scored twice, nothing heavy on import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

import nsp_bert
from nsp_bert import Classification, PairScorer, ZeroShotClassifier, zero_shot
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.encoding import encode_label_pairs
from nsp_bert.errors import UserError
from nsp_bert.scoring.exact import Engine, PairTable, Scored
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import make_pair_encoder
from nsp_bert.zero_shot import make_result

LABELS = ["体育", "财经", "教育"]
TEXTS = ["主场三比一取胜", "央行宣布降息", "新学期开学了", "主场三比一取胜"]


@pytest.fixture(scope="module")
def classify(checkpoint_dir: Path) -> ZeroShotClassifier:
    return ZeroShotClassifier(str(checkpoint_dir))


@pytest.fixture(scope="module")
def expected(checkpoint_dir: Path) -> np.ndarray:
    """Log-odds (texts, labels) by encoder and scorer alone."""
    checkpoint = open_checkpoint(str(checkpoint_dir))
    prompts = [f"这是一则{label}新闻" for label in LABELS]
    pairs = list(encode_label_pairs(make_pair_encoder(checkpoint, 128), TEXTS, prompts, "prefix"))
    return Scorer(checkpoint).score(pairs, len(pairs)).values.reshape(len(TEXTS), len(LABELS))


def test_results_by_hand(classify: ZeroShotClassifier, expected: np.ndarray) -> None:
    results = classify(TEXTS, LABELS, template="这是一则{}新闻")
    for text, odds, result in zip(TEXTS, expected, results, strict=True):
        order = np.argsort(-odds)
        assert (result.text, result.labels) == (text, [LABELS[place] for place in order])
        assert result.label == result.labels[0]
        np.testing.assert_allclose(result.log_odds, odds[order], atol=1e-4)
        np.testing.assert_allclose(result.scores, np.exp(odds[order]) / np.exp(odds).sum(), atol=1e-4)
    np.testing.assert_allclose(classify.log_odds(TEXTS, LABELS, template="这是一则{}新闻"), expected, atol=1e-4)


def test_every_way_of_giving_texts(classify: ZeroShotClassifier) -> None:
    """One text, a list, a tuple, a generator that is read as it is answered."""
    several = classify(TEXTS, LABELS)
    assert isinstance(several, list)
    assert classify(tuple(TEXTS), LABELS) == several
    one = classify(TEXTS[0], LABELS)
    assert isinstance(one, Classification)
    assert one.labels == several[0].labels
    asked: list[int] = []

    def endless() -> Iterator[str]:
        while True:
            asked.append(len(asked))
            yield f"第{len(asked)}句"

    answers = classify(endless(), LABELS)
    assert isinstance(next(answers), Classification)
    assert len(asked) <= zero_shot.CHUNK
    assert classify([], LABELS) == []
    assert list(classify(iter([]), LABELS)) == []


def test_labels_with_words_and_several_templates(classify: ZeroShotClassifier) -> None:
    words = {"s": "体育", "f": "财经"}
    both = classify(TEXTS, words, template=["{}", "{}新闻"])
    single = [classify.log_odds(TEXTS, words, template=template) for template in ("{}", "{}新闻")]
    for result, odds in zip(both, np.mean(single, axis=0), strict=True):
        assert result.label == ["s", "f"][int(odds.argmax())]
        np.testing.assert_allclose(result.log_odds, sorted(odds, reverse=True), atol=1e-4)


def test_equal_texts_are_scored_once(classify: ZeroShotClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    totals: list[int] = []
    score = Engine.score

    def counted(self: Engine, table: PairTable, **options: Any) -> Scored:
        totals.append(table.total)
        return score(self, table, **options)

    monkeypatch.setattr(Engine, "score", counted)
    monkeypatch.setattr(zero_shot, "CHUNK", 6)
    results = classify(["甲", "乙", "甲", "甲", "乙", "丙"], LABELS)
    assert totals == [6, 3]
    assert results[0] == results[2] == results[3]
    monkeypatch.setattr(zero_shot, "REMEMBERED", 1)
    totals.clear()
    classify(["甲", "乙", "甲", "乙"], LABELS)
    assert totals == [6, 6]


def test_pairs(checkpoint_dir: Path) -> None:
    scorer = PairScorer(str(checkpoint_dir), max_length=64)
    pairs = [("今天下雨", "带上伞"), ("今天下雨", "长" * 500)]
    found = scorer(iter(pairs))
    assert (found.dtype, found.shape, scorer.model) == (np.float32, (2,), "random")
    np.testing.assert_allclose(scorer(pairs[1:])[0], found[1], atol=1e-4)
    assert scorer([]).shape == (0,)


@given(
    odds=st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=6),
    threshold=st.none() | st.floats(0, 1),
    multi=st.booleans(),
)
def test_scores_and_thresholds(odds: list[float], threshold: float | None, multi: bool) -> None:
    labels = [str(place) for place in range(len(odds))]
    result = make_result("x", labels, np.array(odds, np.float32), multi, threshold)
    assert result.log_odds == sorted(result.log_odds, reverse=True)
    assert result.scores == sorted(result.scores, reverse=True)
    assert all(0 <= score <= 1 for score in result.scores)
    if threshold is None:
        assert sorted(result.labels) == labels
        assert multi or sum(result.scores) == pytest.approx(1)
    else:
        assert all(score >= threshold for score in result.scores)


@pytest.mark.parametrize(
    ("labels", "template", "reason"),
    [
        (["a"], "{}", "two or more different labels"),
        (["a", "a"], "{}", "two or more different labels"),
        ({"x": "a", "y": "a"}, "{}", "each with a word of its own"),
        (["a", "b"], "no slot", "must stand in it once"),
        (["a", "b"], [], "one at least"),
    ],
)
def test_wrong_uses(classify: ZeroShotClassifier, labels: list[str], template: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        classify("text", labels, template=template)


def test_import_is_light_and_works_anywhere(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import nsp_bert\n"
        "assert not {'tensorflow', 'numpy', 'rich'} & set(sys.modules)\n"
        "from nsp_bert import ZeroShotClassifier\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print(ZeroShotClassifier()('主场三比一取胜', labels=['体育', '财经']).labels)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "体育" in done.stdout
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        nsp_bert.Nothing  # noqa: B018
