"""A scorer that takes another checkpoint's weights scores as a new scorer of that checkpoint does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import random_checkpoint

from nsp_bert.checkpoints.checkpoint import Checkpoint, open_checkpoint
from nsp_bert.errors import UserError
from nsp_bert.scoring.backends import Backend, load_backend
from nsp_bert.scoring.outputs import Output
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import EncodedPair, Reads

CLASSES = 3
Make = Callable[..., Checkpoint]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Checkpoints of a seed and a shape, each in a folder of its own."""

    def made(seed: int, classes: int = CLASSES, **shape: int) -> Checkpoint:
        folder = tmp_path / f"{seed}.{classes}.{'.'.join(map(str, shape.values()))}"
        return open_checkpoint(str(random_checkpoint.random_checkpoint(folder, seed, classes=classes, **shape)))

    return made


class Loads:
    """Loads backends and counts them."""

    count = 0

    def __call__(self, name: str, checkpoint: Checkpoint, precision: str, output: Output) -> Backend:
        self.count += 1
        return load_backend(name, checkpoint, precision, output)


def scores(scorer: Scorer, output: Output = "next-sentence", width: int = 1) -> np.ndarray:
    rng = np.random.default_rng(7)
    reads = Reads([2, 4], [[6, 7, 8], [9, 10, 11]]) if output == "masked" else None
    pairs = [EncodedPair(rng.integers(5, 20000, 6 + size).tolist(), size // 3 + 1, reads=reads) for size in range(30)]
    return scorer.score(pairs, len(pairs), progress=False, width=width).values


@pytest.mark.parametrize(("output", "width"), [("next-sentence", 1), ("masked", 3), ("mean", 32), ("classes", CLASSES)])
def test_weights_of_the_same_shapes_are_taken_in_place(make: Make, output: Output, width: int) -> None:
    first, second, loads = make(0), make(1), Loads()
    scorer = Scorer(first, load=loads, output=output)
    before = scores(scorer, output, width)
    for checkpoint, expected in ((second, scores(Scorer(second, output=output), output, width)), (first, before)):
        scorer.reload(checkpoint)
        np.testing.assert_array_equal(scores(scorer, output, width), expected)
    assert np.abs(before - scores(Scorer(second, output=output), output, width)).max() > 0.01
    assert loads.count == 1


@pytest.mark.parametrize(("backend", "precision"), [("tensorflow", "bfloat16"), ("openvino", "float32")])
def test_weights_that_are_constants_are_built_anew(make: Make, backend: str, precision: str) -> None:
    pytest.importorskip(backend, reason="openvino is optional")
    second, loads = make(1), Loads()
    scorer = Scorer(make(0), precision, backend=backend, load=loads)
    scorer.reload(second)
    np.testing.assert_array_equal(scores(scorer), scores(Scorer(second, precision, backend=backend)))
    assert loads.count == 2


@pytest.mark.parametrize("change", [{"layers": 3}, {"hidden": 16}, {"classes": 5}, {"max_position": 128}])
def test_other_shapes_are_built_anew(make: Make, change: dict[str, int]) -> None:
    second, loads = make(1, **change), Loads()
    scorer = Scorer(make(0), load=loads, output="classes")
    scorer.reload(second)
    width = change.get("classes", CLASSES)
    np.testing.assert_array_equal(
        scores(scorer, "classes", width), scores(Scorer(second, output="classes"), "classes", width)
    )
    assert loads.count == 2


def test_another_activation_is_built_anew(make: Make) -> None:
    second, loads = make(1), Loads()
    path = second.folder / "bert_config.json"
    path.write_text(json.dumps(second.config | {"hidden_act": "relu"}), encoding="utf-8")
    second = open_checkpoint(str(second.folder))
    scorer = Scorer(make(0), load=loads)
    scorer.reload(second)
    np.testing.assert_array_equal(scores(scorer), scores(Scorer(second)))
    assert loads.count == 2


def test_weights_that_cannot_be_read_change_nothing(make: Make) -> None:
    scorer, second = Scorer(make(0)), make(1)
    before = scores(scorer)
    next(second.folder.glob("*.index")).write_text("junk", encoding="utf-8")
    with pytest.raises(UserError, match="weights cannot be loaded"):
        scorer.reload(second)
    np.testing.assert_array_equal(scores(scorer), before)
