"""The engines that speed.py compares, each in a process of its own that loads the model once and then waits.

speed.py starts  speed_workers.py ENGINE JOB STARTED  (STARTED: its monotonic clock, which processes share) and reads a
JSON line: {load_seconds, threads, versions}, or {error} when the engine cannot be had. Every line on standard input
then runs the job once: scores go to ENGINE.npz beside the job, a line of JSON tells seconds, peak memory in MiB and
the seconds from STARTED to the first scores. While it waits, an engine takes no processor time.

Engines import what they need when they load: Hugging Face's runs in an environment without TensorFlow.
"""

from __future__ import annotations

import _root  # noqa: F401

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from nsp_bert.errors import first_line

NAIVE_BATCH = 32  # rows, in file order
MATMUL_REPEATS = 5
PACKAGES = ("tensorflow", "tf-keras", "bert4keras", "openvino", "torch", "transformers", "numpy")

Job = dict[str, Any]
Arrays = dict[str, np.ndarray]


class Engine(NamedTuple):
    """`run` does the job once, from the job's texts or pairs to arrays; `threads` is batches at once x threads each."""

    run: Callable[[], Arrays]
    threads: str


class FirstScores:
    """Notes the seconds from `started` to the first scores that pass through."""

    def __init__(self, started: float) -> None:
        self.started, self.seconds = started, float("nan")

    def note(self, scores: np.ndarray) -> np.ndarray:
        """Return the scores as they are."""
        if np.isnan(self.seconds):
            self.seconds = time.monotonic() - self.started
        return scores


def load_naive(job: Job, first: FirstScores) -> Engine:
    """The loop of the authors' release: label by label, text by text, on bert4keras' model with its softmax.

    Each label tokenises every text again; batches of 32 stay in file order and are padded to their longest row. A
    label's score is the probability of IsNext.
    """
    os.environ["TF_CPU_ALLOCATOR_USE_BFC"] = "0"  # TensorFlow's own default, which ours changes
    from nsp_bert.environment import import_tensorflow
    from nsp_bert.scoring.backends import count_cores

    tf = import_tensorflow()
    from bert4keras.models import build_transformer_model
    from bert4keras.tokenizers import Tokenizer

    tokenizer = Tokenizer(job["vocabulary"], do_lower_case=job["do_lower_case"])
    model = build_transformer_model(job["config"], job["weights"], with_nsp=True)

    def batches(prompt: str) -> Iterator[list[np.ndarray]]:
        rows = []
        for text in job["texts"]:
            first_text, second_text = (prompt, text) if job["position"] == "prefix" else (text, prompt)
            rows.append(tokenizer.encode(first_text, second_text, maxlen=job["max_length"]))
            if len(rows) == NAIVE_BATCH:
                yield padded(rows)
                rows = []
        if rows:
            yield padded(rows)

    def run() -> Arrays:
        labels = []
        for prompt in job["prompts"]:
            labels.append(np.concatenate([first.note(model.predict(batch, verbose=0)) for batch in batches(prompt)]))
        shares = np.stack(labels, axis=1)  # (rows, labels, 2)
        with np.errstate(divide="ignore"):
            logs = np.log(shares)
        return {"log_odds": logs[..., 0] - logs[..., 1], "predictions": shares[..., 0].argmax(1)}

    return Engine(run, f"1 x {tf.config.threading.get_intra_op_parallelism_threads() or count_cores()}")


def padded(rows: list[tuple[list[int], list[int]]]) -> list[np.ndarray]:
    """Return token ids and segment ids (B, T) of rows that hold both, with zeros behind the shorter ones."""
    width = max(len(token_ids) for token_ids, _ in rows)
    return [np.array([part + [0] * (width - len(part)) for part in column]) for column in zip(*rows, strict=True)]


