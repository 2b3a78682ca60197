"""PET trained on the sample's few rows, and what it asks of a row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pet
import pytest
from conftest import SAMPLE

from nsp_bert.methods.masked_few_shot import RANDOM_SHARE, Lesson, MaskedTeacher
from nsp_bert.options import Recipe
from nsp_bert.tokenization import EncodedPair, Reads

pytestmark = pytest.mark.usefixtures("eager_training")

MASK, VOCABULARY = 4, 100


@pytest.mark.parametrize(("dataset", "epochs", "rows"), [("eprstmt", 3, 8), ("chid", 1, 14)])
def test_a_run(checkpoint_dir: Path, tmp_path: Path, dataset: str, epochs: int, rows: int) -> None:
    common = ["--model", str(checkpoint_dir), "--data-dir", str(SAMPLE), "--output", str(tmp_path), "--limit", "6"]
    more = ["--train", "0", "--epochs", str(epochs), "--learning-rate", "3e-3", "--step-rows", "4"]
    assert pet.main([*common, *more, "--dataset", dataset]) == 0
    path = tmp_path / f"{dataset}.test_public.pet.train_0.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert (summary["method"], summary["train"], summary["n"]) == ("pet", "0", 6)
    assert (summary["training"]["rows"], len(summary["training"]["epochs"])) == (rows, epochs)
    losses = [epoch["loss"] for epoch in summary["training"]["epochs"]]
    assert losses[-1] < losses[0] or epochs == 1
    assert summary["settings"]["step_rows"] == "4"


def test_recipes_differ_by_dataset() -> None:
    assert pet.RECIPES.of("tnews", {}).epochs == 5
    assert pet.RECIPES.of("tnews", {"epochs": 2}).epochs == 2
    assert pet.RECIPES.of("eprstmt", {}).epochs == 20


def lesson(length: int) -> Lesson:
    """A row of tokens 10, 11 … with [MASK] at 3 and 4, where 50 and 51 are asked for."""
    token_ids = [10 + place for place in range(length)]
    token_ids[3:5] = [MASK, MASK]
    return Lesson(EncodedPair(token_ids, length, reads=Reads([3, 4], [[50, 60], [51, 61]])), [50, 51])


def test_what_a_row_is_asked() -> None:
    """The label's tokens, and 15 % of all others: masked, as they are or replaced; the rest untouched."""
    teacher = MaskedTeacher(Recipe(), [lesson(40)], MASK, VOCABULARY)
    rng = np.random.default_rng(0)
    masked = []
    for _ in range(300):
        asked = teacher._asked(lesson(40), rng)
        seen, before = np.array(asked.pair.token_ids), np.array(lesson(40).pair.token_ids)
        assert asked.places[:2].tolist() == [3, 4]
        assert asked.tokens[:2].tolist() == [50, 51]
        assert (seen[3:5] == MASK).all()
        assert len(asked.places) == 2 + int(RANDOM_SHARE * 40) == len(set(asked.places))
        assert (asked.tokens[2:] == before[asked.places[2:]]).all()
        untouched = np.setdiff1d(np.arange(40), asked.places)
        assert (seen[untouched] == before[untouched]).all()
        masked.append((seen[asked.places[2:]] == MASK).mean())
    assert np.mean(masked) == pytest.approx(0.8, abs=0.03)


def test_the_weights_of_a_step_add_up_to_one_however_it_is_cut() -> None:
    lessons = [lesson(length) for length in (20, 40, 60, 30, 33)]
    for tokens in (64, 130, 4096):
        teacher = MaskedTeacher(Recipe(part_tokens=tokens, step_rows=5), lessons, MASK, VOCABULARY)
        parts = list(teacher.parts(range(5), np.random.default_rng(1)))
        assert sum(part[5].sum() for part in parts) == pytest.approx(1)
        for token_ids, _, _, places, tokens_asked, weights in parts:
            flat = token_ids.ravel()[places]
            assert ((flat == MASK) | (flat < VOCABULARY)).all()
            assert (tokens_asked > 0).all()
            assert len(set(weights)) == 1
