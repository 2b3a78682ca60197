"""Reading and writing the tensors of a checkpoint in the original TensorFlow format; folders in one step."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nsp_bert.environment import import_tensorflow


def read_tensors(prefix: Path) -> dict[str, np.ndarray]:
    """Return every variable of a checkpoint by its name."""
    reader = import_tensorflow().train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_shape_map())}


def write_tensors(prefix: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write `prefix.index` and `prefix.data-00000-of-00001` with these variables, in the order of their names."""
    names = sorted(tensors)
    import_tensorflow().raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensors[name] for name in names],
    )


@contextlib.contextmanager
def written_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block ends without an error."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        replace_folder(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def replace_folder(new: Path, folder: Path) -> None:
    """Put `new` in the place of `folder`; a kill in between leaves one of the two whole."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)