def load_hugging_face(precision: str, job: Job, first: FirstScores) -> Engine:
    """Hugging Face's model in PyTorch with its fused attention, on encoded pairs in batches of similar length."""
    import torch
    from hugging_face_models import hugging_face_model

    config = json.loads(Path(job["config"]).read_text(encoding="utf-8")) | {"attn_implementation": "sdpa"}
    model = hugging_face_model(config, dict(np.load(job["arrays"]))).to(getattr(torch, precision))
    lengths = np.array([len(token_ids) for token_ids, _ in job["pairs"]])
    order = np.argsort(-lengths, kind="stable")

    def inputs(places: np.ndarray) -> dict[str, Any]:
        token_ids = torch.zeros(len(places), int(lengths[places[0]]), dtype=torch.long)
        segments, mask = torch.zeros_like(token_ids), torch.zeros_like(token_ids)
        for row, place in enumerate(places):
            ids, first_length = job["pairs"][place]
            token_ids[row, : len(ids)] = torch.tensor(ids)
            segments[row, first_length : len(ids)] = 1
            mask[row, : len(ids)] = 1
        return {"input_ids": token_ids, "token_type_ids": segments, "attention_mask": mask}

    @torch.inference_mode()
    def run() -> Arrays:
        values, start = np.empty(len(order), np.float32), 0
        while start < len(order):
            places = order[start : start + max(job["peer_batch_tokens"] // int(lengths[order[start]]), 1)]
            logits = model(**inputs(places)).logits.float().numpy()
            values[places] = first.note(logits[:, 0] - logits[:, 1])
            start += len(places)
        return by_row(values, job)

    return Engine(run, f"1 x {torch.get_num_threads()}")


def load_ours(backend: str, precision: str, job: Job, first: FirstScores) -> Engine:
    """The scripts' own way from texts and prompts to log-odds, tokenising included."""
    from nsp_bert.answer_mapping import best_undecided
    from nsp_bert.checkpoints.checkpoint import open_checkpoint
    from nsp_bert.encoding import LabelPairs, encode_label_pairs
    from nsp_bert.scoring import exact
    from nsp_bert.scoring.backends import Backend, load_backend
    from nsp_bert.scoring.scorer import Scorer
    from nsp_bert.tokenization import make_pair_encoder

    checkpoint = open_checkpoint(job["model"])
    encoder = make_pair_encoder(checkpoint, job["max_length"])
    streams = []

    def load_noting(_: str, checkpoint: Any, precision: str, _output: Any) -> Backend:
        loaded = load_backend(backend, checkpoint, precision)
        streams.append(loaded.streams)
        return replace(loaded, compute=lambda *inputs: first.note(loaded.compute(*inputs)))

    @cache
    def scorer(precision: str) -> Scorer:
        return Scorer(checkpoint, precision, load=load_noting)

    def encode(texts: Iterable[str]) -> LabelPairs:
        return encode_label_pairs(encoder, texts, job["prompts"], job["position"])

    sizes = [len(job["prompts"])] * len(job["texts"])
    table = exact.PairTable(encode, job["texts"], sizes)
    exact.Engine(scorer, precision).load()

    def run() -> Arrays:
        engine = exact.Engine(scorer, precision)
        scored = engine.score(table)
        question = exact.Question([scored], partial(best_undecided, sizes=sizes))
        exact.settle_and_check([question], scored, sizes, lambda values: by_row(values, job)["predictions"].tolist())
        return by_row(scored.values, job) | ({"again": scored.exact.mean()} if engine.fast else {})

    return Engine(run, f"{streams[0]} x 1")


def by_row(log_odds: np.ndarray, job: Job) -> Arrays:
    """Return log-odds (rows * labels,) as (rows, labels), and the best label of each row."""
    table = log_odds.reshape(-1, len(job["prompts"]))
    return {"log_odds": table, "predictions": table.argmax(1)}


def load_matmul(job: Job, first: FirstScores) -> Engine:
    """The product of two large square matrices by TensorFlow: flops a second that the machine attains, per precision.

    A product of size N takes 2 N^3 flops; the best of several counts.
    """
    from nsp_bert.environment import import_tensorflow
    from nsp_bert.scoring.backends import count_cores

    tf = import_tensorflow()
    size = job["matmul_size"]
    matrices = {name: tf.cast(tf.random.normal((size, size)), name) for name in ("float32", "bfloat16")}

    def seconds(matrix: Any) -> float:
        began = time.perf_counter()
        tf.matmul(matrix, matrix)[0, 0].numpy()
        return time.perf_counter() - began

    def run() -> Arrays:
        best = {name: min(seconds(matrix) for _ in range(MATMUL_REPEATS)) for name, matrix in matrices.items()}
        first.note(np.empty(0))
        return {name: np.array(2 * size**3 / took) for name, took in best.items()}

    return Engine(run, f"1 x {count_cores()}")


ENGINES: dict[str, Callable[[Job, FirstScores], Engine]] = {
    "naive": load_naive,
    "hf-float32": partial(load_hugging_face, "float32"),
    "hf-bfloat16": partial(load_hugging_face, "bfloat16"),
    "tensorflow-float32": partial(load_ours, "tensorflow", "float32"),
    "tensorflow-bfloat16": partial(load_ours, "tensorflow", "bfloat16"),
    "tensorflow-auto": partial(load_ours, "tensorflow", "auto"),
    "openvino-float32": partial(load_ours, "openvino", "float32"),
    "openvino-bfloat16": partial(load_ours, "openvino", "bfloat16"),
    "openvino-auto": partial(load_ours, "openvino", "auto"),
    "matmul": load_matmul,
}


def peak_mib() -> float:
    """Return the most memory that this process has held, in MiB.

    Where there is a /proc it is read there: getrusage counts in what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) for line in status.open() if line.startswith("VmHWM")) / 1024
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def versions() -> dict[str, str]:
    """Return the versions of what is installed here and counts."""
    installed = {
        package.metadata["Name"].lower().replace("_", "-"): package.version for package in metadata.distributions()
    }
    return {name: installed[name] for name in PACKAGES if name in installed}


def own_channel() -> IO[str]:
    """Return standard output for the answers alone: what libraries print goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return channel


def serve(engines: dict[str, Callable[[Job, FirstScores], Engine]]) -> None:
    """Run one of the engines as the docstring above says."""
    name, path, started = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    channel = own_channel()

    def say(**answer: Any) -> None:
        channel.write(json.dumps(answer) + "\n")

    first = FirstScores(started)
    try:
        engine = engines[name](json.loads(path.read_text(encoding="utf-8")), first)
    except Exception as error:  # whatever it is, the other engines run
        return say(error=first_line(error))
    say(load_seconds=time.monotonic() - started, threads=engine.threads, versions=versions())
    for _ in sys.stdin:
        began = time.perf_counter()
        arrays = engine.run()
        seconds = time.perf_counter() - began
        np.savez(path.with_name(f"{name}.npz"), **arrays)
        say(seconds=seconds, peak_rss_mib=peak_mib(), first_score_seconds=first.seconds)


if __name__ == "__main__":
    serve(ENGINES)
