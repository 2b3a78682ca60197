"""Reading and writing the tensors of a checkpoint in the original TensorFlow format."""

from __future__ import annotations

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
