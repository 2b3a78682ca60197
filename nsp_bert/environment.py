"""TensorFlow with bert4keras, set up once and checked, before anything else imports them.

bert4keras 0.11.5 runs on TensorFlow 2 only through tf-keras (Keras 2) and only when two environment variables
are set before TensorFlow is first imported. This module sets them, keeps TensorFlow's start-up noise off the
terminal and names the remedy when the installed packages do not fit.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import resource
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from nsp_bert.errors import UserError

REMEDY = (
    "set up again with `make install` (or `pip install --no-deps -r requirements.txt` in a new virtual environment)"
)
REQUIRED_PACKAGES = {"tensorflow": "tensorflow", "tf_keras": "tf-keras", "bert4keras": "bert4keras"}
SETTINGS = {
    "TF_KERAS": "1",  # bert4keras: use tf.keras, not the stand-alone Keras 1 API
    "TF_USE_LEGACY_KERAS": "1",  # TensorFlow: tf.keras is tf-keras (Keras 2), not Keras 3
}
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "TF_CPU_ALLOCATOR_USE_BFC": "1",  # reuses large buffers: faster, and memory does not creep
}


def import_tensorflow() -> ModuleType:
    """Return the `tensorflow` module with bert4keras importable beside it.

    Raises UserError with the remedy when a package is missing, when TensorFlow was imported before with other
    settings, or when tf.keras turns out to be Keras 3.
    """
    if "bert4keras.backend" in sys.modules:
        import tensorflow

        return tensorflow
    missing = [name for module, name in REQUIRED_PACKAGES.items() if not _installed(module)]
    if missing:
        raise UserError(f"Python package missing: {', '.join(missing)}; {REMEDY}")
    _apply_settings()
    with _silenced_stderr(), _garbage_left_alone():
        import tensorflow as tf

        keras_home = tf.keras.Model.__module__.split(".")[0]
    if keras_home != "tf_keras":
        raise UserError(
            f"tf.keras is the package {keras_home!r}, but bert4keras needs tf-keras (Keras 2): TF_USE_LEGACY_KERAS=1"
            f" is not effective; {REMEDY}"
        )
    tf.get_logger().setLevel("ERROR")
    try:
        import bert4keras.backend  # noqa: F401
    except ImportError as error:
        raise UserError(f"bert4keras cannot be imported ({error}); {REMEDY}") from error
    return tf


@contextlib.contextmanager
def quiet_initializers() -> Iterator[None]:
    """Silence Keras' warning of bert4keras' shared initialiser: the weights are set afterwards."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The initializer TruncatedNormal is unseeded")
        yield


def build_quietly(bert: Any) -> None:
    """Build a bert4keras model without Keras' warning of its shared initialiser.

    Its layers need no autograph, whose reading of them takes as long as the rest.
    """
    build = import_tensorflow().autograph.experimental.do_not_convert(bert.build)
    with quiet_initializers():
        build()


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # an entry of sys.modules that says: not importable
        return False


def _apply_settings() -> None:
    for name, value in SETTINGS.items():
        if os.environ.get(name, value) != value:
            raise UserError(f"the environment variable {name}={os.environ[name]} stands against bert4keras; unset it")
        if "tensorflow" in sys.modules and name not in os.environ:
            raise UserError(
                f"TensorFlow was imported before {name}=1 was set; import nsp_bert first or set it yourself"
            )
        os.environ[name] = value
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: TensorFlow's C++ start-up lines ignore Python's logging."""
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@contextlib.contextmanager
def _garbage_left_alone() -> Iterator[None]:
    """Pause the garbage collector: it would go through a growing million of objects that all stay, 0.4 s in all."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in MiB."""
    unit = 1024 if sys.platform == "darwin" else 1  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit // 1024
