"""Own texts: every format alike, streamed, resumed to the byte, labels as people write them, bad input in one line."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slow_run
from hypothesis import given, settings
from hypothesis import strategies as st

from nsp_bert import zero_shot
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.errors import UserError
from nsp_bert.scoring.exact import Engine, PairTable, Scored
from nsp_bert.scoring.scorer import Scorer
from nsp_bert_classification import main

ErrorLine = Callable[..., str]
LABELS = "体育,财经,教育"
TEXTS = ["主场三比一取胜", "央行宣布降息", "新学期开学了", "主场三比一取胜", "股市大涨", "考试延期", "央行宣布降息"]


def write_file(path: Path, texts: list[str], labels: list[str] | None = None, column: str = "text") -> Path:
    """Write texts in the format that the file's ending says."""
    columns = {column: texts} | ({"label": labels} if labels else {})
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    stream = io.StringIO()
    if path.suffix == ".csv":
        csv.writer(stream).writerows([list(columns), *(list(row.values()) for row in rows)])
    elif path.suffix == ".tsv":
        stream.writelines("\t".join(row) + "\n" for row in [list(columns), *(list(row.values()) for row in rows)])
    elif path.suffix == ".jsonl":
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        stream.writelines(f"{text}\n" for text in texts)
    path.write_bytes(stream.getvalue().encode())
    return path


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def classify(checkpoint_dir: Path) -> Iterator[Callable[..., int]]:
    """Run the script with the random checkpoint, which is loaded once, LABELS and these arguments."""
    scorer = Scorer(open_checkpoint(str(checkpoint_dir)))

    def run(*arguments: object, labels: str = LABELS) -> int:
        return main(["--model", str(checkpoint_dir), "--labels", labels, *map(str, arguments)])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("nsp_bert.session.Scorer", lambda *_: scorer)
        yield run


lines = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf")), max_size=12).map(str.strip).filter(bool)


