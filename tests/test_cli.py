"""Names in any case, names that are near, options out of range: what the parser says."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import pytest
from conftest import RandomScorer
from hypothesis import given
from hypothesis import strategies as st

import nsp_bert_cloze_style as cloze
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.cards import SentencePairCard
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.cli import HelpFormatter, dataset_name, number, positive, whole
from nsp_bert.errors import UserError


def refused(parse: Callable[[str], object], text: str) -> str:
    with pytest.raises(argparse.ArgumentTypeError) as refusal:
        parse(text)
    return str(refusal.value)


def test_dataset_names() -> None:
    parse = dataset_name(SentencePairCard)
    assert parse("BUSTM") == parse("bustm") == "bustm"
    assert refused(parse, "tnews") == "'tnews' is a dataset of nsp_bert_classification.py"
    assert refused(parse, "bustn").endswith("; did you mean bustm?")
    assert "did you mean" not in refused(parse, "zzzz")


def test_model_names(expect_error: Callable[..., str]) -> None:
    assert open_checkpoint("NSP_BERT_mini").name == "nsp_bert_mini"
    assert "; did you mean nsp_bert_mini?" in expect_error(cloze.main, "--model", "nsp_bert_mni")


@given(text=st.text(max_size=6) | st.floats().map(str) | st.integers().map(str))
def test_numbers_in_range(text: str) -> None:
    for parse, holds in (
        (number(0, below=1), lambda x: 0 <= x < 1),
        (whole, lambda x: x >= 0),
        (positive, lambda x: x > 0),
    ):
        try:
            value = parse(text)
        except argparse.ArgumentTypeError:
            continue
        assert math.isfinite(value)
        assert holds(value)


def test_help_states_every_dataset_once(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sentence_pair.main(["--help"])
    out = capfd.readouterr().out
    assert out[out.index("options:") :].count("bustm") == 1


def test_help_fills_paragraphs_and_keeps_commands() -> None:
    """A Chinese character takes two columns."""
    text = "自然语言推理 and\nwhat follows it:\n\n  python a.py --long-option and --another-option\n\n- first\n  more"
    told = HelpFormatter("a.py", width=30)._fill_text(text, 30, "")
    assert told.splitlines() == [
        "自然语言推理 and what follows",
        "it:",
        "",
        "  python a.py --long-option and --another-option",
        "",
        "- first",
        "  more",
    ]


def test_an_interrupted_run_says_how_to_go_on(
    random_scores: type[RandomScorer], checkpoint_dir: object, tmp_path: object, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(RandomScorer, "complete", False)
    assert cloze.main(["--model", str(checkpoint_dir), "--output", str(tmp_path)]) == 130
    out = capfd.readouterr().out
    assert "interrupted: ChID is not complete; the same command with --resume continues it" in out
    assert f"results: {tmp_path}" in out
    assert cloze.main(["--model", str(checkpoint_dir)]) == 130
    assert "--output keeps scores" in capfd.readouterr().out


def test_a_model_that_is_nowhere() -> None:
    with pytest.raises(UserError, match="no such checkpoint folder; known names: nsp_bert_mini"):
        open_checkpoint("nothing/like/it")
