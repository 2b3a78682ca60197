"""The tokenizer that remembers pieces is bert4keras' own."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.environment import import_tensorflow
from nsp_bert.tokenization import Tokenize, load_tokenizer

import_tensorflow()

from bert4keras.tokenizers import Tokenizer  # noqa: E402

# What tokenizers treat in ways of their own: accents, final sigma, emoji, every kind of space and of nothing.
ODD = "aBz09 甲乙，。\u3000\n\t\r\u2028\xa0\x00\ufffd\u200bé\u0301\u0327ΣσΑİßⅫﬁ한가🙂𠀀㐀豈々〇[SEP]#-_.，“”"


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def both(request: pytest.FixtureRequest, checkpoint_dir: Path) -> tuple[Tokenize, Tokenizer]:
    vocab_path = checkpoint_dir / "vocab.txt"
    theirs = Tokenizer(load_vocabulary(vocab_path), do_lower_case=request.param, token_start=None, token_end=None)
    return load_tokenizer(vocab_path, request.param), theirs


@given(text=st.text() | st.text(st.sampled_from(ODD)))
def test_ids_are_bert4keras_s(both: tuple[Tokenize, Tokenizer], text: str) -> None:
    ours, theirs = both
    expected = theirs.tokens_to_ids(theirs.tokenize(text))
    assert ours(text) == expected
    assert pickle.loads(pickle.dumps(ours))(text) == expected


def test_pickled_it_is_read_once_a_process(both: tuple[Tokenize, Tokenizer]) -> None:
    assert pickle.loads(pickle.dumps(both[0])) is pickle.loads(pickle.dumps(both[0]))
