"""Reading and writing the tensors of a checkpoint in the original TensorFlow format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError
from nsp_bert.files import replacing_folder


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


def write_checkpoint(folder: Path, config: dict[str, Any], tensors: dict[str, np.ndarray], vocab_path: Path) -> None:
    """Write `bert_config.json`, `vocab.txt` and `bert_model.ckpt.*` into a folder that is there."""
    write_tensors(folder / "bert_model.ckpt", tensors)
    (folder / "bert_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(vocab_path, folder / "vocab.txt")


@contextmanager
def written_in_one_step(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` in the end. Raises UserError where there is no room for it."""
    try:
        with replacing_folder(folder) as unfinished:
            yield unfinished
    except (OSError, import_tensorflow().errors.OpError) as error:
        reason = str(error).partition(" [Op:")[0].rpartition("; ")[2]  # TensorFlow's comes between operation and place
        raise UserError(f"{folder}: cannot be written ({reason}); make room and start again") from error
