"""--resume keeps a result only while everything that it depends on is the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SAMPLE

from nsp_bert.errors import UserError
from nsp_bert_entity_linking import main as link
from nsp_bert_sentence_pair import main

KEPT = "is there already"


@pytest.fixture
def run(checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    model = shutil.copytree(checkpoint_dir, tmp_path / "model")
    data = shutil.copytree(SAMPLE / "bustm", tmp_path / "data" / "bustm").parent

    def run(*more: str) -> str:
        arguments = [
            "--model",
            str(model),
            "--data-dir",
            str(data),
            "--dataset",
            "bustm",
            "--output",
            str(tmp_path / "o"),
        ]
        assert main([*arguments, "--resume", *more]) == 0
        return capfd.readouterr().out

    return run


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def test_a_valid_result_is_kept_and_shown(run: Callable[..., str], tmp_path: Path) -> None:
    first = run()
    before = {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    second = run()
    assert KEPT not in first
    assert KEPT in second
    assert [line for line in first.splitlines() if "│" in line or " BUSTM " in line] == [
        line for line in second.splitlines() if "│" in line or " BUSTM " in line
    ]
    assert {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()} == before
    assert KEPT in run("--batch-tokens", "512")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: edit(folder / "data" / "bustm" / "test_public.json", lambda text: text + "\n"),
        lambda folder: edit(folder / "data" / "bustm" / "dev_few_all.json", lambda text: text + "\n"),
        lambda folder: edit(folder / "model" / "vocab.txt", lambda text: text.replace("\n", "\r\n")),
        lambda folder: edit(folder / "o" / "bustm.test_public.json", lambda text: text[:200]),
        lambda folder: edit(
            folder / "o" / "bustm.test_public.json", lambda text: json.dumps(json.loads(text) | {"complete": False})
        ),
        lambda folder: (folder / "o" / "bustm.test_public.json").unlink(),
    ],
)
def test_whatever_differs_runs_again(run: Callable[..., str], tmp_path: Path, change: Callable[[Path], object]) -> None:
    run()
    change(tmp_path)
    assert KEPT not in run()
    assert KEPT in run()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--limit", "5"), "rows all, now first 5 rows"),
        (("--max-length", "64"), "max_length 128, now 64"),
        (("--prompt-position", "suffix"), "prompt_position prefix, now suffix"),
        (("--precision", "bfloat16"), "precision float32, now bfloat16"),
    ],
)
def test_the_result_of_another_run_is_not_replaced_unasked(
    run: Callable[..., str], tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    run()
    before = (tmp_path / "o" / "bustm.test_public.json").read_bytes()
    with pytest.raises(UserError, match=named):
        run(*options)
    assert (tmp_path / "o" / "bustm.test_public.json").read_bytes() == before
    assert KEPT not in run(*options, "--overwrite")
    assert KEPT in run(*options)


def test_another_model_s_result_is_not_replaced_unasked(
    run: Callable[..., str], checkpoint_dir: Path, tmp_path: Path
) -> None:
    run()
    shutil.copytree(checkpoint_dir, tmp_path / "other")
    with pytest.raises(UserError, match="model model, now other"):
        run("--model", str(tmp_path / "other"))


def test_what_is_asked_for_beside_the_headline_runs_again(run: Callable[..., str]) -> None:
    run()
    assert KEPT not in run("--calibration", "content-free")


def test_both_parts_of_entity_linking_must_be_there(
    checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(checkpoint_dir), "--output", str(tmp_path), "--resume"]
    assert link(arguments) == link(arguments) == 0
    assert KEPT in capfd.readouterr().out
    (tmp_path / "duel_typing.dev.json").unlink()
    assert link(arguments) == 0
    assert KEPT not in capfd.readouterr().out
