"""What computes scores: TensorFlow, or OpenVINO converted from the same function (distributed.py: workers of Ray)."""

from __future__ import annotations

import contextlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError
from nsp_bert.scoring.outputs import HEAD_OF, Output
from nsp_bert.scoring.windows import Batch, Window

PRECISIONS = ("float32", "bfloat16", "float16")
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 2048, 32768  # of one core, of one GPU
COMPILED = ("hidden_act", "num_attention_heads")  # what graphs hold of a configuration, beside the shapes
OPENVINO_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
Item = TypeVar("Item")
Result = TypeVar("Result")


class Part(NamedTuple):
    """Scores float32 (n,), or several a pair (n, width), of pairs at places int64 (n,) in the stream."""

    places: np.ndarray
    scores: np.ndarray


class Ahead(Protocol):
    """Makes the next item while the last one is in use."""

    def __call__(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items."""


class WindowScorer(Protocol):
    """What scores windows of pairs: a backend in this process, or workers elsewhere."""

    @property
    def batch_tokens(self) -> int:
        """Rows x padded length of a batch that suit the device."""

    def parts(self, windows: Iterator[Window], batch_tokens: int, ahead: Ahead) -> Iterator[Part]:
        """Yield the scores of the windows' pairs as they come."""

    def reload(self, checkpoint: Checkpoint) -> bool:
        """Score by another checkpoint from now on, if nothing has to be built anew for that; return whether it does."""


@dataclass(frozen=True)
class Model:
    """The weights of a checkpoint in memory, and the forward pass of them to an output."""

    checkpoint: Checkpoint
    precision: str
    output: Output
    weights: Any

    def forward(
        self,
        compiled: Callable[..., Callable[..., Any]] = lambda step, *_: step,
        held: Callable[[Any], Any] = lambda weight: weight,
    ) -> Callable[..., Any]:
        """Return the forward pass, step by step `compiled`: small graphs take little memory to optimise.

        Without `compiled` it is for the caller to compile it as a whole. `held` is called with every weight and returns
        what the pass holds in its place.
        """
        from nsp_bert.scoring.forward import make_pass

        weights = import_tensorflow().nest.map_structure(held, self.weights)
        return make_pass(self.checkpoint, weights, self.output, compiled)

    def take(self, checkpoint: Checkpoint) -> bool:
        """Take another checkpoint's weights where the pass reads variables that they fit; return whether it does.

        Raises UserError when they cannot be read; nothing has changed then.
        """
        from nsp_bert.scoring.weights import assign_weights

        same = all(checkpoint.config[key] == self.checkpoint.config[key] for key in COMPILED)
        if self.precision != "float32" or not same:  # reduced weights are constants
            return False
        return assign_weights(self.weights, load_model(checkpoint, self.precision, self.output).weights)


def load_model(checkpoint: Checkpoint, precision: str, output: Output) -> Model:
    """Load the weights of a checkpoint. Raises UserError when they cannot be read."""
    from nsp_bert.scoring.weights import load_weights

    return Model(checkpoint, precision, output, load_weights(checkpoint, precision, HEAD_OF[output]))


@dataclass(frozen=True)
class Backend:
    """`compute` scores a batch, which `streams` threads may do at once; `batch_tokens` is what suits the device.

    `kept` has to live as long: OpenVINO goes on reading the weights in TensorFlow's memory. `model` is what `compute`
    was made of, where that goes on reading its variables.
    """

    compute: Callable[..., np.ndarray]
    streams: int
    batch_tokens: int
    kept: Any = None
    model: Model | None = None

    def reload(self, checkpoint: Checkpoint) -> bool:
        """Score by another checkpoint from now on, if its weights fit in the place of these; return whether they do."""
        return self.model is not None and self.model.take(checkpoint)

    def parts(self, windows: Iterator[Window], batch_tokens: int, ahead: Ahead) -> Iterator[Part]:
        """Yield the scores of the windows' pairs, a batch at a time."""
        batches = ahead(window.batches(batch_tokens) for window in windows)
        return self.score(chain.from_iterable(batches))

    def score(self, batches: Iterator[Batch]) -> Iterator[Part]:
        """Yield the scores of the batches; one waits for each that is computed, so that the device never does."""
        return in_flight(self._part, batches, self._threads, 2 * self.streams)

    def _part(self, batch: Batch) -> Part:
        return Part(batch.places, self.compute(*batch.inputs)[batch.rows])

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.streams)


def in_flight(
    call: Callable[[Item], Result], items: Iterator[Item], threads: ThreadPoolExecutor, count: int
) -> Iterator[Result]:
    """Yield `call(item)` of the items in turn, `count` of them under way at once.

    An error of the items is raised when those before it are done.
    """
    coming: deque[Future[Result]] = deque()
    end: BaseException | None = None
    try:
        while coming or not end:
            if end or len(coming) == count:
                yield coming.popleft().result()
                continue
            try:
                coming.append(threads.submit(call, next(items)))
            except (Exception, KeyboardInterrupt) as error:
                end = error
    finally:
        for one in coming:
            one.cancel()
    if end and not isinstance(end, StopIteration):
        raise end


def load_backend(name: str, checkpoint: Checkpoint, precision: str, output: Output = "next-sentence") -> Backend:
    """Load a checkpoint into a backend. Raises UserError when it cannot be loaded, or not in this precision."""
    return BACKENDS[name](checkpoint, precision, output)


