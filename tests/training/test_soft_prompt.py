"""Soft tokens in training: PyTorch's steps, exact resumption, and the same scores by the engine afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import random_checkpoint
import random_prompt
from conftest import ROOT, without_graphs
from test_steps import ARRAYS, DROPS_NOTHING, OPTIMIZATION, RATE, assign, check_gradients, check_loss, entries

from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.soft_prompt import first_soft_token, nearest_words, soft_embeddings
from nsp_bert.checkpoints.tensors import read_tensors
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import EncodedPair, Reads
from nsp_bert.training.loop import Training, tensors
from nsp_bert.training.objectives import CausalTraining, MaskedTraining, NextSentenceTraining
from nsp_bert.training.optimization import SoftPromptSettings

GOLDEN = json.loads((ROOT / "tests" / "golden" / "soft_prompt.json").read_text(encoding="utf-8"))
ROWS = [np.array(GOLDEN["token_ids"], np.int32), ARRAYS["segment_ids"], ARRAYS["position_ids"]]
MASKED = [*ROWS, *(ARRAYS[name] for name in ("places", "tokens", "token_weights"))]
CAUSAL = [*ROWS, np.array(GOLDEN["causal_places"], np.int32), *(ARRAYS[name] for name in ("tokens", "token_weights"))]
PAIRS = [*ROWS, *(ARRAYS[name] for name in ("is_next", "row_weights"))]
COUNT = random_prompt.COUNT
WORDS = random_checkpoint.config()["vocab_size"]
CASES = {
    "lstm_before": SoftPromptSettings(COUNT, "lstm", "before"),
    "lstm_after": SoftPromptSettings(COUNT, "lstm", "after"),
    "lstm_after_frozen": SoftPromptSettings(COUNT, "lstm", "after", freeze=True),
    "none_before": SoftPromptSettings(COUNT, "none", "before"),
    "none_before_frozen": SoftPromptSettings(COUNT, "none", "before", freeze=True),
    "nsp_lstm_before": SoftPromptSettings(COUNT, "lstm", "before"),
    "causal_lstm_before": SoftPromptSettings(COUNT, "lstm", "before"),
    "causal_none_after_frozen": SoftPromptSettings(COUNT, "none", "after", freeze=True),
}
HEADS = ("encoder", "MLM")


def start(name: str, checkpoint_dir: Path, **config: float) -> Training:
    """Return the training of a case, with the golden values' first weights."""
    settings, soft = random_checkpoint.config() | config, CASES[name]
    if name.startswith("nsp"):
        training: Training = NextSentenceTraining(settings, OPTIMIZATION, "float32", 1, soft=soft)
    else:
        kind = CausalTraining if name.startswith("causal") else MaskedTraining
        training = kind(settings, OPTIMIZATION, "float32", 1, soft)
    training.load_weights(open_checkpoint(str(checkpoint_dir)))
    drawn = random_prompt.weights(soft.encoder)
    for variable, value in zip(training._soft.variables, drawn.values(), strict=True):
        variable.assign(value)
    return training


def batch(name: str) -> list[np.ndarray]:
    return {"nsp": PAIRS, "causal": CAUSAL}.get(name.split("_")[0], MASKED)


def named(training: Training) -> dict[str, np.ndarray]:
    """Return the weights by Google's names, and those of the prompt; of a frozen model the latter alone."""
    encoder = "lstm" if training._soft.layers else "none"
    names = (f"soft/{name}" for name in random_prompt.weights(encoder))
    own = dict(zip(names, (variable.numpy() for variable in training._soft.variables), strict=True))
    return own | ({} if training._soft.freeze else training.tensors())


