"""The workers of a Ray cluster give the files of a single machine, also when one of them is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import write_rows

import nsp_bert_classification as classification


@pytest.fixture
def ray_is_shut_down() -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="ray is optional")
    yield
    ray.shutdown()


def workers_of(parent: int) -> list[int]:
    """Return the processes of Ray's workers below a process, oldest first."""
    found, family = [], {parent}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            stat, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(stat.rsplit(")", 1)[1].split()[1]) in family:
            family.add(int(folder.name))
            if command.startswith(b"ray::Worker"):
                found.append(int(folder.name))
    return found


def kill_one(folder: Path, killed: list[int]) -> None:
    """Wait for the first scores, then kill a worker."""
    done = 0
    while done < 50:
        time.sleep(0.02)
        files = list(folder.glob("*.scores.unfinished"))
        done = sum(int(np.isfinite(np.fromfile(path, np.float32)).sum()) for path in files)
    workers = workers_of(os.getpid())
    os.kill(workers[0], signal.SIGKILL)
    killed += workers


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers by /proc")
@pytest.mark.usefixtures("ray_is_shut_down")
def test_a_lost_worker_changes_nothing(checkpoint_dir: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [
        "".join(chr(code) for code in rng.integers(0x4E00, 0x9FA0, length)) for length in rng.integers(5, 90, 1500)
    ]
    rows = [{"id": index, "sentence": text, "label": "Positive"} for index, text in enumerate(texts)]
    write_rows(tmp_path / "data" / "eprstmt" / "test_public.json", rows)
    common = ["--model", str(checkpoint_dir), "--dataset", "eprstmt", "--data-dir", str(tmp_path / "data")]
    common += ["--batch-tokens", "256", "--output"]
    killed: list[int] = []
    killer = threading.Thread(target=kill_one, args=(tmp_path / "ray", killed), daemon=True)
    killer.start()
    assert classification.main([*common, str(tmp_path / "ray"), "--distributed", "ray", "--workers", "2"]) == 0
    killer.join(5)
    assert len(killed) == 2
    assert classification.main([*common, str(tmp_path / "alone")]) == 0
    name = "eprstmt.test_public.jsonl"
    assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--distributed", "spark"], "neither ray"),
        (["--workers", "2"], "--workers is about --distributed"),
    ],
)
def test_wrong_options_are_named(expect_error, checkpoint_dir: Path, options: list[str], reason: str) -> None:
    line = expect_error(classification.main, "--model", checkpoint_dir, "--dataset", "eprstmt", *options)
    assert reason in line