def load_tensorflow(checkpoint: Checkpoint, precision: str, output: Output) -> Backend:
    """Load a checkpoint into TensorFlow.

    On a CPU there is one batch a core, on a GPU two are in flight; several GPUs share the rows of each batch.
    """
    tf = import_tensorflow()
    streams = _one_core_a_batch(tf)
    tf.config.experimental.enable_tensor_float_32_execution(precision != "float32")
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if len(gpus) > 1:
        return replicate(checkpoint, precision, output, gpus)
    steps: list[Any] = []

    def compiled(step: Callable[..., Any], *signature: Any) -> Any:
        steps.append(tf.function(step, input_signature=signature, autograph=False))
        return steps[-1]

    model = load_model(checkpoint, precision, output)
    stepwise = model.forward(compiled)
    for step in steps:  # in this thread: TensorFlow has failed to trace in several at once
        step.get_concrete_function()
    with ThreadPoolExecutor(count_cores()) as threads:  # else each would be optimised when the first batch reaches it
        list(threads.map(_run_on_zeros, steps))

    def compute(*inputs: np.ndarray) -> np.ndarray:
        return stepwise(*map(tf.constant, inputs)).numpy()

    streams, batch_tokens = (2, GPU_BATCH_TOKENS) if gpus else (streams, CPU_BATCH_TOKENS)
    return Backend(compute, streams, batch_tokens, model=model)


def replicate(checkpoint: Checkpoint, precision: str, output: Output, devices: list[str]) -> Backend:
    """Load a checkpoint onto several devices of this host, which share the rows of each batch."""
    tf = import_tensorflow()
    strategy = tf.distribute.MirroredStrategy(devices)
    with strategy.scope():
        model = load_model(checkpoint, precision, output)
        single = model.forward()

    @tf.function(reduce_retracing=True)
    def together(*inputs: Any) -> Any:
        return strategy.run(single, inputs)

    def compute(*inputs: np.ndarray) -> np.ndarray:
        rows, share = len(inputs[0]), -(-len(inputs[0]) // len(devices))
        padded = [np.concatenate([array, array[-1:].repeat(share * len(devices) - rows, 0)]) for array in inputs]
        parts = [np.split(array, len(devices)) for array in padded]
        answers = strategy.experimental_local_results(together(*(_spread(strategy, part) for part in parts)))
        return np.concatenate([answer.numpy() for answer in answers])[:rows]

    return Backend(compute, streams=1, batch_tokens=GPU_BATCH_TOKENS * len(devices), model=model)


def load_openvino(checkpoint: Checkpoint, precision: str, output: Output) -> Backend:
    """Convert TensorFlow's function to OpenVINO, for this machine's CPU; one batch a core.

    Raises UserError without the package, or where the processor does not compute in that precision.
    """
    try:
        import openvino
    except ImportError as error:
        raise UserError(
            "--backend openvino needs a package more: pip install --no-deps -r requirements/openvino.txt"
        ) from error
    tf = import_tensorflow()
    # as tensors: OpenVINO asks for each variable again and again, and looks through all of them every time
    from nsp_bert.scoring.forward import signature

    model = load_model(checkpoint, "float32", output)
    function = tf.function(model.forward(held=tf.convert_to_tensor), autograph=False)
    graph = function.get_concrete_function(
        *(tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in signature(output).items())
    )
    with contextlib.redirect_stdout(io.StringIO()):  # its report of the conversion
        converted = openvino.convert_model(graph)
    streams, hint = count_cores(), OPENVINO_PRECISIONS[precision]
    settings = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams}
    compiled = openvino.Core().compile_model(converted, "CPU", settings)
    if compiled.get_property("INFERENCE_PRECISION_HINT").to_string() != hint:
        raise UserError(f"--backend openvino: this processor does not compute in {precision}; take --precision float32")
    requests: SimpleQueue[Any] = SimpleQueue()
    for _ in range(streams):
        requests.put(compiled.create_infer_request())
    names = [port.get_any_name() for port in converted.inputs]

    def compute(*inputs: np.ndarray) -> np.ndarray:
        request = requests.get()
        try:
            return next(iter(request.infer(dict(zip(names, inputs, strict=True))).values())).copy()
        finally:
            requests.put(request)

    return Backend(compute, streams, CPU_BATCH_TOKENS, kept=function)


BACKENDS: dict[str, Callable[[Checkpoint, str, Output], Backend]] = {
    "tensorflow": load_tensorflow,
    "openvino": load_openvino,
}


def _spread(strategy: Any, parts: list[np.ndarray]) -> Any:
    tf = import_tensorflow()
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def _run_on_zeros(step: Any) -> None:
    tf = import_tensorflow()
    step(*(tf.zeros([size or 1 for size in spec.shape], spec.dtype) for spec in step.input_signature))


def _one_core_a_batch(tf: Any) -> int:
    """Keep every operation of TensorFlow on one core, so that as many batches run at once as there are cores.

    That is faster than to share each operation, and the sums do not depend on the number of cores. Where TensorFlow
    has started with threads of its own, batches run one by one.
    """
    threading = tf.config.threading
    with contextlib.suppress(RuntimeError):  # TensorFlow has started already
        threading.set_intra_op_parallelism_threads(1)
    return count_cores() if threading.get_intra_op_parallelism_threads() == 1 else 1


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