def gradients(training: Training, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the gradients by the same names: they stand in for the weights for a moment."""
    weights = [variable.numpy() for variable in training._variables]
    assign(training, training._gradients(tensors(arrays))[1])
    found = named(training)
    assign(training, weights)
    return found


@pytest.mark.parametrize("name", CASES)
def test_two_steps_are_those_of_torch(name: str, checkpoint_dir: Path) -> None:
    """Losses and every gradient, also of the LSTM, the MLP and the table, and the weights after each step."""
    golden, arrays = GOLDEN["cases"][name], batch(name)
    training = start(name, checkpoint_dir, **DROPS_NOTHING)
    check_loss(training, arrays, golden["losses"][0])
    check_gradients(gradients(training, arrays), golden["variables"])
    weights, before = training.tensors(), named(training)
    training.train(arrays, learning_rate=RATE)
    after = named(training)
    check_loss(training, arrays, golden["losses"][1])
    training.train(arrays, learning_rate=RATE)
    last = named(training)
    for variable, (norm, _, expected, way) in golden["variables"].items():
        if norm < 1e-12:  # Adam makes steps of any size out of rounding
            assert "key/bias" in variable or "output_bias" in variable
            continue
        np.testing.assert_allclose(entries(variable, after[variable]), expected, atol=1e-5, err_msg=variable)
        assert np.linalg.norm(last[variable] - before[variable]) == pytest.approx(way, rel=1e-4), variable
    if CASES[name].freeze:
        assert training.parameters == sum(array.size for array in before.values())
        for variable, value in training.tensors().items():
            np.testing.assert_array_equal(value, weights[variable], err_msg=variable)


@pytest.mark.usefixtures("eager_training")
def test_a_resumed_run_takes_the_same_step(checkpoint_dir: Path, tmp_path: Path) -> None:
    training = start("lstm_after_frozen", checkpoint_dir)
    training.train(MASKED, learning_rate=RATE)
    training.save_state(tmp_path / "state", {})
    resumed = start("lstm_after_frozen", checkpoint_dir)
    resumed.restore_state(tmp_path / "state")
    both = [one.train(MASKED, MASKED, learning_rate=RATE) for one in (training, resumed)]
    np.testing.assert_array_equal(*both)
    one, other = named(training), named(resumed)
    for variable, value in one.items():
        np.testing.assert_array_equal(value, other[variable], err_msg=variable)


def test_the_seed_draws_the_prompt() -> None:
    def drawn(seed: int) -> list[np.ndarray]:
        training = MaskedTraining(random_checkpoint.config(), OPTIMIZATION, "float32", seed, CASES["lstm_before"])
        return [variable.numpy() for variable in training._soft.variables]

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert (first[0] != other[0]).any()
    assert (first[1] != other[1]).any()


def sequences() -> list[EncodedPair]:
    """The batch's rows, without padding, asked for some tokens at the last two places, which see all soft tokens."""
    tokens = [[150, 151, 152], [160, 161, 20000]]
    lengths, firsts = (ROWS[0] != 0).sum(axis=1).tolist(), ((ROWS[0] != 0) & (ROWS[1] == 0)).sum(axis=1)
    rows = zip(ROWS[0], lengths, firsts, strict=True)
    return [
        EncodedPair(row[:length].tolist(), int(first), reads=Reads([length - 2, length - 1], tokens))
        for row, length, first in rows
    ]


def inputs(training: Training) -> list[np.ndarray]:
    """Return the batch's rows as the model takes them, a causal one without segments."""
    return [ROWS[0], ROWS[2]] if training.causal else ROWS


def own_scores(training: Training) -> np.ndarray:
    """Return what the trained model itself says of the same: sums of log-probabilities (rows, 3)."""
    hidden = np.asarray(training._encoder(inputs(training), training=False))
    found = []
    for row, pair in enumerate(sequences()):
        logits = np.asarray(training._bert.vocabulary_logits(hidden[row, pair.reads.places]), np.float64)
        assert logits.shape == (2, WORDS)
        log_probabilities = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        log_probabilities -= logits.max(1, keepdims=True)
        found.append(sum(log_probabilities[place, tokens] for place, tokens in enumerate(pair.reads.tokens)))
    return np.stack(found)


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("lstm_before", "tensorflow"),
        ("lstm_after", "tensorflow"),
        ("lstm_after", "openvino"),
        ("causal_lstm_before", "tensorflow"),
        ("causal_none_after_frozen", "openvino"),
    ],
)
def test_the_engine_scores_as_the_trained_model_does(
    name: str, backend: str, checkpoint_dir: Path, tmp_path: Path
) -> None:
    """Nothing is left of the encoder; the soft tokens have no share in the probabilities.

    What is trained under a causal mask has no segments any more.
    """
    pytest.importorskip(backend, reason="openvino is optional")
    training = start(name, checkpoint_dir)
    with without_graphs():
        training.train(batch(name), learning_rate=RATE)
    training.export(tmp_path / "trained", open_checkpoint(str(checkpoint_dir)).vocab_path)
    checkpoint = open_checkpoint(str(tmp_path / "trained"), HEADS, causal=training.causal)
    assert checkpoint.causal == training.causal
    assert (checkpoint.config["vocab_size"], checkpoint.config["soft_tokens"]) == (WORDS + COUNT, COUNT)
    assert first_soft_token(checkpoint.config) == WORDS
    assert not [name for name in read_tensors(checkpoint.prefix) if "lstm" in name or "table" in name]
    embeddings, insert = soft_embeddings(checkpoint)
    assert insert == CASES[name].insert
    np.testing.assert_allclose(embeddings, training._soft(), atol=1e-6)
    scorer = Scorer(checkpoint, output="causal" if training.causal else "masked", backend=backend)
    scores = scorer.score(sequences(), len(ROWS[0]), progress=False, width=3).values.reshape(-1, 3)
    np.testing.assert_allclose(scores, own_scores(training), atol=2e-4)


