"""Windows of pairs scored by the workers of a Ray cluster (`--distributed ray`): each of them holds the model.

A worker encodes and batches a window by itself, as a single machine does, so the scores are the same to the bit on
processors of the same kind; the driver hands out windows and collects scores. A worker that is lost is started anew and
what it was scoring is sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.errors import UserError, first_line
from nsp_bert.files import ROOT
from nsp_bert.scoring.backends import Ahead, Backend, Part, load_backend
from nsp_bert.scoring.outputs import Output
from nsp_bert.scoring.windows import Batch, Window

IN_FLIGHT = 2  # calls a worker: one is computed while the next one travels
QUICK = 0.2  # seconds: where a call takes less, the next ones are larger
KEPT_BACK = [".git", ".venv", "datasets", "models", "results", "tests", "*.unfinished"]  # workers need the code alone
LoadBackend = Callable[[str, Checkpoint, str, Output], Backend]


class Worker:
    """A backend in a process of its own."""

    def __init__(
        self, load: LoadBackend, name: str, checkpoint: Checkpoint, precision: str, output: Output, cores: int | None
    ):
        """Load the backend, for so many cores, or all."""
        backend = load(name, checkpoint, precision, output)
        self._backend = replace(backend, streams=min(backend.streams, cores or backend.streams))
        self._lock = Lock()
        self._window: object = None
        self._batches: list[Batch] = []

    def properties(self) -> tuple[int, int]:
        """Return streams and batch tokens of the backend."""
        return self._backend.streams, self._backend.batch_tokens

    def score(self, sent: list[Any], first: int, count: int) -> tuple[list[Part], bool]:
        """Return the scores of so many batches of a window from one on, and whether these were the last.

        `sent` holds the reference of (window, batch tokens) alone: in a list Ray does not fetch it for every call.
        """
        batches = self._batches_of(sent[0])
        chosen = batches[first : first + count]
        return list(self._backend.score(iter(chosen))), first + count >= len(batches)

    def _batches_of(self, reference: Any) -> list[Batch]:
        """Return the batches of a window, which stay for the calls that follow."""
        import ray

        with self._lock:  # else two calls would encode the same window
            if self._window != reference:
                window, batch_tokens = ray.get(reference)
                self._window, self._batches = reference, window.batches(batch_tokens)
            return self._batches


@dataclass
class Sent:
    """A window in Ray's store, how many of its batches have been handed out, and whether that is all of them."""

    reference: Any
    taken: int = 0
    spent: bool = False


@dataclass
class Hand:
    """A worker as the driver sees it: the actor, how many batches a call gives it, and the window that it is at."""

    actor: Any
    batches: int
    window: Sent | None = None

    def call(self, window: Sent) -> Any:
        """Let the worker score the next batches of a window; return the reference of its answer."""
        first = window.taken
        window.taken += self.batches
        return self.actor.score.remote([window.reference], first, self.batches)


@dataclass(frozen=True)
class Crew:
    """The workers, each with its streams; `batch_tokens` is what suits their devices."""

    ray: Any
    actors: list[tuple[Any, int]]
    batch_tokens: int

    def parts(self, windows: Iterator[Window], batch_tokens: int, ahead: Ahead) -> Iterator[Part]:
        """Yield the scores of the windows' pairs as the workers return them."""
        coming = ahead(Sent(self.ray.put((window, batch_tokens))) for window in windows)
        hands = [Hand(*actor) for actor in self.actors]
        calls: dict[Any, tuple[Hand, Sent, float]] = {}

        def send(hand: Hand) -> None:
            if window := _next_window(hand, coming, hands):
                calls[hand.call(window)] = hand, window, time.monotonic()

        for hand in hands * IN_FLIGHT:
            send(hand)
        while calls:
            (done,), _ = self.ray.wait([*calls])
            hand, window, began = calls.pop(done)
            parts, last = self.ray.get(done)
            window.spent |= last
            if not last and time.monotonic() - began < QUICK:
                hand.batches *= 2
            send(hand)
            yield from parts

    def reload(self, _checkpoint: Checkpoint) -> bool:
        """Return that workers cannot: one that is lost and started anew would load the first checkpoint."""
        return False


def _next_window(hand: Hand, coming: Iterator[Sent], hands: list[Hand]) -> Sent | None:
    """Return what a worker scores next: its own window to the end, as it has encoded it, a new one, or another's."""
    if hand.window is None or hand.window.spent:
        others = (other.window for other in hands if other.window and not other.window.spent)
        hand.window = next(coming, None) or next(others, None)
    return hand.window


def load_ray(
    address: str,
    workers: int | None,
    name: str,
    checkpoint: Checkpoint,
    precision: str,
    output: Output = "next-sentence",
    load: LoadBackend = load_backend,
) -> Crew:
    """Start the workers, on this machine for the address `ray`, else on the cluster `ray://HOST:PORT`.

    The checkpoint's folder has to be there on every machine. Raises UserError when Ray is missing or out of reach.
    """
    ray = _connect(address)
    share, count = _share(ray, workers)
    options = {
        "max_restarts": -1,
        "max_task_retries": -1,
        "max_concurrency": IN_FLIGHT,
        "scheduling_strategy": "SPREAD",
    }
    actor = ray.remote(Worker).options(**options, **share)
    crew = [actor.remote(load, name, checkpoint, precision, output, share.get("num_cpus")) for _ in range(count)]
    try:
        properties = ray.get([one.properties.remote() for one in crew])
    except ray.exceptions.RayError as error:
        raise UserError(f"--distributed {address}: a worker cannot load the model ({first_line(error)})") from error
    actors = [(one, streams) for one, (streams, _) in zip(crew, properties, strict=True)]
    return Crew(ray, actors, properties[0][1])


def _connect(address: str) -> Any:
    """Return the module `ray`, connected."""
    if address != "ray" and not address.startswith("ray://"):
        raise UserError(f"--distributed {address}: neither ray (this machine) nor ray://HOST:PORT (a cluster)")
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--distributed ray needs packages more: pip install --no-deps -r requirements/ray.txt"
        ) from error
    if ray.is_initialized():
        return ray
    local = {"address": "local", "include_dashboard": False} if address == "ray" else {"address": address}
    environment: dict[str, Any] = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    if address != "ray":
        environment = {"working_dir": str(ROOT), "excludes": KEPT_BACK}
    try:
        ray.init(runtime_env=environment, logging_level=logging.ERROR, log_to_driver=False, **local)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"--distributed {address}: no such cluster ({first_line(error)}); see ray status") from error
    return ray


def _share(ray: Any, workers: int | None) -> tuple[dict[str, int], int]:
    """Return what each worker takes of the cluster, a GPU or its part of the cores, and how many there are."""
    there = ray.cluster_resources()
    if gpus := int(there.get("GPU", 0)):
        return {"num_gpus": 1}, workers or gpus
    count = workers or len(ray.nodes())
    return {"num_cpus": max(int(there["CPU"]) // count, 1)}, count
