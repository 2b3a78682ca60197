"""The engines of a comparison of speed: a process each, that loads once, and then all in turn, round by round.

Their scripts are speed_workers.py and pet_speed_workers.py; the former says what goes to and fro.
"""

from __future__ import annotations

import _root  # noqa: F401

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nsp_bert.errors import UserError
from nsp_bert.files import ROOT

RANDOM_SHAPES = {"base": (12, 768), "3-layers": (3, 768)}  # layers, width
PAUSE = 0.5  # seconds between two engines: thread pools that wait actively fall asleep
PEER = "hf-"  # begins the names of the engines that run in Hugging Face's environment


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add --model and --random."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--model",
        metavar="NAME_OR_DIR",
        help="a name in models/cards.yaml, or a checkpoint's folder (default: a random checkpoint)",
    )
    model.add_argument("--random", choices=RANDOM_SHAPES, default="base", help="a random checkpoint")


def add_peer_python(parser: argparse.ArgumentParser) -> None:
    """Add --peer-python."""
    parser.add_argument(
        "--peer-python",
        metavar="PATH",
        help="interpreter with torch and transformers, for hf-… (default: none, they are skipped)",
    )


class Worker:
    """The process of one engine; `facts` is what it said when it had loaded, `rounds` what it says of each run."""

    def __init__(self, script: str, name: str, job: Path, python: str) -> None:
        """Start it and wait until it has loaded. Raises UserError when it cannot be had."""
        self.name, self._job, self.rounds = name, job, []
        self._log = job.with_name(f"{name}.log")
        environment = os.environ | {"TQDM_DISABLE": "1"}
        command = [python, str(ROOT / "benchmarks" / script), name, str(job), str(time.monotonic())]
        try:
            with self._log.open("w") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
                )
        except OSError as error:
            raise UserError(f"{python}: {error.strerror}; --peer-python names an interpreter") from error
        self.facts = self._answer()

    def run(self) -> dict[str, np.ndarray]:
        """Do the job once more and return the arrays that it gives."""
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        self.rounds.append(self._answer())
        with np.load(self._job.with_name(f"{self.name}.npz")) as arrays:
            return dict(arrays)

    def close(self) -> None:
        """Let it end."""
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            self._process.wait()
            raise UserError(f"{self.name}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"ended with status {self._process.wait()}: {lines[-1] if lines else 'no message'}"


def load_workers(
    script: str, names: list[str], job: Path, peer_python: str | None
) -> tuple[dict[str, Worker], dict[str, str]]:
    """Load and warm up the engines of a script, one after the other; return those that run, and why others do not."""
    workers: dict[str, Worker] = {}
    skipped: dict[str, str] = {}
    for name in tqdm(names, desc="loading", leave=False):
        peer = name.startswith(PEER)
        if peer and not peer_python:
            skipped[name] = "give --peer-python PATH, an interpreter with torch and transformers"
            continue
        try:
            worker = Worker(script, name, job, peer_python if peer else sys.executable)
            worker.run()
            workers[name] = worker
        except UserError as error:
            skipped[name] = str(error).removeprefix(f"{name}: ")
    return workers, skipped


def run_rounds(workers: dict[str, Worker], rounds: int) -> Iterator[dict[str, dict[str, np.ndarray]]]:
    """Run all engines in turn, and yield their arrays after each round."""
    for _ in tqdm(range(rounds), desc="rounds", leave=False):
        arrays = {}
        for name, worker in workers.items():
            time.sleep(PAUSE)
            arrays[name] = worker.run()
        yield arrays
