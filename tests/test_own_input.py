"""What own texts, labels and options may be; all else is refused in one line."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nsp_bert.errors import UserError
from nsp_bert.own_input import OwnTexts, Source, read_labels
from nsp_bert_classification import main

ErrorLine = Callable[..., str]
LABELS = "体育,财经,教育"


def test_line_numbers_are_the_file_s(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeff甲\r\n\r\n  乙 \n\n丙".encode())
    (tmp_path / "a.csv").write_text('id,sentence\n1,"甲\n二"\n\n2,乙\n', encoding="utf-8")
    (tmp_path / "a.json").write_text('{"text": "甲"}\n\n{"text": "乙"}\n', encoding="utf-8")

    def found(name: str, limit: int | None = None) -> list[tuple[int | None, str]]:
        own = OwnTexts(input=str(tmp_path / name))
        return [(one.line, one.text) for one in Source(own, (), limit)]

    assert found("a.txt") == [(1, "甲"), (3, "乙"), (5, "丙")]
    assert found("a.csv") == [(2, "甲\n二"), (5, "乙")]
    assert found("a.json") == [(1, "甲"), (3, "乙")]
    assert found("a.txt", 2) == found("a.txt")[:2]


def test_texts_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    """A bad line far below is not reached before its turn."""
    (tmp_path / "a.jsonl").write_text('{"text": "甲"}\n' * 5000 + "[]\n", encoding="utf-8")
    texts = iter(Source(OwnTexts(input=str(tmp_path / "a.jsonl")), (), None))
    assert next(texts).line == 1
    with pytest.raises(UserError, match=r"a\.jsonl:5001: not a JSON object"):
        list(texts)


@pytest.mark.parametrize("given", ["体育,财经,教育", "体育，财经、教育", " 体育 , 财经,,教育，"])
def test_commas_of_both_scripts(given: str) -> None:
    assert list(read_labels(given)) == ["体育", "财经", "教育"]


def test_labels_with_words_and_from_a_file(tmp_path: Path) -> None:
    assert read_labels("s=体育，f = 财经、教育") == {"s": "体育", "f": "财经", "教育": "教育"}
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeff体育\r\n\r\n财经=钱，股票\n".encode())
    assert read_labels(str(path)) == {"体育": "体育", "财经": "钱，股票"}
    path.write_bytes("体育\n财经".encode("gb18030"))
    with pytest.raises(UserError, match=r"labels\.txt:1: not UTF-8"):
        read_labels(str(path))


@pytest.mark.parametrize("given", [None, "", ",", "体育", "a,a", "a=x,b=x", "a=,b", "=a,b", "absent.txt"])
def test_labels_that_cannot_tell_texts_apart(given: str | None) -> None:
    with pytest.raises(UserError, match="--labels"):
        read_labels(given)


@pytest.mark.parametrize(
    ("name", "content", "options", "reason"),
    [
        (
            "a.csv",
            "id,words\n1,x\n",
            (),
            "a.csv:2: no 'text' or 'sentence'; it has id, words: name one with --text-column",
        ),
        ("a.csv", "id,text\n1,x\n", ("--text-column", "words"), "a.csv:2: no 'words'; it has id, text"),
        ("a.csv", "id,text\n1\n", (), "a.csv:2: 1 columns instead of 2 (id, text)"),
        ("a.csv", 'text\n"x\ny\n', (), "a.csv:2: broken csv"),
        ("a.csv", "text,text\nx,y\n", (), "a.csv:1: two columns are called 'text'"),
        (
            "a.tsv",
            "text\tlabel\nx\t体育\ny\t天气\n",
            ("--label-column", "label"),
            "a.tsv:3: unknown label '天气'; --labels",
        ),
        ("a.tsv", "text\tlabel\nx\t体育\n", ("--label-column", "class"), "a.tsv:2: no 'class'; it has text, label"),
        ("a.jsonl", '{"text": "x"}\n{"text": 5}\n', (), "a.jsonl:2: no text in 'text' (found 5)"),
        ("a.jsonl", '{"text": "x"}\n{"sentence": "y"}\n', (), "a.jsonl:2: no text in 'text' (found None)"),
        ("a.jsonl", '{"text": "x", "label": null}\n', ("--label-column", "label"), "a.jsonl:1: unknown label None"),
        ("a.json", '["x"]\n', (), "a.json:1: not a JSON object"),
        ("a.txt", "\n \n", (), "holds no text"),
        ("a.csv", "text\n", (), "holds no text"),
        ("a.txt", "x\n" * 51, (), "more than 50 texts: give --output FILE"),
        ("a.txt", "x\n", ("--text-column", "text"), "--text-column: about a csv, tsv or jsonl file"),
        ("a.csv", "text\nx\n", ("--label-column", "label", "--text", "y"), "the texts of --text have no label"),
        ("a.txt", "x\n", ("--resume",), "--resume: only what --output FILE holds"),
        ("a.txt", "x\n", ("--resume", "--output", "-"), "--resume: only what --output FILE holds"),
        ("a.txt", "x\n", ("--workers", "2"), "--workers is about --distributed"),
    ],
)
def test_bad_input_is_one_line(
    expect_error: ErrorLine,
    checkpoint_dir: Path,
    tmp_path: Path,
    name: str,
    content: str,
    options: tuple[str, ...],
    reason: str,
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    arguments = ("--model", checkpoint_dir, "--labels", LABELS, "--input", tmp_path / name)
    assert reason in expect_error(main, *arguments, *options)


@pytest.mark.parametrize(
    "options",
    [
        ("--dataset", "tnews"),
        ("--data-dir", "x"),
        ("--split", "dev"),
        ("--submission", "x"),
        ("--ablate",),
        ("--calibration", "ensemble"),
        ("--overwrite",),
    ],
)
def test_options_of_datasets_are_refused(expect_error: ErrorLine, options: tuple[str, ...]) -> None:
    line = expect_error(main, "--labels", LABELS, "--text", "x", *options)
    assert options[0] in line
    assert "own texts do not have" in line


@pytest.mark.parametrize("option", ["--text-column", "--label-column"])
def test_options_of_own_texts_are_refused_without_them(expect_error: ErrorLine, option: str) -> None:
    assert "--dataset: about a dataset's files" in expect_error(main, "--dataset", "tnews", option, "x")
    assert "no text to classify" in expect_error(main, option, "x")


def test_places_that_cannot_be(expect_error: ErrorLine, checkpoint_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "x"}\n', encoding="utf-8")
    own = ("--model", checkpoint_dir, "--labels", LABELS)
    for path, reason in ((tmp_path, "a folder"), (tmp_path / "absent", "No such file"), ("a" * 300, "File name too")):
        assert f"cannot be read ({reason}" in expect_error(main, *own, "--input", path)
    for output, reason in (
        (tmp_path, "not a plain file"),
        ("/dev/null", "not a plain file"),
        (source, "the file of --input"),
        (source / "b", "cannot be written"),
        (tmp_path / ("a" * 255), "cannot be written"),
    ):
        assert reason in expect_error(main, *own, "--input", source, "--output", output)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    resumed = expect_error(main, *own, "--input", "-", "--output", tmp_path / "b", "--resume")
    assert "standard input and pipes cannot be read again" in resumed


def test_standard_input_that_is_closed(
    checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch, expect_error: ErrorLine
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "holds no text" in expect_error(main, "--model", checkpoint_dir, "--labels", LABELS, "--input", "-")
