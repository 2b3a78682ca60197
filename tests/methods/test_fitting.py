"""A step is cut into parts: every lesson once, as many tokens as are allowed, little filled up."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.methods.fitting import in_parts


@given(st.lists(st.integers(3, 512), min_size=1, max_size=40), st.integers(1, 119), st.integers(1, 8192))
def test_parts_of_a_step(longest: list[int], sequences: int, tokens: int) -> None:
    parts = list(in_parts(longest, sequences, tokens))
    assert sorted(place for part in parts for place in part) == list(range(len(longest)))
    sizes = [sequences * len(part) * max(longest[place] for place in part) for part in parts]
    assert all(size <= tokens or len(part) == 1 for size, part in zip(sizes, parts, strict=True))
    for part, following in pairwise(parts):
        assert min(longest[place] for place in part) >= max(longest[place] for place in following)
        assert sequences * (len(part) + 1) * longest[part[0]] > tokens  # none has room for one more
