"""A classification run whose backend pauses before every batch, for tests that stop it in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import ROOT

from nsp_bert.scoring.score_files import RECORD

PROGRAM = """
import os, sys, time
from nsp_bert.scoring import backends
from nsp_bert.scoring import scorer
from nsp_bert import zero_shot
import nsp_bert_classification
from nsp_bert.terminal import run_main
scorer.WINDOW_PAIRS = zero_shot.CHUNK = 32
whole, calls = backends.BACKENDS["tensorflow"], []
def load(*arguments):
    backend = whole(*arguments)
    def log_odds(*inputs):
        calls.append(len(inputs[0]))
        time.sleep(float(os.environ["PAUSE"]))
        return backend.compute(*inputs)
    return backends.Backend(log_odds, 1, 512)
backends.BACKENDS["tensorflow"] = load
def main(arguments):
    status = nsp_bert_classification.main(arguments)
    print("scored", sum(calls))
    return status
run_main(main, sys.argv[1:])
"""


def start(arguments: list[str], pause: float) -> subprocess.Popen[str]:
    """Start nsp_bert_classification.py with a pause of so many seconds before every batch of 512 tokens."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        env=os.environ | {"PAUSE": str(pause)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # background jobs ignore it
    )


def wait_for_scores(folder: Path, count: int, process: subprocess.Popen[str] | None = None) -> None:
    """Wait until an output folder holds so many scores of a run that goes on, or the process has ended."""
    done = 0
    while done < count and (process is None or process.poll() is None):
        time.sleep(0.02)
        done = sum(scores_in(path) for path in folder.glob("*.scores.unfinished"))


def scores_in(path: Path) -> int:
    """Return how many scores the whole records of a journal hold: a head, then 12 bytes each."""
    records, scores = path.read_bytes().partition(b"\n")[2], 0
    while len(records) >= RECORD.size:
        count = RECORD.unpack_from(records)[1]
        size = RECORD.size + 12 * count
        if len(records) < size:
            break
        records, scores = records[size:], scores + count
    return scores
