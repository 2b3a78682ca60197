"""Steps of our training against PyTorch's in float64 (tests/golden/make_training_golden.py says how they were made).

Keras' AdamW is that of Loshchilov and Hutter but for epsilon, which it adds to the root of the uncorrected second
moment, and says so: "epsilon hat" of Kingma and Ba. In step t that is epsilon / sqrt(1 - beta_2^t) where torch and the
former have epsilon: with our beta_2 7 times as much in the first step, 1.4 times in the 35th. It matters for gradients
that are not far larger than epsilon; the golden values have it as Keras does.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import random_checkpoint
from conftest import ROOT

from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.tensors import read_tensors
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError
from nsp_bert.pretraining.trainer import Pretraining
from nsp_bert.training.label_words import (
    ConditionedTraining,
    LabelTraining,
    TopicTraining,
    binary_losses,
    log_probabilities,
)
from nsp_bert.training.loop import Training, tensors
from nsp_bert.training.model import StepDropout
from nsp_bert.training.objectives import ClassifierTraining, MaskedTraining, NextSentenceTraining
from nsp_bert.training.optimization import Optimization

tf: Any = import_tensorflow()

GOLDEN = json.loads((ROOT / "tests" / "golden" / "training.json").read_text(encoding="utf-8"))
ARRAYS = {name: np.array(values) for name, values in GOLDEN["batch"].items()}
ARRAYS = {name: array.astype(np.float32 if array.dtype.kind == "f" else np.int32) for name, array in ARRAYS.items()}
ARRAYS |= {f"first_{name}": array[:2] for name, array in ARRAYS.items()}
ARRAYS |= {f"last_{name}": array[2:] for name, array in ARRAYS.items()}
RATE = GOLDEN["settings"]["learning_rate"]
OPTIMIZATION = Optimization(**{name: value for name, value in GOLDEN["settings"].items() if name != "learning_rate"})
DROPS_NOTHING = {"hidden_dropout_prob": 1e-9, "attention_probs_dropout_prob": 1e-9}  # the layers are there all the same
ROUNDING = 1e-12  # the norm of a gradient in float64 that is 0


class Case(NamedTuple):
    """A class of training, its own options and the names of its batch's arrays."""

    kind: type[Training]
    options: dict[str, Any]
    arrays: tuple[str, ...]

    def batch(self) -> list[np.ndarray]:
        """Return the arrays of a whole step."""
        return [ARRAYS[name] for name in self.arrays]

    def halves(self) -> list[list[np.ndarray]]:
        """Return the step in two parts, each of two rows; of places those that are in them."""
        if "places" not in self.arrays:
            return [*map(list, zip(*(np.split(array, 2) for array in self.batch()), strict=True))]
        *rows, places, tokens, weights = self.batch()
        border = 2 * rows[0].shape[1]
        first, second = places < border, places >= border
        return [
            [*(array[:2] for array in rows), places[first], tokens[first], weights[first]],
            [*(array[2:] for array in rows), places[second] - border, tokens[second], weights[second]],
        ]


