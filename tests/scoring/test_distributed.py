"""The workers of a Ray cluster give the files of a single machine, also when one of them is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import slow_run
from conftest import ROOT, write_rows

import nsp_bert_classification as classification
from nsp_bert.errors import UserError
from nsp_bert.scoring.distributed import _connect, _share


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
    slow_run.wait_for_scores(folder, 50)
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


class FakeRay(ModuleType):
    """Ray as far as connecting and sharing go; it notes what it was asked."""

    def __init__(self, resources: dict[str, float], nodes: int = 1):
        super().__init__("ray")
        self.resources, self.count = resources, nodes
        self.asked: dict[str, Any] = {}

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        if options["address"].endswith(":1"):
            raise ConnectionError("nobody answers\nat this port")
        self.asked = options

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def nodes(self) -> list[int]:
        return list(range(self.count))


def test_a_cluster_s_workers_get_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay({"CPU": 8})
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert _connect("ray://head:10001") is ray
    assert ray.asked["address"] == "ray://head:10001"
    assert ray.asked["runtime_env"]["working_dir"] == str(ROOT)
    assert "models" in ray.asked["runtime_env"]["excludes"]
    _connect("ray")
    assert ray.asked["address"] == "local"
    with pytest.raises(UserError, match=r"ray://head:1: no such cluster \(nobody answers\)"):
        _connect("ray://head:1")


@pytest.mark.parametrize(
    ("resources", "nodes", "workers", "expected"),
    [
        ({"CPU": 16, "GPU": 4}, 2, None, ({"num_gpus": 1}, 4)),
        ({"CPU": 16, "GPU": 4}, 2, 3, ({"num_gpus": 1}, 3)),
        ({"CPU": 16}, 2, None, ({"num_cpus": 8}, 2)),
        ({"CPU": 2}, 1, 4, ({"num_cpus": 1}, 4)),
    ],
)
def test_what_each_worker_takes(
    resources: dict[str, float], nodes: int, workers: int | None, expected: tuple[dict[str, int], int]
) -> None:
    assert _share(FakeRay(resources, nodes), workers) == expected
