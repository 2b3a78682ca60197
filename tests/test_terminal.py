"""What is in the place of a terminal: closed, full, without a reader, without Chinese; signals; tables; no markup."""

from __future__ import annotations

from nsp_bert.start import refusal

import io
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import slow_run
from conftest import ROOT, RandomScorer, write_rows
from rich.cells import cell_len

import nsp_bert_classification as classification
from nsp_bert.own_texts import SHOWN_LABELS, print_confusion
from nsp_bert.results.answers import AnswerTable, TextAnswer
from nsp_bert.results.summary import Confusion
from nsp_bert.terminal import progress_bar

COMMAND = [sys.executable, "nsp_bert_sentence_pair.py", "--dataset", "bustm"]


def shell(redirection: str, checkpoint: Path, output: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the sentence pair script under a shell's redirection, with an output folder."""
    words = " ".join([*COMMAND, "--model", str(checkpoint), "--output", str(output)])
    return subprocess.run(
        ["bash", "-c", f"{words} {redirection}"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize(
    ("redirection", "status"),
    [
        ("| true; exit ${PIPESTATUS[0]}", 141),
        ("| head -n 1 >/dev/null; exit ${PIPESTATUS[0]}", 141),
        (">/dev/full", 2),
        ("2>/dev/full", 0),
        (">&-", 0),
        ("2>&-", 0),
        ("<&- >&- 2>&-", 0),
    ],
)
def test_a_terminal_that_fails_loses_nothing(
    checkpoint_dir: Path, tmp_path: Path, redirection: str, status: int
) -> None:
    done = shell(redirection, checkpoint_dir, tmp_path)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "bustm.test_public.json").read_text(encoding="utf-8"))["complete"]
    if redirection == ">/dev/full":
        assert done.stderr.count("error: standard output cannot be written (No space left on device)") == 1


def test_a_terminal_without_chinese_and_python_o(checkpoint_dir: Path, tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONOPTIMIZE": "1"}
    ascii_only |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}  # once for both
    words = [sys.executable, "nsp_bert_classification.py", "--labels", "体育,财经", "--text", "主场取胜"]
    done = subprocess.run(
        [*words, "--model", str(checkpoint_dir)],
        cwd=ROOT,
        env=os.environ | ascii_only | {"LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rb"\u4e3b\u573a" in done.stdout
    assert shell("", checkpoint_dir, tmp_path, **ascii_only).returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_keep_what_was_scored(checkpoint_dir: Path, tmp_path: Path, number: int, status: int) -> None:
    arguments = ["--model", str(checkpoint_dir), "--dataset", "eprstmt", "--output", str(tmp_path)]
    process = slow_run.start(arguments, pause=1.5)
    slow_run.wait_for_scores(tmp_path, 40, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in errors
    summary = json.loads((tmp_path / "eprstmt.test_public.json").read_text(encoding="utf-8"))
    assert not summary["complete"]
    rows = (tmp_path / "eprstmt.test_public.jsonl").read_text(encoding="utf-8").splitlines()
    assert 0 < summary["n"] == len(rows) < 40
    process = slow_run.start([*arguments, "--resume"], pause=0)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert int(out.split("scored ")[1]) <= 40
    assert json.loads((tmp_path / "eprstmt.test_public.json").read_text(encoding="utf-8"))["complete"]


def test_ctrl_c_while_packages_load_is_quiet() -> None:
    """The key is pressed right after the first import."""
    done = subprocess.run(
        [sys.executable, "-c", "import nsp_bert.start\nraise KeyboardInterrupt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr == "interrupted\n"


def test_a_wrong_environment_is_named_before_anything_is_imported() -> None:
    assert refusal((3, 11), []) == ""
    assert refusal((3, 9), []).startswith("Python 3.9 is not supported, 3.10 to 3.13 are; ")
    assert refusal((3, 11), ["rich", "numpy"]).startswith("Python package missing: rich, numpy; ")
    done = subprocess.run(
        [sys.executable, "-S", "nsp_bert_cloze_style.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: Python package missing: numpy, ")
    assert len(done.stderr.splitlines()) == 1


TEXTS = ["[/微笑] 好", "[doge][bold]哈", ":smile: 1234 [red]x[/red]", "\x1b[31m红", "[link=http://a]b"]


def test_nothing_that_is_shown_is_markup(
    random_scores: type[RandomScorer], checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(checkpoint_dir), "--labels", "[/a],:smile:"]
    assert classification.main([*arguments, *(word for text in TEXTS for word in ("--text", text))]) == 0
    out = capfd.readouterr().out
    for text in TEXTS[:3] + TEXTS[4:]:
        assert text.split()[0] in out
    assert all(label in out for label in ("[/a]", ":smile:"))


def test_titles_and_templates_are_no_markup(
    random_scores: type[RandomScorer], checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": index, "sentence": text, "label": "Positive"} for index, text in enumerate(TEXTS)]
    write_rows(tmp_path / "data" / "eprstmt" / "test_public.json", rows)
    arguments = ["--model", str(checkpoint_dir), "--dataset", "eprstmt", "--data-dir", str(tmp_path / "data")]
    assert classification.main([*arguments, "--template", "[/微笑]:smile:{}", "--ablate"]) == 0
    assert "[/微笑]:smile:{}" in capfd.readouterr().out


@pytest.mark.parametrize("width", [50, 60, 80])
def test_answers_are_whole_on_a_narrow_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    labels = ["体育", "财经新闻", "教育", "娱乐", "军事", "科技"]
    table = AnswerTable()
    for label in labels:
        text = f"{label}：" + "主场作战的队伍以三比一取得了本赛季的第一场胜利，" * 3
        table.add(TextAnswer(text, label, {name: float(name == label) for name in labels}))
    table.close()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= width
    assert [line.split()[1] for line in lines if "：" in line] == labels


@pytest.mark.parametrize("width", [50, 60, 80])
def test_every_count_of_a_confusion_matrix_is_whole(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    labels = [f"标签{number}" for number in range(SHOWN_LABELS)]
    counts = [[1000 + len(labels) * row + place for place in range(len(labels))] for row in range(len(labels))]
    print_confusion(Confusion(labels=labels, counts=counts))
    out = capsys.readouterr().out
    assert max(map(cell_len, out.splitlines())) <= width
    assert {int(word) for word in out.split() if word.isdecimal()} == {count for row in counts for count in row}
    assert all(f"→ {label}" in out for label in labels)


def test_all_tables_are_of_one_style() -> None:
    folders = ("nsp_bert", "models", "datasets", "benchmarks", "baselines")
    sources = [*ROOT.glob("*.py"), *(path for name in folders for path in (ROOT / name).rglob("*.py"))]
    made = [path.name for path in sources if "rich.table" in path.read_text(encoding="utf-8")]
    assert made == ["terminal.py"]


class Stream(io.StringIO):
    """Standard error that is a terminal, or is not."""

    def __init__(self, terminal: bool):
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(("terminal", "show", "lines"), [(True, True, 8), (False, True, 0), (True, False, 0)])
def test_bars_move_on_a_terminal_and_are_quiet_in_a_log(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, show: bool, lines: int
) -> None:
    """Twenty steps in three seconds: a terminal sees them, a log of so short a run nothing, nor who asked for none."""
    stream = Stream(terminal)
    monkeypatch.setattr("sys.stderr", stream)
    clock = itertools.count(0, 0.15)
    monkeypatch.setattr("tqdm.std.time", lambda: next(clock))
    with progress_bar(20, "scoring", " pairs", show=show) as bar:
        for _ in range(20):
            bar.update()
    shown = stream.getvalue().split("\r")[1:]
    if not lines:
        assert not shown
    else:
        assert len(shown) >= lines
        assert "20.0/20.0" in shown[-1]


def test_half_a_character_on_the_command_line_is_refused(checkpoint_dir: Path) -> None:
    words = [sys.executable, "nsp_bert_classification.py", "--model", str(checkpoint_dir), "--labels", "a,b", "--text"]
    done = subprocess.run(
        [*map(os.fsencode, words), b"\xff\xfe"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(r"error: --text '\udcff\udcfe': not a text in utf-8")
