"""A long run, killed in the middle and resumed: how much memory, what is scored again, are the results the same?

  python benchmarks/killed_run.py --output killed_run.json

First the control, 50,000 pairs: nsp_bert_classification.py runs once without a break, and once with SIGKILL in the
middle and --resume; the result files must be equal but for times. Then the long run of 1,000,000 pairs is killed and
resumed: what the kill left on disk must be in the result, and of the seconds of both runs the resumed one should take
the share that its pairs are. Texts are drawn at random, all different, in the format of a dataset with few labels. Peak
memory is the process's VmHWM, read several times a second, so this needs Linux. Exit status: 1 when a check fails.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from generated import characters, random_texts, write_split
from speed_report import machine

from nsp_bert.cards import ClassificationCard, cards_of, load_card
from nsp_bert.checkpoints.checkpoint import DEFAULT_MODEL, open_checkpoint
from nsp_bert.cli import new_parser, positive
from nsp_bert.errors import UserError
from nsp_bert.files import ROOT, write_text
from nsp_bert.results.runs import FIGURES, prepare_output, versions
from nsp_bert.scoring.backends import BACKENDS, PRECISIONS
from nsp_bert.terminal import new_table, plain_console, run_main

LENGTH = 16  # characters of a text
POLL = 0.2  # seconds
TIMES = ("seconds", "pairs_per_second")  # of a result file: they may differ
UNFINISHED = "*.scores.unfinished"


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--pairs", type=positive, default=1_000_000, metavar="N", help="of the long run")
    parser.add_argument("--control-pairs", type=positive, default=50_000, metavar="N", help="of the control")
    parser.add_argument("--kill-at", type=float, default=0.5, metavar="SHARE", help="of the scores")
    names = [card.name for card in cards_of(ClassificationCard)]
    parser.add_argument("--dataset", choices=names, default="eprstmt", metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME_OR_DIR",
        help="a name in models/cards.yaml, or a checkpoint's folder",
    )
    parser.add_argument("--backend", choices=tuple(BACKENDS), default="tensorflow", help="of the script")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the script")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything measured as JSON (default: none)")
    return parser.parse_args(arguments)


class Script:
    """Runs the real script on a generated data folder; `card` describes the dataset."""

    def __init__(self, options: argparse.Namespace, folder: Path, pairs: int) -> None:
        """Generate the texts of at least `pairs` pairs."""
        self.card, self.folder = load_card(options.dataset), folder
        self.rows = -(-pairs // len(self.card.labels))
        self.pairs = self.rows * len(self.card.labels)
        letters = characters(open_checkpoint(options.model).vocab_path)
        path = folder / "data" / self.card.path.format(split=self.card.split)
        write_split(path, self.card, random_texts(letters, self.rows, LENGTH))
        names = ("dataset", "model", "backend", "precision")
        chosen = [word for name in names for word in (f"--{name}", getattr(options, name))]
        self._command = [sys.executable, ROOT / "nsp_bert_classification.py", *chosen, "--data-dir", folder / "data"]

    def run(self, output: Path, *more: str, stop_at: float | None = None) -> dict[str, Any]:
        """Run to the end, or kill it once the share `stop_at` has scores; return seconds and peak memory in MiB.

        Raises UserError when the script fails, or ends before it could be killed.
        """
        began, peak, log = time.monotonic(), 0.0, self.folder / "log"
        command = [*map(str, [*self._command, "--output", output, *more])]
        with log.open("w") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream)
        while process.poll() is None:
            peak = max(peak, peak_mib(process.pid))
            if stop_at is not None and self.scored(output) >= stop_at * self.pairs:
                process.send_signal(signal.SIGKILL)
                process.wait()
                break
            time.sleep(POLL)
        expected = 0 if stop_at is None else -signal.SIGKILL
        if process.returncode != expected:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise UserError(f"the script ended with status {process.returncode}, not {expected}: {' '.join(last)}")
        return {"seconds": time.monotonic() - began, "peak_rss_mib": peak}

    def scores(self, output: Path) -> np.ndarray:
        """Return what an unfinished run has on disk, float32 (pairs,), NaN where none is; empty without a file."""
        paths = [*output.glob(UNFINISHED)]
        return np.fromfile(paths[0], np.float32) if paths else np.empty(0, np.float32)

    def scored(self, output: Path) -> int:
        """Return how many pairs of an unfinished run have a score on disk; a file still being filled has none."""
        scores = self.scores(output)
        return int((~np.isnan(scores)).sum()) if len(scores) == self.pairs and np.isnan(scores[-1]) else 0

    def results(self, output: Path) -> dict[str, Any]:
        """Return the result files by name: their text, and of the summary what does not tell times."""
        files: dict[str, Any] = {path.name: path.read_bytes() for path in sorted(output.iterdir())}
        summary = f"{self.card.name}.{self.card.split}.json"
        files[summary] = {key: value for key, value in json.loads(files[summary]).items() if key not in TIMES}
        return files

    def log_odds(self, output: Path) -> np.ndarray:
        """Return the scores of a finished run as its file has them, (pairs,)."""
        with (output / f"{self.card.name}.{self.card.split}.jsonl").open(encoding="utf-8") as stream:
            return np.array([score for line in stream for score in json.loads(line)["scores"]])


def peak_mib(process: int) -> float:
    """Return the most memory that a process has held, in MiB; 0 when it has ended."""
    try:
        match = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0.0
    return int(match[1]) / 1024 if match else 0.0


def kill_and_resume(script: Script, output: Path, kill_at: float) -> dict[str, Any]:
    """Kill a run, resume it, and return what both took and whether what was there has been kept."""
    killed = script.run(output, stop_at=kill_at)
    before = script.scores(output)
    there = ~np.isnan(before)
    resumed = script.run(output, "--resume")
    after = script.log_odds(output)
    kept = bool(np.abs(after[there] - before[there]).max() <= 10.0**-FIGURES)
    return {
        "pairs": script.pairs,
        "scored_before_the_kill": int(there.sum()),
        "killed_run": killed,
        "resumed_run": resumed,
        "kept": kept,
        "complete": len(after) == script.pairs,
    }


def control(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return whether a killed and resumed run writes what an unbroken one writes."""
    script = Script(options, folder, options.control_pairs)
    whole = script.run(folder / "whole")
    broken = kill_and_resume(script, folder / "broken", options.kill_at)
    equal = script.results(folder / "whole") == script.results(folder / "broken")
    return broken | {"whole_run": whole, "equal_files": equal}


