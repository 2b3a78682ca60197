from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import random_checkpoint
from conftest import ROOT

from nsp_bert.cards import load_card
from nsp_bert_classification import main

ErrorLine = Callable[..., str]


def read_run(folder: Path, stem: str) -> tuple[dict, list[dict]]:
    summary = json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"))
    lines = (folder / f"{stem}.jsonl").read_text(encoding="utf-8").splitlines()
    return summary, [json.loads(line) for line in lines]


def test_sample_run_writes_the_contract(
    checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(checkpoint_dir), "--dataset", "tnews", "--limit", "9", "--output", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert out.startswith("TNEWS test_public (bundled sample): first 9 of 60 rows x 15 labels = 135 pairs, prefix 这")
    summary, rows = read_run(tmp_path, "tnews.test_public")
    assert (summary["sample"], summary["complete"], summary["n"], summary["published"]) == (True, True, 9, None)
    assert [row["index"] for row in rows] == list(range(9))
    assert all(len(row["scores"]) == 15 for row in rows)
    labels = list(load_card("tnews").labels)
    assert all(row["prediction"] == labels[int(np.argmax(row["scores"]))] for row in rows)
    right = sum(row["prediction"] == row["label"] for row in rows)
    assert summary["metrics"]["accuracy"] == pytest.approx(right / 9)


def test_real_data_are_told_from_the_sample(checkpoint_dir: Path, data_dir: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(checkpoint_dir), "--dataset", "eprstmt", "--data-dir", str(data_dir)]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    summary, rows = read_run(tmp_path / "out", "eprstmt.test_public")
    assert not summary["sample"]
    assert [row["label"] for row in rows] == ["Positive"] * 3


def test_template_and_position_change_the_scores(checkpoint_dir: Path, data_dir: Path, tmp_path: Path) -> None:
    def scores(*extra: str) -> list:
        arguments = ["--model", str(checkpoint_dir), "--dataset", "eprstmt", "--data-dir", str(data_dir)]
        assert main([*arguments, "--output", str(tmp_path), "--overwrite", *extra]) == 0
        return [row["scores"] for row in read_run(tmp_path, "eprstmt.test_public")[1]]

    default = scores()
    assert scores("--template", "3") == scores("--template", "这次买的东西{}") == default
    variants = [scores("--template", "1"), scores("--template", "{}啊"), scores("--prompt-position", "suffix")]
    assert all(variant != default for variant in variants)


def test_own_labels(checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("今天开市\n\n主场取胜\n", encoding="utf-8")
    arguments = ["--model", str(checkpoint_dir), "--labels", "体育, 财经,教育", "--template", "这是一则{}新闻"]
    arguments += ["--text", "开学了", "--input", str(texts)]
    assert main(arguments) == 0
    shown = capfd.readouterr().out
    assert "3 texts x 3 labels = 9 pairs" in shown
    assert all(word in shown for word in ("开学了", "主场取胜", "体育", "财经", "教育"))
    assert main([*arguments, "--output", str(tmp_path / "answers.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == ["开学了", "今天开市", "主场取胜"]
    for row in rows:
        assert list(row["scores"]) == ["体育", "财经", "教育"]
        assert row["prediction"] == max(row["scores"], key=row["scores"].get)


def test_standard_input(checkpoint_dir: Path) -> None:
    command = [sys.executable, "nsp_bert_classification.py", "--model", str(checkpoint_dir), "--labels", "体育,财经"]
    done = subprocess.run(
        [*command, "--input", "-"],
        cwd=ROOT,
        input="主场取胜\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "主场取胜" in done.stdout
    assert done.stderr == ""  # TensorFlow's start-up noise stays away


def test_missing_data(expect_error: ErrorLine, checkpoint_dir: Path, data_dir: Path) -> None:
    model = ("--model", checkpoint_dir)
    assert "no such data folder" in expect_error(main, *model, "--data-dir", data_dir / "absent")
    assert "no TNEWS" in expect_error(main, *model, "--data-dir", data_dir, "--dataset", "tnews")
    line = expect_error(main, *model, "--data-dir", data_dir, "--dataset", "eprstmt", "--split", "train")
    assert "the splits that are there: test_public" in line


def test_bad_row(expect_error: ErrorLine, checkpoint_dir: Path, data_dir: Path) -> None:
    path = data_dir / "eprstmt" / "test_public.json"
    arguments = ("--model", checkpoint_dir, "--data-dir", data_dir, "--dataset", "eprstmt")
    for spoiled, named in (
        (b'{"sentence": "a", "label": "great"}\n', "eprstmt/test_public.json:1: unknown label 'great'"),
        (b'{"sentence": \n', "eprstmt/test_public.json:1: broken JSON"),
        ('{"sentence": "好"}\n'.encode("gb18030"), "eprstmt/test_public.json:1: not UTF-8"),
        (b"", "holds no rows"),
    ):
        path.write_bytes(spoiled)
        assert named in expect_error(main, *arguments)


def test_bad_model(expect_error: ErrorLine, tmp_path: Path) -> None:
    assert "no such checkpoint folder" in expect_error(main, "--model", tmp_path / "absent")
    without = random_checkpoint.random_checkpoint(tmp_path / "roberta", heads=("pooler", "MLM"), hidden=16)
    line = expect_error(main, "--model", without)
    assert "no NSP head" in line
    assert "encoder, pooler, MLM" in line


def test_bad_options(expect_error: ErrorLine, checkpoint_dir: Path, tmp_path: Path) -> None:
    model = ("--model", checkpoint_dir)
    assert "position table" in expect_error(main, *model, "--max-length", 257)
    assert "takes" in expect_error(main, *model, "--max-length", 6, "--dataset", "tnews")
    assert "--template 4" in expect_error(main, *model, "--template", 4, "--dataset", "tnews")
    assert "--labels" in expect_error(main, *model, "--labels", ",", "--text", "a")
    assert "--labels" in expect_error(main, *model, "--labels", "a,a", "--text", "a")
    assert "--labels" in expect_error(main, *model, "--text", "a")
    assert "no text" in expect_error(main, *model, "--labels", "a,b")
    assert "cannot be read" in expect_error(main, *model, "--labels", "a,b", "--input", tmp_path / "absent")
    assert "must stand in it once" in expect_error(main, *model, "--labels", "a,b", "--text", "a", "--template", "x")
    (tmp_path / "file").touch()
    assert "cannot be written" in expect_error(main, *model, "--output", tmp_path / "file")


def test_an_unknown_option_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--modell", "x"])
    assert stopped.value.code == 2
    assert "--modell" in capfd.readouterr().err


def test_help_names_the_paper_s_numbers(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capfd.readouterr().out
    assert all(number in shown for number in ("86.89", "51.00", "47.59", "41.62"))


def test_verbose_says_what_took_the_time(checkpoint_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(checkpoint_dir), "--dataset", "eprstmt", "--limit", "4", "--verbose"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("float32: first scores after"))
    stages = re.findall(r"([a-z-]+(?: [a-z]+)*) ([\d.]+) s \((\d+) %\)", line)
    assert [name for name, _, _ in stages][:4] == ["start-up", "loading", "waiting for pairs", "first batch"]
    assert 95 <= sum(int(share) for _, _, share in stages) <= 105
