"""Batches scored by the workers of a Ray cluster (`--distributed ray`): each of them holds the model.

The driver encodes the pairs and cuts the batches as for a single machine, so the scores are the same to the bit on
processors of the same kind. A worker that is lost is started anew and its batches are sent again.
"""

from __future__ import annotations

import logging
from queue import SimpleQueue
from typing import Any

import numpy as np

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.errors import UserError, first_line
from nsp_bert.files import ROOT
from nsp_bert.scoring.backends import Backend, load_backend

IN_FLIGHT = 2  # batches a core or GPU: one is computed while the next one travels
KEPT_BACK = [".git", ".venv", "datasets", "models", "results", "tests", "*.unfinished"]  # workers need the code alone


class Worker:
    """A backend in a process of its own."""

    def __init__(self, name: str, checkpoint: Checkpoint, precision: str):
        self._backend = load_backend(name, checkpoint, precision)

    def properties(self) -> tuple[int, int]:
        """Return streams and batch tokens of the backend."""
        return self._backend.streams, self._backend.batch_tokens

    def log_odds(self, *inputs: np.ndarray) -> np.ndarray:
        """Return log-odds float32 (B,) of token_ids, segment_ids, position_ids int32 (B, T)."""
        return self._backend(*(np.array(one) for one in inputs))


def load_ray(address: str, workers: int | None, name: str, checkpoint: Checkpoint, precision: str) -> Backend:
    """Start the workers, on this machine for the address `ray`, else on the cluster `ray://HOST:PORT`.

    The checkpoint's folder has to be there on every machine. Raises UserError when Ray is missing or out of reach.
    """
    ray = _connect(address)
    share, count = _share(ray, workers)
    crew = [
        ray.remote(Worker)
        .options(max_restarts=-1, max_task_retries=-1, max_concurrency=64, scheduling_strategy="SPREAD", **share)
        .remote(name, checkpoint, precision)
        for _ in range(count)
    ]
    try:
        properties = ray.get([one.properties.remote() for one in crew])
    except ray.exceptions.RayError as error:
        raise UserError(f"--distributed {address}: a worker cannot load the model ({first_line(error)})") from error
    places: SimpleQueue[Any] = SimpleQueue()
    for _ in range(IN_FLIGHT):
        for one, (streams, _) in zip(crew, properties, strict=True):
            for _ in range(min(streams, int(share.get("num_cpus", streams)))):
                places.put(one)

    def log_odds(*inputs: np.ndarray) -> np.ndarray:
        worker = places.get()
        try:
            return ray.get(worker.log_odds.remote(*inputs))
        finally:
            places.put(worker)

    return Backend(log_odds, streams=places.qsize(), batch_tokens=properties[0][1])


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
