"""The forward pass written out against bert4keras' own Keras model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_checkpoint

from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError
from nsp_bert.scoring.scorer import EncodedPair, Scorer

tf: Any = import_tensorflow()

from nsp_bert.scoring.weights import load_weights  # noqa: E402


def pairs(count: int, seed: int, longest: int = 100) -> list[EncodedPair]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, longest, count)
    return [EncodedPair(rng.integers(5, 20000, length).tolist(), int(rng.integers(1, length))) for length in lengths]


def by_bert4keras(folder: Path, some: list[EncodedPair]) -> np.ndarray:
    """Return log-odds float32 (n,) of bert4keras' model, each pair alone and unpadded, before its softmax."""
    from bert4keras.models import build_transformer_model

    tf.keras.mixed_precision.set_global_policy("float32")
    config, checkpoint = folder / "bert_config.json", folder / "bert_model.ckpt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The initializer TruncatedNormal is unseeded")
        model = build_transformer_model(str(config), str(checkpoint), with_nsp=True)
    pooled = tf.keras.Model(model.inputs, model.layers[-2].output)
    kernel, bias = model.layers[-1].get_weights()
    found = []
    for pair in some:
        segments = [0] * pair.first_length + [1] * (len(pair.token_ids) - pair.first_length)
        logits = pooled([np.array([pair.token_ids]), np.array([segments])]).numpy() @ kernel + bias
        found.append(logits[0, 0] - logits[0, 1])
    return np.array(found, np.float32)


@pytest.mark.parametrize(("layers", "hidden"), [(1, 32), (3, 64)])
def test_log_odds_equal_bert4keras(tmp_path: Path, layers: int, hidden: int) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "model", seed=layers, layers=layers, hidden=hidden)
    some = pairs(12, layers)
    ours = Scorer(open_checkpoint(str(folder))).score(some, len(some)).values
    np.testing.assert_allclose(ours, by_bert4keras(folder, some), atol=1e-4)
    assert np.ptp(ours) > 0.5


def test_a_feed_forward_in_pieces_gives_the_same(checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, some = open_checkpoint(str(checkpoint_dir)), pairs(8, 4)
    whole = Scorer(checkpoint).score(some, len(some)).values
    inside, width = checkpoint.config["intermediate_size"], checkpoint.config["hidden_size"]
    monkeypatch.setattr("nsp_bert.scoring.weights.KERNEL_SIZE", inside * width // 3)
    pieces = load_weights(checkpoint, "float32", "NSP").layers[0].forward
    assert len(pieces) == 4  # three would not be equal
    assert {up.kernel.shape.as_list()[1] for up, _ in pieces} == {inside // 4}
    np.testing.assert_allclose(Scorer(checkpoint).score(some, len(some)).values, whole, atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu_new", "relu", "swish"])
def test_every_activation_is_the_one_that_the_configuration_names(
    checkpoint_dir: Path, tmp_path: Path, activation: str
) -> None:
    settings = random_checkpoint.config() | {"hidden_act": activation}
    weights = random_checkpoint.weights(random_checkpoint.config())
    folder = random_checkpoint.write(tmp_path / "model", weights, settings, random_checkpoint.vocabulary())
    some = pairs(5, 9)
    ours = Scorer(open_checkpoint(str(folder))).score(some, len(some)).values
    exact = Scorer(open_checkpoint(str(checkpoint_dir))).score(some, len(some)).values
    assert np.abs(ours - exact).max() > 1e-5
    if activation != "gelu_new":  # bert4keras knows gelu, relu, swish by these names
        np.testing.assert_allclose(ours, by_bert4keras(folder, some), atol=1e-4)


def test_an_unknown_activation_is_named(checkpoint_dir: Path, tmp_path: Path) -> None:
    settings = random_checkpoint.config() | {"hidden_act": "mish"}
    weights = random_checkpoint.weights(random_checkpoint.config())
    folder = random_checkpoint.write(tmp_path / "model", weights, settings, random_checkpoint.vocabulary())
    with pytest.raises(UserError, match=r"bert_config.json: hidden_act 'mish' is not known, only gelu"):
        Scorer(open_checkpoint(str(folder)))
