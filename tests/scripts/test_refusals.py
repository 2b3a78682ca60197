"""What every task script refuses, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import random_checkpoint

import nsp_bert_classification as classification
import nsp_bert_cloze_style as cloze
import nsp_bert_coreference_resolution as coreference
import nsp_bert_entity_linking as entity_linking
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.tokenization import make_pair_encoder

SCRIPTS = [classification, cloze, coreference, entity_linking, sentence_pair]
each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)


@pytest.fixture(scope="module")
def without_nsp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "roberta"
    return random_checkpoint.random_checkpoint(folder, heads=("pooler", "MLM"), hidden=16)


@each_script
def test_a_checkpoint_without_nsp(expect_error: Callable[..., str], without_nsp: Path, script: object) -> None:
    line = expect_error(script.main, "--model", without_nsp)  # type: ignore[attr-defined]
    assert "no NSP head (it has: encoder, pooler, MLM); take a checkpoint that has one, e.g. nsp_bert_mini" in line


@each_script
def test_a_length_beyond_the_position_table(
    expect_error: Callable[..., str], checkpoint_dir: Path, script: object
) -> None:
    line = expect_error(script.main, "--model", checkpoint_dir, "--max-length", "300")  # type: ignore[attr-defined]
    assert "--max-length 300 is beyond the position table of random: 256 at most" in line


@each_script
def test_missing_data_and_unwritable_output(
    expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path, script: object
) -> None:
    main = script.main  # type: ignore[attr-defined]
    assert "no such data folder" in expect_error(main, "--model", checkpoint_dir, "--data-dir", tmp_path / "none")
    assert "no such folder, so no" in expect_error(main, "--model", checkpoint_dir, "--data-dir", tmp_path)
    (tmp_path / "file").touch()
    assert "cannot be written" in expect_error(main, "--model", checkpoint_dir, "--output", tmp_path / "file" / "out")


def test_a_cased_checkpoint_keeps_its_capitals(tmp_path: Path) -> None:
    settings = random_checkpoint.config(hidden=16)
    tokens = random_checkpoint.vocabulary()
    tokens[100:102] = ["A", "##B"]
    folder = random_checkpoint.write(
        tmp_path / "cased", random_checkpoint.weights(settings), settings | {"do_lower_case": False}, tokens
    )
    assert make_pair_encoder(open_checkpoint(str(folder)), 128).tokenize("AB") == [100, 101]
