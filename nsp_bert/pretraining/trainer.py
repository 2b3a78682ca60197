"""MLM + NSP training of a bert4keras model: loss, optimiser, exact resumption, export (BERT, section 3.1)."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nsp_bert.checkpoints.checkpoint import Checkpoint, read_shapes
from nsp_bert.checkpoints.tensors import write_tensors
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError, first_line
from nsp_bert.files import parse_json, replacing_folder
from nsp_bert.pretraining.pairs import Batch

METRICS = ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")
NO_DECAY = ("Norm", "bias", "Bias")
START_ANEW = "remove the folder to start anew, or take another --output"


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, a plateau, linear decay to zero over the last `decay_steps` of `max_steps`."""

    peak: float
    warmup_steps: int
    decay_steps: int
    max_steps: int

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of step 0, 1, 2 …"""
        warmup = (step + 1) / max(self.warmup_steps, 1)
        decay = (self.max_steps - step) / max(self.decay_steps, 1)
        return self.peak * max(min(warmup, decay, 1.0), 0.0)


@dataclass(frozen=True)
class Optimization:
    """Settings of AdamW (Loshchilov and Hutter 2019), of clipping and of the loss: MLM + nsp_weight x NSP."""

    weight_decay: float = 0.01
    clip_norm: float = 1.0
    beta_1: float = 0.9
    beta_2: float = 0.98
    epsilon: float = 1e-8
    nsp_weight: float = 1.0


class Trainer:
    """A BERT with both pre-training heads, its optimiser and its step counter."""

    def __init__(self, config: dict[str, Any], optimization: Optimization, precision: str, seed: int):
        """Build the model of a `bert_config.json`; `precision` is float32, bfloat16 or float16."""
        tf = self._tf = import_tensorflow()
        from nsp_bert.training.model import build_bert

        tf.keras.utils.set_random_seed(seed)
        policy = "float32" if precision == "float32" else f"mixed_{precision}"
        tf.keras.mixed_precision.set_global_policy(policy)
        self.config = config
        self._clip_norm = optimization.clip_norm
        self._nsp_weight = optimization.nsp_weight
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._bert = build_bert(config, self._step, seed)
        layers = self._bert.layers
        last = f"Transformer-{config['num_hidden_layers'] - 1}-FeedForward-Norm"
        outputs = [layers[last].output, layers["Pooler-Dense"].output]
        self._encoder = tf.keras.Model(self._bert.model.inputs, outputs)
        self._optimizer = tf.keras.optimizers.AdamW(
            learning_rate=0.0,
            weight_decay=optimization.weight_decay,
            beta_1=optimization.beta_1,
            beta_2=optimization.beta_2,
            epsilon=optimization.epsilon,
        )
        self._optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
        if precision == "float16":
            self._optimizer = tf.keras.mixed_precision.LossScaleOptimizer(self._optimizer)
        self._variables = self._bert.model.trainable_variables
        self._initialize(seed)
        self._optimizer.build(self._variables)
        self._state = tf.train.Checkpoint(model=self._bert.model, optimizer=self._optimizer, step=self._step)
        self._train = tf.function(self._train_step, reduce_retracing=False)
        self._evaluate = tf.function(self._metrics)

    def _initialize(self, seed: int) -> None:
        """Draw every matrix anew, so that attention starts out meaningful instead of uniform.

        Queries and keys start equal (attention begins as similarity), positions start as sinusoids (Vaswani et al.
        2017; neighbours begin near): both shorten the plateau before attention is learned. bert4keras by itself gives
        all matrices of a layer the same values.
        """
        stddev = self.config.get("initializer_range", 0.02)
        for index, variable in enumerate(self._variables):
            if len(variable.shape) > 1:
                variable.assign(
                    self._tf.random.stateless_truncated_normal(variable.shape, [seed, index], stddev=stddev)
                )
        positions = self._bert.layers["Embedding-Position"].embeddings
        positions.assign(sinusoids(*positions.shape) * stddev)
        for name, layer in self._bert.layers.items():
            if name.endswith("MultiHeadSelfAttention"):
                layer.k_dense.kernel.assign(layer.q_dense.kernel)

    def set_token_embeddings(self, vectors: np.ndarray) -> None:
        """Start from given token embeddings float32 (vocabulary, hidden) of mean square 1; zero rows stay random."""
        table = self._bert.layers["Embedding-Token"].embeddings
        scaled = vectors * self.config["initializer_range"]
        table.assign(np.where(np.any(vectors, axis=1, keepdims=True), scaled, table.numpy()))

    @property
    def step(self) -> int:
        """Number of steps taken."""
        return int(self._step.numpy())

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(int(np.prod(variable.shape)) for variable in self._variables)

    def train(self, batch: Batch, learning_rate: float) -> Any:
        """Take one step; return the metrics of the batch as a float32 tensor (4,), in the order of METRICS."""
        self._optimizer.learning_rate = learning_rate
        return self._train(self._tensors(batch))

    def evaluate(self, batches: list[Batch]) -> dict[str, float]:
        """Return the mean of each metric over held-out batches, dropout off; nothing without batches."""
        if not batches:
            return {}
        rows = [self._evaluate(self._tensors(batch)).numpy() for batch in batches]
        return dict(zip(METRICS, np.mean(rows, axis=0).tolist(), strict=True))

    def _tensors(self, batch: Batch) -> list[Any]:
        return [self._tf.constant(value) for value in vars(batch).values()]

    def _train_step(self, batch: list[Any]) -> Any:
        tf = self._tf
        with tf.GradientTape() as tape:
            metrics = self._metrics(batch, training=True)
            loss = metrics[0] + self._nsp_weight * metrics[2]
            scaled = self._optimizer.get_scaled_loss(loss) if self._scales_loss else loss
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(scaled, self._variables)]
        if self._scales_loss:
            gradients = self._optimizer.get_unscaled_gradients(gradients)
        if self._clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm)
        self._optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        self._step.assign_add(1)
        return metrics

    @property
    def _scales_loss(self) -> bool:
        return hasattr(self._optimizer, "get_scaled_loss")

    def _metrics(self, batch: list[Any], training: bool = False) -> Any:
        """Return float32 (4,) in the order of METRICS; `batch` holds the fields of a Batch in their order."""
        token_ids, segment_ids, masked_positions, masked_token_ids, masked_weights, nsp_labels, nsp_weights = batch
        tf = self._tf
        hidden, pooled = self._encoder([token_ids, segment_ids], training=training)
        masked = tf.gather(tf.reshape(hidden, [-1, self.config["hidden_size"]]), masked_positions)
        mlm = _loss_and_accuracy(tf, self._mlm_logits(masked), masked_token_ids, masked_weights)
        head = self._bert.layers["NSP-Proba"]
        nsp_logits = tf.cast(pooled, tf.float32) @ head.kernel + head.bias
        nsp = _loss_and_accuracy(tf, nsp_logits, nsp_labels, nsp_weights)
        return tf.stack([*mlm, *nsp])

    def _mlm_logits(self, hidden: Any) -> Any:
        """Apply bert4keras' MLM layers to the masked positions alone: (P, hidden) -> float32 (P, vocabulary)."""
        layers = self._bert.layers
        hidden = layers["MLM-Norm"](layers["MLM-Dense"](hidden))
        logits = layers["Embedding-Token"](hidden, mode="dense")
        return self._tf.cast(layers["MLM-Bias"](logits), self._tf.float32)

    def save_state(self, folder: Path, settings: dict[str, str]) -> None:
        """Write weights, optimiser and step into `folder`, replacing what is there in one step."""
        with replacing_folder(folder) as unfinished:
            self._state.write(str(unfinished / "state"))
            (unfinished / "settings.json").write_text(json.dumps(settings, indent=1, sort_keys=True), encoding="utf-8")

    def restore_state(self, folder: Path) -> None:
        """Continue from `folder`. Raises UserError when it is damaged."""
        try:
            self._state.read(str(folder / "state")).assert_consumed()
        except (AssertionError, LookupError, ValueError, self._tf.errors.OpError) as error:
            raise UserError(f"{folder}: damaged ({first_line(error)}); {START_ANEW}") from error

    def load_weights(self, checkpoint: Checkpoint) -> None:
        """Take the weights of a checkpoint; a layer that it does not hold keeps its random ones."""
        held = read_shapes(checkpoint.prefix)
        mapping = self._bert.variable_mapping()
        found = {layer: names for layer, names in mapping.items() if all(name in held for name in names)}
        self._bert.load_weights_from_checkpoint(str(checkpoint.prefix), found)

    def export(self, folder: Path, vocab_path: Path) -> None:
        """Write `bert_config.json`, `vocab.txt` and `bert_model.ckpt.*`, float32, under Google's variable names."""
        with replacing_folder(folder) as unfinished:
            write_checkpoint(self._bert, unfinished / "bert_model.ckpt")
            (unfinished / "bert_config.json").write_text(json.dumps(self.config, indent=2) + "\n", encoding="utf-8")
            shutil.copyfile(vocab_path, unfinished / "vocab.txt")