def long_run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what a long run takes that is killed and resumed."""
    script = Script(options, folder, options.pairs)
    figures = kill_and_resume(script, folder / "long", options.kill_at)
    summary = json.loads((folder / "long" / f"{script.card.name}.{script.card.split}.json").read_text(encoding="utf-8"))
    return figures | {"scoring_seconds_of_the_resumed_run": summary["seconds"]}


def print_table(parts: dict[str, dict[str, Any]]) -> None:
    """Print a row per run."""
    table = new_table(("run", "pairs scored", "seconds", "peak MiB"))
    for title, part in parts.items():
        before = part["scored_before_the_kill"]
        counts = {"whole_run": part["pairs"], "killed_run": before, "resumed_run": part["pairs"] - before}
        for name, count in counts.items():
            if name in part:
                figures = (f"{part[name]['seconds']:.1f}", f"{part[name]['peak_rss_mib']:.0f}")
                table.add_row(f"{title}, {name.removesuffix('_run')}", f"{count}", *figures)
    plain_console().print(table)


def resumed_shares(part: dict[str, Any]) -> str:
    """Return what share of pairs and of seconds the resumed run had."""
    pairs = 1 - part["scored_before_the_kill"] / part["pairs"]
    resumed, killed = part["resumed_run"]["seconds"], part["killed_run"]["seconds"]
    return (
        f"the resumed run had {pairs:.1%} of the pairs left and took {resumed / (resumed + killed):.1%} of the seconds"
    )


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    if not Path("/proc/self/status").is_file():
        raise UserError("peak memory is read from /proc, which this system has not; run it on Linux")
    if options.output:
        prepare_output(options.output.parent)
    jobs: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {"control": control, "long run": long_run}
    parts = {}
    for title, job in jobs.items():
        with tempfile.TemporaryDirectory() as folder:
            parts[title] = job(options, Path(folder))
    print_table(parts)
    print(f"long run: {resumed_shares(parts['long run'])}")
    checks = {
        f"{title}: {name.replace('_', ' ')}": part[name]
        for title, part in parts.items()
        for name in ("kept", "complete", "equal_files")
        if name in part
    }
    print("\n".join(f"{name}: {'yes' if passed else 'NO'}" for name, passed in checks.items()))
    if options.output:
        report = {"machine": machine(), "versions": versions(), "checks": checks} | parts
        write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", options.output)
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    run_main(main)
