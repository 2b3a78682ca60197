"""The workers of a Ray cluster give the files of a single machine, also when one of them is killed."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slow_run
from conftest import ROOT, write_rows
from hypothesis import given
from hypothesis import strategies as st

import nsp_bert_classification as classification
from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.encoding import encode_label_pairs
from nsp_bert.errors import UserError
from nsp_bert.scoring import scorer as scoring
from nsp_bert.scoring.backends import Backend
from nsp_bert.scoring.distributed import Crew, Worker, _connect, _share
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import EncodedPair, PairEncoder


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


class RayHere(ModuleType):
    """Ray whose workers compute in this process, at once, and whose answers come in any order."""

    def __init__(self, seed: int):
        super().__init__("ray")
        self._store: list[Any] = []
        self._random = np.random.default_rng(seed)
        self.working = False

    def put(self, value: Any) -> int:
        self._store.append(pickle.dumps(value))
        return len(self._store) - 1

    def get(self, reference: int) -> Any:
        return pickle.loads(self._store[reference])

    def wait(self, references: list[int]) -> tuple[list[int], list[int]]:
        first = int(self._random.integers(len(references)))
        return [references[first]], references[:first] + references[first + 1 :]

    def actor(self, worker: Worker) -> SimpleNamespace:
        def remote(sent: list[int], first: int, count: int) -> int:
            self.working = True
            answer = worker.score(sent, first, count)
            self.working = False
            return self.put(answer)

        return SimpleNamespace(score=SimpleNamespace(remote=remote))


tokenised: list[tuple[str, bool]] = []


def where_tokenised(text: str) -> list[int]:
    """Return the ordinals, and note whether a worker asked for them."""
    tokenised.append((text, sys.modules["ray"].working))
    return ordinals(text)


def ordinals(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def summing(rows: list[int]) -> Callable[..., Backend]:
    """Return a loader of a backend that adds up token ids, and notes the rows of every batch."""

    def load(*_arguments: object) -> Backend:
        def log_odds(ids: np.ndarray, segments: np.ndarray, _positions: np.ndarray) -> np.ndarray:
            rows.append(len(ids))
            return (ids.sum(1) + 0.5 * segments.sum(1)).astype(np.float32)

        return Backend(log_odds, streams=2, batch_tokens=64)

    return load


def worker(rows: list[int]) -> Worker:
    return Worker(summing(rows), "", Checkpoint, "", "next-sentence", 1)


@given(
    texts=st.lists(st.text("abc", max_size=9), max_size=40),
    window=st.integers(1, 50),
    batches=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    encoded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_workers_share_windows(texts: list[str], window: int, batches: list[int], encoded: bool, seed: int) -> None:
    """Every worker takes so many batches a call, and nothing is scored twice: the rows are those of one machine."""
    every: Iterable[EncodedPair] = encode_label_pairs(
        PairEncoder(ordinals, 1, 2, 12), texts, ["ab", "", "ab", "b"], "prefix"
    )
    pairs = list(every) if encoded else every
    ray, rows_here, rows_there = RayHere(seed), [], []
    crew = [(ray.actor(worker(rows_there)), count) for count in batches]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ray", ray)
        patch.setattr(scoring, "WINDOW_PAIRS", window)
        alone = Scorer(Checkpoint, load=summing(rows_here)).score(pairs, 4 * len(texts)).values
        shared = Scorer(Checkpoint, load=lambda *_: Crew(ray, crew, 64)).score(pairs, 4 * len(texts)).values
    assert np.array_equal(alone, shared)
    assert sorted(rows_here) == sorted(rows_there)


def test_texts_are_tokenised_by_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = RayHere(0)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(scoring, "WINDOW_PAIRS", 6)
    tokenised.clear()
    pairs = encode_label_pairs(PairEncoder(where_tokenised, 1, 2, 12), ["t", "u", "v", "w"], ["p", "q", "r"], "suffix")
    crew = Crew(ray, [(ray.actor(worker([])), 1)], 64)
    assert Scorer(Checkpoint, load=lambda *_: crew).score(pairs, 12).complete
    assert sorted(tokenised) == [("p", False), ("q", False), ("r", False), *((text, True) for text in "tuvw")]


def test_who_has_no_window_helps_with_another_s(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = RayHere(0)
    monkeypatch.setitem(sys.modules, "ray", ray)
    pairs = [EncodedPair([2, number, 3], 2) for number in range(5, 65)]
    rows: list[list[int]] = [[], [], []]
    crew = Crew(
        ray,
        [(ray.actor(worker(one)), 1) for one in rows],
        batch_tokens=6,
    )
    assert Scorer(Checkpoint, load=lambda *_: crew).score(pairs, 60).complete
    assert min(map(len, rows)) >= 2
    assert sum(map(len, rows)) == 30