PAIRS, SOFT = (("token_ids", "segment_ids", positions) for positions in ("position_ids", "soft_position_ids"))
WORDS = ("word_places", "word_tokens", "word_labels")
CASES = {
    "next_sentence_bce": Case(NextSentenceTraining, {}, (*PAIRS, "is_next", "row_weights")),
    "next_sentence_softmax": Case(
        NextSentenceTraining, {"loss": "softmax", "candidates": 2}, (*SOFT, "right_candidates", "row_weights")
    ),
    "masked": Case(MaskedTraining, {}, (*PAIRS, "places", "tokens", "token_weights")),
    "classifier": Case(ClassifierTraining, {"classes": 3}, (*PAIRS, "classes", "row_weights")),
    "classifier_binary": Case(ClassifierTraining, {"classes": 1}, (*PAIRS, "is_right", "row_weights")),
    "classifier_candidates": Case(
        ClassifierTraining, {"classes": 1, "candidates": 2}, (*PAIRS, "candidates", "candidate_weights")
    ),
    "label_sum": Case(LabelTraining, {}, (*PAIRS, *WORDS, "row_weights")),
    "label_product": Case(LabelTraining, {"product": True}, (*PAIRS, *WORDS, "row_weights")),
    "conditioned": Case(
        ConditionedTraining,
        {},
        (
            *(f"first_{name}" for name in (*PAIRS, *WORDS)),
            "candidate_weights",
            *(f"last_{name}" for name in PAIRS),
            *("conditioned_places", "conditioned_tokens", "conditioned_weights", "is_true"),
        ),
    ),
    "topic": Case(TopicTraining, {"classes": 3}, (*PAIRS, *WORDS, "row_weights")),
    "pretraining": Case(
        Pretraining,
        {},
        ("token_ids", "segment_ids", "places", "tokens", "mlm_weights", "nsp_labels", "nsp_weights"),
    ),
}


def start(name: str, checkpoint_dir: Path, **config: float) -> Training:
    """Return the training of a case with the golden values' first weights; `config` goes before the model's own."""
    settings = random_checkpoint.config() | config
    training = CASES[name].kind(settings, OPTIMIZATION, "float32", 1, **CASES[name].options)
    training.load_weights(open_checkpoint(str(checkpoint_dir)))
    if isinstance(training, ClassifierTraining):
        own = GOLDEN["cases"][name]["own"]
        training._kernel.assign(np.transpose(own["output_weights"]))
        training._bias.assign(own["output_bias"])
    return training