@settings(max_examples=10)
@given(texts=st.lists(lines, min_size=1, max_size=5))
def test_every_format_gives_the_same_answers(
    classify: Callable[..., int], tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    found = {}
    for ending in ("txt", "csv", "tsv", "jsonl"):
        source, output = write_file(folder / f"a.{ending}", texts), folder / f"{ending}.answers"
        assert classify("--input", source, "--output", output) == 0
        found[ending] = [{name: row[name] for name in ("text", "prediction", "scores")} for row in read_lines(output)]
        first = 2 if ending in ("csv", "tsv") else 1
        assert [row["line"] for row in read_lines(output)] == list(range(first, first + len(texts)))
    assert [row["text"] for row in found["txt"]] == texts
    assert all(answers == found["txt"] for answers in found.values())
    for row in found["txt"]:
        assert list(row["scores"]) == LABELS.split(",")
        assert row["prediction"] == max(row["scores"], key=row["scores"].get)


def test_label_words_make_the_prompts(classify: Callable[..., int], tmp_path: Path) -> None:
    rows = []
    for labels in ("体育,财经", "s=体育,f=财经"):
        assert classify("--text", "开学了", "--output", tmp_path / "a", labels=labels) == 0
        rows += read_lines(tmp_path / "a")
    assert [list(row["scores"]) for row in rows] == [["体育", "财经"], ["s", "f"]]
    assert list(rows[0]["scores"].values()) == list(rows[1]["scores"].values())
    assert rows[0]["line"] is None


def test_accuracy_of_a_label_column(
    classify: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    truths = ["体育", "财经", "教育", "体育", "财经", "教育", "财经"]
    source = write_file(tmp_path / "texts.csv", TEXTS, truths, "sentence")
    options = ("--input", source, "--label-column", "label", "--output", tmp_path / "a.jsonl")
    assert classify(*options) == 0
    rows = read_lines(tmp_path / "a.jsonl")
    assert [row["label"] for row in rows] == truths
    right = sum(row["label"] == row["prediction"] for row in rows)
    shown = capfd.readouterr().out
    assert "random on texts.csv" in shown
    assert f"own texts 7 {100 * right / 7:8.2f}" in shown
    assert "→ 体育" in shown
    assert classify(*options[:4]) == 0  # without --output the texts are shown too
    shown = capfd.readouterr().out
    assert "股市大涨" in shown
    assert "95 % interval" in shown


def test_many_labels_and_texts_show_what_fits(
    classify: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = [f"第{place}类" for place in range(14)]
    texts = [f"第{place}条" for place in range(56)]
    source = write_file(tmp_path / "texts.jsonl", texts, labels * 4)
    assert classify("--input", source, "--label-column", "label", labels=",".join(labels)) == 0
    shown = capfd.readouterr().out
    assert "more than 50 texts: --output FILE" in shown
    assert "taken for" in shown
    assert "第55条" not in shown


Interrupt = Callable[[int], None]


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Score two texts at once, and let Ctrl-C be pressed in the call of a number from 0; -1 is never."""
    calls = {"done": 0, "last": -1}
    score = Engine.score

    def counted(self: Engine, table: PairTable, **options: Any) -> Scored:
        if calls["done"] == calls["last"]:
            raise KeyboardInterrupt
        calls["done"] += 1
        return score(self, table, **options)

    def press(last: int) -> None:
        calls.update(done=0, last=last)

    monkeypatch.setattr(zero_shot, "CHUNK", 6)
    monkeypatch.setattr(Engine, "score", counted)
    return press


@pytest.mark.parametrize("ended", [0, 1, 2])
def test_resume_equals_an_unbroken_run(
    classify: Callable[..., int],
    interrupt: Interrupt,
    checkpoint_dir: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    ended: int,
) -> None:
    source = write_file(tmp_path / "a.csv", TEXTS, ["体育"] * len(TEXTS))
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    labelled = ("--input", source, "--label-column", "label", "--output")
    assert classify(*labelled, whole) == 0
    tables = capfd.readouterr().out
    interrupt(ended)
    assert classify(*labelled, broken) == 130
    captured = capfd.readouterr()
    assert (
        f"interrupted: {2 * ended} texts are answered; they are kept, and the same command with --resume"
        in captured.err
    )
    assert not broken.exists()
    hidden = tmp_path / ".broken.jsonl.unfinished"
    with hidden.open("ab") as stream:
        stream.write('{"line": 9, "text": "写到一半'.encode()[:-1])
    interrupt(-1)
    assert classify(*labelled, broken, "--resume") == 0
    assert broken.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "broken.jsonl", "whole.jsonl"]
    resumed = capfd.readouterr().out
    assert f"broken.jsonl: {2 * ended} texts were answered before" in resumed
    assert resumed.splitlines()[2:-1] == tables.splitlines()[1:-1]
    assert resumed.splitlines()[-1] == f"answers: {broken}"


def test_what_is_of_another_run_is_not_taken_over(
    classify: Callable[..., int], interrupt: Interrupt, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, output = write_file(tmp_path / "a.txt", TEXTS), tmp_path / "a.jsonl"
    options = ("--input", source, "--output", output)
    for changed in (("--template", "{}新闻"), ("--max-length", 64), ("--limit", 5), ("--prompt-position", "suffix")):
        interrupt(1)
        assert classify(*options) == 130
        interrupt(-1)
        assert classify(*options, *changed, "--resume") == 0
        assert "is of other texts, options or weights; begins anew" in capfd.readouterr().out
    interrupt(1)
    assert classify(*options) == 130
    source.write_text("别的\n" * 3, encoding="utf-8")
    interrupt(-1)
    assert classify(*options, "--resume") == 0
    assert [row["text"] for row in read_lines(output)] == ["别的"] * 3
    assert classify(*options, "--resume") == 0
    assert "nothing was answered before; begins" in capfd.readouterr().out


def test_an_error_leaves_the_output_as_it_was(
    classify: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "a.jsonl"
    output.write_text("as it was", encoding="utf-8")

    def broken(*_arguments: object, **_options: object) -> np.ndarray:
        raise UserError("no scores today")

    monkeypatch.setattr(Engine, "score", broken)
    with pytest.raises(UserError, match="today"):
        classify("--text", "a", "--output", output)
    assert output.read_text(encoding="utf-8") == "as it was"


def test_a_signal_in_the_middle(checkpoint_dir: Path, tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.txt", [f"第{place}句话" for place in range(90)])
    command = ["--model", str(checkpoint_dir), "--labels", LABELS, "--input", str(source)]
    command += ["--output", str(tmp_path / "b")]
    hidden = tmp_path / ".b.unfinished"
    process = slow_run.start(command, pause=0.3)
    while process.poll() is None and not (hidden.exists() and hidden.read_bytes().count(b"\n") > 20):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "texts are answered; they are kept" in errors
    process = slow_run.start([*command, "--resume"], pause=0)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "were answered before" in out
    assert int(out.split("scored ")[1]) <= 3 * 70
    assert [row["line"] for row in read_lines(tmp_path / "b")] == list(range(1, 91))


def test_pipes(
    classify: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    interrupt: Interrupt,
) -> None:
    """Standard input and output: answers alone on the one, all else on the other; what was answered is never lost."""
    data = "".join(f"{text}\n\n" for text in TEXTS).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert classify("--input", "-", "--output", "-", "--verbose") == 0
    captured = capfd.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [(row["line"], row["text"]) for row in rows] == [(2 * i + 1, text) for i, text in enumerate(TEXTS)]
    assert captured.err.startswith("7 texts x 3 labels = 21 pairs")
    assert "first scores after" in captured.err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    interrupt(1)
    assert classify("--input", "-", "--output", tmp_path / "a") == 130
    hidden = tmp_path / ".a.unfinished"
    assert f"2 texts are answered; they are in {hidden}, below its first line" in capfd.readouterr().err
    assert [row["text"] for row in read_lines(hidden)[1:]] == TEXTS[:2]
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    interrupt(-1)
    assert classify("--input", fifo, "--output", tmp_path / "b") == 0
    writer.join()
    assert [row["text"] for row in read_lines(tmp_path / "b")] == TEXTS


def test_a_link_is_never_followed(classify: Callable[..., int], tmp_path: Path, expect_error: ErrorLine) -> None:
    precious = tmp_path / "precious"
    precious.write_text("x", encoding="utf-8")
    (tmp_path / "link").symlink_to(precious)
    assert classify("--text", "a", "--output", tmp_path / "link") == 0
    assert precious.read_text(encoding="utf-8") == "x"
    assert not (tmp_path / "link").is_symlink()
    (tmp_path / ".b.unfinished").symlink_to(precious)
    with pytest.raises(UserError, match="a symbolic link"):
        classify("--text", "a", "--output", tmp_path / "b")
    assert precious.read_text(encoding="utf-8") == "x"


def test_one_run_at_a_time(classify: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []
    score = Engine.score

    def meanwhile(self: Engine, table: PairTable, **options: Any) -> Scored:
        monkeypatch.setattr(Engine, "score", score)
        with pytest.raises(UserError, match="another run is writing there") as found:
            classify("--text", "b", "--output", tmp_path / "a")
        refused.append(str(found.value))
        return score(self, table, **options)

    monkeypatch.setattr(Engine, "score", meanwhile)
    assert classify("--text", "a", "--output", tmp_path / "a") == 0
    assert len(refused) == 1
    assert [row["text"] for row in read_lines(tmp_path / "a")] == ["a"]


def test_a_reader_that_goes_away_ends_the_run(
    classify: Callable[..., int], monkeypatch: pytest.MonkeyPatch, interrupt: Interrupt
) -> None:
    class Closed(io.StringIO):
        error = None
        encoding = "gbk"

        def flush(self) -> None:
            self.error = BrokenPipeError()

    out = Closed()
    monkeypatch.setattr(sys, "stdout", out)
    texts = [word for text in TEXTS for word in ("--text", text)]
    assert classify(*texts, "--output", "-") == 0
    assert len(out.getvalue().splitlines()) == 1
    assert out.getvalue().isascii()  # where the stream is not UTF-8 JSON's escapes say the same
    assert json.loads(out.getvalue())["text"] == TEXTS[0]


def test_a_full_disk_keeps_what_fits(
    classify: Callable[..., int],
    tmp_path: Path,
    interrupt: Interrupt,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Full(io.FileIO):
        def write(self, data: bytes) -> int:
            room = 1200 - self.tell()
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:room])

    source, output = write_file(tmp_path / "a.txt", TEXTS), tmp_path / "b"
    with monkeypatch.context() as patched:
        patched.setattr("nsp_bert.results.answers.open_alone", lambda path: Full(path, "w+"))
        with pytest.raises(UserError, match=r"No space left on device.*make room, then run again with --resume"):
            classify("--input", source, "--output", output)
    assert (tmp_path / ".b.unfinished").stat().st_size == 1200
    assert not output.exists()
    assert classify("--input", source, "--output", output, "--resume") == 0
    assert f"{output}: 4 texts were answered before" in capfd.readouterr().out
    assert [row["text"] for row in read_lines(output)] == TEXTS
