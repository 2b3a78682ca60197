"""Tensors of safetensors and PyTorch files as NumPy arrays. Pickles are read with `weights_only`."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from nsp_bert.errors import UserError, first_line

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
UNREADABLE = (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, TypeError)


def find_weights(source: Path) -> Path:
    """Return the weight file that SOURCE is or holds. Raises UserError when there is none."""
    if source.is_file():
        return source
    paths = [source / name for name in WEIGHT_FILES if (source / name).is_file()]
    if not paths:
        raise UserError(f"{source}: no {' or '.join(WEIGHT_FILES)} in there, nor a *.ckpt.index")
    return paths[0]


def read_state(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a .safetensors or a PyTorch file by name; half precision becomes float32.

    Raises UserError when the file cannot be read or the package that reads it is not installed.
    """
    try:
        if path.suffix == ".safetensors":
            state = _package("safetensors.torch" if _has_torch() else "safetensors.numpy").load_file(path)
        else:
            state = _package("torch").load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if not isinstance(error, UNREADABLE) and type(error).__name__ != "SafetensorError":
            raise
        raise UserError(f"{path}: cannot be read ({first_line(error)}); fetch it again") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    tensors = {name: _array(tensor) for name, tensor in state.items() if hasattr(tensor, "shape")}
    if not tensors:
        raise UserError(f"{path}: holds no tensors by name")
    return tensors


def write_safetensors(state: dict[str, np.ndarray], path: Path) -> None:
    """Write tensors as Hugging Face expects them."""
    _package("safetensors.numpy").save_file(state, path, metadata={"format": "pt"})


def _array(tensor: Any) -> np.ndarray:
    if isinstance(tensor, np.ndarray):
        return tensor
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _package(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise UserError(f"this needs the package {package}, which is optional: pip install {package}") from error
