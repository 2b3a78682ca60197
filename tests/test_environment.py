from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

CODE = "from nsp_bert.terminal import run_main\nfrom nsp_bert.environment import import_tensorflow\n"
RUN = "run_main(lambda arguments: import_tensorflow() and 0)\n"


def start(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter: what is imported first decides."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=False
    )


def fake_package(folder: Path, name: str, code: str = "") -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code, encoding="utf-8")
    return folder


def test_a_right_environment_is_quiet_and_the_garbage_collector_back_on() -> None:
    done = start(CODE + "import gc\nrun_main(lambda arguments: import_tensorflow() and int(not gc.isenabled()))\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("code", "environment", "reason"),
    [
        ("import sys; sys.modules['bert4keras'] = None\n", {}, "Python package missing: bert4keras"),
        ("import sys; sys.modules['tf_keras'] = None\n", {}, "Python package missing: tf-keras"),
        ("import tensorflow\n", {}, "TensorFlow was imported before"),
        ("", {"TF_USE_LEGACY_KERAS": "0"}, "TF_USE_LEGACY_KERAS=0 stands against bert4keras"),
    ],
)
def test_a_wrong_environment_is_named_with_the_remedy(code: str, environment: dict[str, str], reason: str) -> None:
    done = start(code + CODE + RUN, **environment)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert reason in errors[0]
    assert "Traceback" not in done.stderr


def test_keras_3_in_the_place_of_tf_keras_is_named(tmp_path: Path) -> None:
    """A TensorFlow whose tf.keras ignores TF_USE_LEGACY_KERAS, as an older or a patched one does."""
    code = (
        "import types\nclass Model: pass\n"
        "Model.__module__ = 'keras.src.models'\nkeras = types.SimpleNamespace(Model=Model)\n"
    )
    fake = fake_package(tmp_path, "tensorflow", code)
    done = start(CODE + RUN, PYTHONPATH=str(fake))
    assert done.returncode == 2
    assert "tf.keras is the package 'keras'" in done.stderr
    assert "make install" in done.stderr
