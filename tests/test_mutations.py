"""Any field of a configuration or of a row, mistyped or strange: a right result or one line, never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_checkpoint
from conftest import SAMPLE
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.cards import load_card
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.errors import UserError
from utils import load_entity_mentions, load_examples

DATASETS = ("eprstmt", "bustm", "csl", "chid", "cluewsc", "duel")
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.one_of(st.integers(), st.text(max_size=2)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def accepted(action: Callable[[], Any]) -> bool:
    """Return whether an action takes its input; a refusal is one line."""
    try:
        action()
    except UserError as refusal:
        message = str(refusal)
    else:
        return True
    assert message
    assert "\n" not in message
    return False


@given(key=st.sampled_from(sorted(random_checkpoint.config())), value=STRANGE)
def test_configurations(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory, key: str, value: Any) -> None:
    folder = tmp_path_factory.mktemp("config") / "model"
    folder.mkdir()
    for path in checkpoint_dir.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "bert_config.json").unlink()
    config = random_checkpoint.config()
    (folder / "bert_config.json").write_text(json.dumps(config | {key: value}), encoding="utf-8")
    taken = accepted(lambda: open_checkpoint(str(folder)))
    if key.endswith("_size") and key != "vocab_size" and value != config[key]:
        assert not taken


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_attention_heads": 5}, "5 heads do not divide hidden_size 32"),
        ({"hidden_size": "32"}, "hidden_size: Input should be a valid integer"),
        ({"hidden_act": None}, "hidden_act: Input should be a valid string"),
        ({"do_lower_case": "false"}, "do_lower_case: Input should be a valid boolean"),
        ({"hidden_dropout_prob": float("nan")}, "hidden_dropout_prob: Input should be a finite number"),
        ({"num_hidden_layers": 1}, "num_hidden_layers 1, the weights 2"),
    ],
)
def test_wrong_configurations_by_name(checkpoint_dir: Path, tmp_path: Path, change: dict, named: str) -> None:
    folder = shutil.copytree(checkpoint_dir, tmp_path / "model")
    (folder / "bert_config.json").write_text(json.dumps(random_checkpoint.config() | change), encoding="utf-8")
    with pytest.raises(UserError, match=named):
        open_checkpoint(str(folder))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 50_000, '{"vocab_size": ' + "9" * 5000 + "}", "\ufeff{}", '["a"]']
)
def test_configurations_that_are_no_configuration(checkpoint_dir: Path, tmp_path: Path, text: str) -> None:
    folder = shutil.copytree(checkpoint_dir, tmp_path / "model")
    (folder / "bert_config.json").write_text(text, encoding="utf-8")
    assert not accepted(lambda: open_checkpoint(str(folder)))


@pytest.mark.parametrize(
    "name",
    [
        "cls/seq_relationship/output_weights",
        "bert/pooler/dense/kernel",
        "bert/encoder/layer_1/intermediate/dense/kernel",
        "bert/embeddings/LayerNorm/gamma",
    ],
)
def test_transposed_and_missing_variables_are_named(tmp_path: Path, name: str) -> None:
    config = random_checkpoint.config()
    weights = random_checkpoint.weights(config)
    shape = weights[name].T.shape if weights[name].ndim > 1 and len(set(weights[name].shape)) > 1 else (7,)
    wrong = weights | {name: np.zeros(shape, np.float32)}
    gone = {other: value for other, value in weights.items() if other != name}
    for tensors in (wrong, gone):
        folder = random_checkpoint.write(tmp_path / str(len(tensors)), tensors, config, random_checkpoint.vocabulary())
        with pytest.raises(UserError, match=name if tensors is wrong else "NSP|pooler|lack"):
            open_checkpoint(str(folder))


def rows_of(name: str) -> list[dict]:
    card = load_card(name)
    path = SAMPLE / card.path.format(split=card.split)
    return [json.loads(line) for line in path.open(encoding="utf-8")][:3]


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value in a JSON value but the whole."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(place for key, child in children for place in places(child, (*path, key)))]


@given(data=st.data())
def test_rows(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(DATASETS))
    card, rows = load_card(name), rows_of(name)
    place = data.draw(st.sampled_from(places(rows[1])))
    target = rows[1]
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = data.draw(STRANGE)
    folder = tmp_path_factory.mktemp("rows")
    path = folder / card.path.format(split="x")
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    load = load_entity_mentions if name == "duel" else load_examples
    accepted(lambda: load(card, folder, "x"))


LINES = {
    "half": '{"sentence": "\\ud800"}',
    "deep": "[" * 100_000,
    "digits": '{"id": ' + "9" * 5000 + "}",
    "NaN": "NaN",
    "3": "3",
}


@pytest.mark.parametrize("text", LINES.values(), ids=LINES)
def test_lines_that_are_no_row(tmp_path: Path, text: str) -> None:
    (tmp_path / "eprstmt").mkdir()
    (tmp_path / "eprstmt" / "x.json").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"eprstmt/x\.json:1: "):
        load_examples(load_card("eprstmt"), tmp_path, "x")
