from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import write_rows
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.contents import Cloze
from nsp_bert.encoding import encode_clozes
from nsp_bert.tokenization import PairEncoder
from nsp_bert_cloze_style import main

short = st.text("abcdef", max_size=30)
words = st.lists(st.text("XYZ", min_size=1, max_size=9), min_size=1, max_size=9)


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


@given(before=short, after=short, candidates=words, max_length=st.integers(14, 60), suffix=st.booleans())
def test_a_soft_candidate_stands_in_the_blank(
    before: str, after: str, candidates: list[str], max_length: int, suffix: bool
) -> None:
    """Laid out by position ids, the tokens read: text with the candidate in its place, separators around."""
    encoder = PairEncoder(letters, 1, 2, max_length)
    pairs = list(
        encode_clozes(
            encoder, [Cloze(before, after, tuple(candidates))], "#", "suffix" if suffix else "prefix", soft=True
        )
    )
    assert len(pairs) == len(candidates)
    for pair, word in zip(pairs, candidates, strict=True):
        assert pair.position_ids is not None
        assert sorted(pair.position_ids) == list(range(len(pair.token_ids)))
        assert len(pair.token_ids) == min(len(before + after + word) + 3, max_length)
        laid_out = [token for _, token in sorted(zip(pair.position_ids, pair.token_ids, strict=True))]
        text = laid_out[1:-2] if suffix else laid_out[2:-1]
        assert laid_out[0] == 1
        assert laid_out[-2:] == [2, 2] if suffix else (laid_out[1], laid_out[-1]) == (2, 2)
        read = "".join(map(chr, text))
        left, right = read.split(word, 1)[0], read[read.index(word) + len(word) :]
        assert before.endswith(left)
        assert after.startswith(right)
        assert abs(len(left) - len(right)) <= 1 or left == before or right == after
        segment = pair.token_ids[pair.first_length : -1] if suffix else pair.token_ids[1 : pair.first_length - 1]
        assert segment == letters(word)


def test_hard_positions_keep_the_blank() -> None:
    encoder = PairEncoder(letters, 1, 2, 30)
    pair = next(encode_clozes(encoder, [Cloze("ab", "cd", ("X",))], "#_#", "suffix", soft=False))
    assert pair.position_ids is None
    assert pair.token_ids == [1, *letters("ab#_#cd"), 2, *letters("X"), 2]


def run(checkpoint_dir: Path, folder: Path, *more: str) -> list[dict]:
    assert main(["--model", str(checkpoint_dir), "--output", str(folder), *more]) == 0
    return [json.loads(line) for line in (folder / "chid.test_public.jsonl").open(encoding="utf-8")]


def test_sample_run(checkpoint_dir: Path, tmp_path: Path) -> None:
    soft = run(checkpoint_dir, tmp_path)
    assert len(soft) == 42
    for row in soft:
        assert row["prediction"] == str(int(np.argmax(row["scores"])))
    others = [
        run(checkpoint_dir, tmp_path / o[-1], *o) for o in (["--positions", "hard"], ["--prompt-position", "prefix"])
    ]
    assert all([row["scores"] for row in other] != [row["scores"] for row in soft] for other in others)


def test_any_number_of_candidates(checkpoint_dir: Path, tmp_path: Path) -> None:
    rows = [
        {"id": 1, "candidates": ["推敲"], "content": "#idiom#", "answer": 0},
        {
            "id": 2,
            "candidates": ["一二三四", "hold住", "一人得道鸡犬升天"],
            "content": "长" * 300 + "#idiom#短",
            "answer": 2,
        },
    ]
    write_rows(tmp_path / "chid" / "test_public.json", rows)
    found = run(checkpoint_dir, tmp_path / "out", "--data-dir", str(tmp_path))
    assert [len(row["scores"]) for row in found] == [1, 3]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"content": "没有"}, "the blank #idiom# is 0 times"),
        ({"content": "#idiom##idiom#"}, "the blank #idiom# is 2 times"),
        ({"candidates": []}, '"candidates" is not a list of texts, none of them empty'),
        ({"candidates": ["一", ""]}, '"candidates" is not a list of texts, none of them empty'),
        ({"answer": 2}, "unknown label 2"),
    ],
)
def test_bad_rows(
    expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path, change: dict, reason: str
) -> None:
    row = {"id": 1, "candidates": ["甲", "乙"], "content": "一#idiom#二", "answer": 0}
    write_rows(tmp_path / "chid" / "test_public.json", [row, row | change])
    line = expect_error(main, "--model", checkpoint_dir, "--data-dir", tmp_path)
    assert f"chid/test_public.json:2: {reason}" in line
