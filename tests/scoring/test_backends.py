"""Every way to compute gives the same scores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import random_checkpoint
from conftest import ROOT

import nsp_bert_classification as classification
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.errors import UserError
from nsp_bert.scoring.backends import Backend
from nsp_bert.scoring.scorer import EncodedPair, Scorer

TWO_DEVICES = """
import sys
import numpy as np
from nsp_bert.environment import import_tensorflow
tf = import_tensorflow()
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from nsp_bert.scoring.backends import load_tensorflow, replicate
from nsp_bert.checkpoints.checkpoint import open_checkpoint
checkpoint, other = map(open_checkpoint, sys.argv[1:])
both = replicate(checkpoint, "float32", "next-sentence", ["CPU:0", "CPU:1"])
one = load_tensorflow(checkpoint, "float32", "next-sentence")
rng = np.random.default_rng(0)
for rows, length in ((6, 20), (5, 33), (1, 7), (4, 12)):
    if rows == 4:
        assert both.reload(other) and one.reload(other)
    ids = rng.integers(5, 20000, (rows, length)).astype(np.int32)
    segments = np.tile((np.arange(length) > length // 2).astype(np.int32), (rows, 1))
    positions = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    np.testing.assert_allclose(both.compute(ids, segments, positions), one.compute(ids, segments, positions), atol=1e-5)
print("equal", both.batch_tokens)
"""


@pytest.fixture
def pairs() -> list[EncodedPair]:
    rng = np.random.default_rng(7)
    return [EncodedPair(rng.integers(5, 20000, length).tolist(), length // 3 + 1) for length in range(3, 60)]


def test_several_devices_share_a_batch(checkpoint_dir: Path, tmp_path: Path) -> None:
    """Also after they have taken other weights."""
    other = random_checkpoint.random_checkpoint(tmp_path / "other", seed=1)
    command = [sys.executable, "-c", TWO_DEVICES, str(checkpoint_dir), str(other)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("equal"), done.stderr[-2000:]


def test_openvino_equals_tensorflow(checkpoint_dir: Path, pairs: list[EncodedPair]) -> None:
    pytest.importorskip("openvino", reason="openvino is optional")
    checkpoint = open_checkpoint(str(checkpoint_dir))
    expected = Scorer(checkpoint).score(pairs, len(pairs)).values
    for _ in range(2):  # the memory of the first one's weights must not serve the second
        found = Scorer(checkpoint, backend="openvino").score(pairs, len(pairs)).values
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_openvino_prints_nothing_of_its_own(checkpoint_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino", reason="openvino is optional")
    Scorer(open_checkpoint(str(checkpoint_dir)), backend="openvino")
    assert capfd.readouterr() == ("", "")


def test_without_the_package_the_remedy_is_named(
    checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch, expect_error
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    line = expect_error(classification.main, "--model", checkpoint_dir, "--backend", "openvino", "--dataset", "eprstmt")
    assert "pip install --no-deps -r requirements/openvino.txt" in line


def test_scores_that_are_no_numbers_are_an_error(checkpoint_dir: Path, pairs: list[EncodedPair]) -> None:
    def load(*_arguments: object) -> Backend:
        return Backend(lambda ids, *_: np.full(len(ids), np.inf, np.float32), streams=2, batch_tokens=100)

    with pytest.raises(UserError, match="not finite numbers"):
        Scorer(open_checkpoint(str(checkpoint_dir)), load=load).score(pairs, len(pairs))