def test_later_tokens_change_nothing_before_them(checkpoint_dir: Path) -> None:
    """Not the soft ones either."""
    training = start("causal_none_after_frozen", checkpoint_dir)
    token_ids, position_ids = inputs(training)
    others = np.where((np.arange(token_ids.shape[1]) >= 6) & (token_ids != 0), 300, token_ids)
    one, other = (np.asarray(training._encoder([ids, position_ids], training=False)) for ids in (token_ids, others))
    np.testing.assert_allclose(one[:, :6], other[:, :6], atol=1e-6)
    assert np.abs(one - other)[token_ids != others].max(axis=1).min() > 0.1


def test_soft_tokens_change_the_scores_in_every_precision(checkpoint_dir: Path, tmp_path: Path) -> None:
    training = start("lstm_after", checkpoint_dir)
    scores = {}
    for number in range(2):
        training.export(tmp_path / str(number), open_checkpoint(str(checkpoint_dir)).vocab_path)
        checkpoint = open_checkpoint(str(tmp_path / str(number)), HEADS)
        for precision in ("float32", "bfloat16"):
            found = Scorer(checkpoint, precision, output="masked").score(sequences(), 4, progress=False, width=3)
            scores[number, precision] = found.values.reshape(-1, 3)
        for variable in training._soft.variables:
            variable.assign(-2 * variable)
    for precision in ("float32", "bfloat16"):
        change = np.abs(scores[0, precision] - scores[1, precision]).max(axis=1)
        assert (change[:3] > 0.05).all()
        assert change[3] == 0  # the row without soft tokens
    np.testing.assert_allclose(scores[0, "bfloat16"], scores[0, "float32"], atol=0.5)


def test_the_nearest_words_are_those_of_the_same_direction(checkpoint_dir: Path, tmp_path: Path) -> None:
    training, plain = start("none_before", checkpoint_dir), open_checkpoint(str(checkpoint_dir))
    words = read_tensors(plain.prefix)["bert/embeddings/word_embeddings"]
    training._soft.table.assign(3 * words[[200, 7000, 42]])
    training.export(tmp_path / "trained", plain.vocab_path)
    nearest = nearest_words(open_checkpoint(str(tmp_path / "trained"), HEADS), 4)
    vocabulary = random_checkpoint.vocabulary()
    assert [row[0][0] for row in nearest] == [vocabulary[place] for place in (200, 7000, 42)]
    for row in nearest:
        assert len(row) == 4
        assert row[0][1] == pytest.approx(1, abs=1e-5)
        assert [cosine for _, cosine in row] == sorted((cosine for _, cosine in row), reverse=True)