def gradients(training: Training, batch: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the gradients by Google's names and in its layout: they stand in for the weights for a moment."""
    weights = [variable.numpy() for variable in training._variables]
    _, found = training._gradients(tensors(batch))
    assign(training, found)
    named = training.tensors()
    assign(training, weights)
    return named


def assign(training: Training, values: list[Any]) -> None:
    """Put values in the place of the weights."""
    for variable, value in zip(training._variables, values, strict=True):
        variable.assign(value)


def entries(name: str, array: np.ndarray) -> np.ndarray:
    """Return the three entries (3,) of a variable whose golden values are kept."""
    return array.ravel()[GOLDEN["places"].get(name, [0, array.size // 2, array.size - 1])]


def moved(name: str) -> list[str]:
    """Return the variables of a case whose gradient is not 0.

    It is for what shifts all scores alike that compete: the biases of the keys, and of a head that softmax compares
    over candidates. Adam makes steps of any size out of the rounding there.
    """
    variables = GOLDEN["cases"][name]["variables"]
    still = [variable for variable, (norm, *_) in variables.items() if norm < ROUNDING]
    assert all("key/bias" in variable or "output_bias" in variable for variable in still)
    return [variable for variable in variables if variable not in still]


@pytest.mark.parametrize("name", CASES)
def test_two_steps_are_those_of_torch(name: str, checkpoint_dir: Path) -> None:
    """The losses, every gradient, and clipping, moments, their correction, decay and what is left out of it."""
    golden = GOLDEN["cases"][name]
    training, batch = start(name, checkpoint_dir, **DROPS_NOTHING), CASES[name].batch()
    check_loss(training, batch, golden["losses"][0])
    check_gradients(gradients(training, batch), golden["variables"])
    before = training.tensors()
    training.train(batch, learning_rate=RATE)
    after = training.tensors()
    check_loss(training, batch, golden["losses"][1])
    training.train(batch, learning_rate=RATE)
    last = training.tensors()
    for variable in moved(name):
        _, _, expected, way = golden["variables"][variable]
        np.testing.assert_allclose(entries(variable, after[variable]), expected, atol=1e-5, err_msg=variable)
        assert np.linalg.norm(last[variable] - before[variable]) == pytest.approx(way, rel=1e-4), variable


def check_loss(training: Training, batch: list[np.ndarray], expected: float) -> None:
    for mode in (True, False):
        loss, _ = training.minimised(tensors(batch), training=mode)
        assert float(loss) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def check_gradients(found: dict[str, np.ndarray], expected: dict[str, list]) -> None:
    """Norms, and entries relative to themselves or to what the variable has in the mean."""
    assert found.keys() == expected.keys()
    for name, (norm, three, *_) in expected.items():
        assert np.linalg.norm(found[name]) == pytest.approx(norm, rel=1e-4, abs=1e-6), name
        mean = norm / found[name].size ** 0.5
        np.testing.assert_allclose(entries(name, found[name]), three, rtol=1e-4, atol=1e-4 * mean + 1e-7, err_msg=name)


@pytest.mark.usefixtures("eager_training")
@pytest.mark.parametrize("name", ["next_sentence_bce", "masked", "label_sum", "conditioned"])
def test_a_step_in_parts_is_the_step(name: str, checkpoint_dir: Path) -> None:
    whole, in_parts = (start(name, checkpoint_dir, **DROPS_NOTHING) for _ in range(2))
    metrics = whole.train(CASES[name].batch(), learning_rate=RATE)
    np.testing.assert_allclose(in_parts.train(*CASES[name].halves(), learning_rate=RATE), metrics, rtol=1e-5)
    assert in_parts.step == whole.step == 1
    one, other = whole.tensors(), in_parts.tensors()
    for variable in moved(name):
        np.testing.assert_allclose(one[variable], other[variable], atol=1e-5, err_msg=variable)


@pytest.mark.parametrize(("rate", "dropped"), [(0.1, 0.1), (0.5, 0.5), (1e-9, 0.0), (1 - 1e-9, 1.0)])
def test_dropout_drops_a_share_and_scales_the_rest(rate: float, dropped: float) -> None:
    """Of an odd number of values too; what is dropped has no gradient."""
    step = tf.Variable(3, dtype=tf.int64)
    layer, inputs = StepDropout(rate, seed=1, step=step), tf.ones([3, 7, 999])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
    kept = outputs.numpy() > 0
    assert abs(kept.mean() - (1 - dropped)) < 0.02
    np.testing.assert_allclose(outputs[kept], 1 / (1 - rate), rtol=1e-6)
    np.testing.assert_array_equal(tape.gradient(outputs, inputs), outputs)
    np.testing.assert_array_equal(layer(inputs, training=True), outputs)
    step.assign(4)
    assert dropped in (0.0, 1.0) or ((layer(inputs, training=True).numpy() > 0) != kept).any()


def test_dropout_is_drawn_by_step_and_part(checkpoint_dir: Path) -> None:
    """No weights change at rate 0, so that only dropout tells the losses of the same batch apart."""
    batch = CASES["classifier"].batch()
    by_steps, by_parts = (start("classifier", checkpoint_dir) for _ in range(2))
    first, second = (float(by_steps.train(batch, learning_rate=0)[0]) for _ in range(2))
    both = float(by_parts.train(batch, batch, learning_rate=0)[0])
    assert min(abs(one - other) for one, other in combinations((first, second, both - first), 2)) > 1e-3
    assert float(by_parts.train(batch, learning_rate=0)[0]) == second


@pytest.mark.parametrize("name", ["masked", "classifier"])
def test_a_resumed_run_takes_the_same_step(name: str, checkpoint_dir: Path, tmp_path: Path) -> None:
    """Weights, moments, step and dropout: bit-identical after a second step in two parts."""
    batch, training = CASES[name].batch(), start(name, checkpoint_dir)
    training.train(batch, learning_rate=RATE)
    training.save_state(tmp_path / "state", {})
    resumed = CASES[name].kind(random_checkpoint.config(), OPTIMIZATION, "float32", 1, **CASES[name].options)
    resumed.restore_state(tmp_path / "state")
    assert resumed.step == 1
    both = [one.train(batch, batch, learning_rate=RATE) for one in (training, resumed)]
    np.testing.assert_array_equal(*both)
    one, other = training.tensors(), resumed.tensors()
    assert one.keys() == other.keys()
    for variable, value in one.items():
        np.testing.assert_array_equal(value, other[variable], err_msg=variable)


def test_trainings_leave_no_gradients_behind(checkpoint_dir: Path) -> None:
    """TensorFlow keeps custom gradients, and what they refer to, for good: a run trains once for each training set."""
    from tensorflow.python.framework import ops

    batch, counts = CASES["classifier"].batch(), []
    for _ in range(2):
        training = start("classifier", checkpoint_dir)
        training.train(batch, learning_rate=RATE)
        training.train(batch, batch, learning_rate=RATE)
        counts.append(len(ops.gradient_registry.list()))
    assert counts[0] == counts[1]


@pytest.mark.usefixtures("eager_training")
def test_a_classifier_is_in_the_exported_checkpoint(checkpoint_dir: Path, tmp_path: Path) -> None:
    training = start("classifier", checkpoint_dir)
    training.train(CASES["classifier"].batch(), learning_rate=RATE)
    training.export(tmp_path / "trained", open_checkpoint(str(checkpoint_dir)).vocab_path)
    checkpoint = open_checkpoint(str(tmp_path / "trained"), needs=("encoder", "pooler", "classifier"))
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        training.export(tmp_path / "file" / "trained", checkpoint.vocab_path)
    expected, found = training.tensors(), read_tensors(checkpoint.prefix)
    assert expected["output_weights"].shape == (3, random_checkpoint.config()["hidden_size"])
    assert expected.keys() == found.keys()
    for variable, value in expected.items():
        np.testing.assert_array_equal(value, found[variable], err_msg=variable)


@pytest.mark.parametrize("margin", [0, 1, 8, 20, 60, -20, -60])
def test_probabilities_near_0_and_1(margin: float) -> None:
    """Losses and their gradients in float32 are those of float64, where 1 - p or p have long been rounded to 0."""
    logits = np.array([[[3.0 + margin, 1.0, 2.5, 2.0]]], np.float32)
    tokens = tf.constant([[[0, 3, -1]]])
    for true in (True, False):
        with tf.GradientTape() as tape:
            tape.watch(watched := tf.constant(logits))
            losses = binary_losses(log_probabilities(watched, tokens), true)
            loss = losses[0, 0, 0]
        others = np.logaddexp.reduce(logits[0, 0, 1:].astype(np.float64))
        odds = float(logits[0, 0, 0] - others)
        assert float(loss) == pytest.approx(np.logaddexp(0, -odds if true else odds), rel=1e-5, abs=1e-7)
        gradient = tape.gradient(loss, watched)[0, 0, 0]
        expected = -1 / (1 + np.exp(odds)) if true else 1 / (1 + np.exp(-odds))
        assert float(gradient) == pytest.approx(expected, rel=1e-5)
        assert np.isfinite(losses[0, 0, :2]).all()


def test_a_candidate_without_a_token_at_a_place(checkpoint_dir: Path) -> None:
    """It adds nothing to a sum and is 1 in a product."""
    token_ids, segment_ids, position_ids, places, tokens, labels, weights = CASES["label_sum"].batch()
    longer = [
        np.concatenate([places, places[:, :1]], axis=1),
        np.pad(tokens, [(0, 0), (0, 1), (0, 0)], constant_values=-1),
    ]
    for name in ("label_sum", "label_product"):
        training = start(name, checkpoint_dir, **DROPS_NOTHING)
        batch = [token_ids, segment_ids, position_ids, *longer, labels, weights]
        check_loss(training, batch, GOLDEN["cases"][name]["losses"][0])