def check_settings(folder: Path, settings: dict[str, str]) -> None:
    """Raise UserError when the state in a folder was written by a run with other settings, or is damaged."""
    path = folder / "settings.json"
    try:
        before = parse_json(path.read_text(encoding="utf-8"), str(path), START_ANEW)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {START_ANEW}") from error
    if not isinstance(before, dict):
        raise UserError(f"{path}: not the settings of a run; {START_ANEW}")
    differing = sorted(key for key in settings.keys() | before.keys() if before.get(key) != settings.get(key))
    if differing:
        changes = ", ".join(f"{key}: {before.get(key)!r} -> {settings.get(key)!r}" for key in differing)
        raise UserError(f"{folder}: the run to resume had other settings ({changes}); take another --output")


def sinusoids(positions: int, width: int) -> np.ndarray:
    """Return the sine and cosine table float32 (positions, width) of Vaswani et al. 2017, section 3.5."""
    rates = 10000.0 ** (-2 * (np.arange(width) // 2) / width)
    angles = np.arange(positions)[:, None] * rates
    return np.where(np.arange(width) % 2, np.cos(angles), np.sin(angles)).astype(np.float32)


def write_checkpoint(bert: Any, prefix: Path) -> None:
    """Write a bert4keras BERT's weights as `prefix.index` and `prefix.data-*` under Google's variable names."""
    tensors = {}
    for layer, names in bert.variable_mapping().items():
        if layer in bert.layers:
            for name, weight in zip(names, bert.layers[layer].trainable_weights, strict=True):
                value = weight.numpy().astype(np.float32)
                tensors[name] = value.T if name == "cls/seq_relationship/output_weights" else value
    write_tensors(prefix, tensors)


def _loss_and_accuracy(tf: Any, logits: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    total = tf.maximum(tf.reduce_sum(weights), 1.0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    right = tf.cast(tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels, tf.float32)
    return tf.reduce_sum(losses * weights) / total, tf.reduce_sum(right * weights) / total
