"""The one training loop of the house: steps of AdamW on any objective, exact resumption, export.

A subclass says what is minimised. Importing this module imports TensorFlow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nsp_bert.checkpoints.checkpoint import Checkpoint, read_shapes
from nsp_bert.checkpoints.model_cards import Head
from nsp_bert.checkpoints.soft_prompt import with_soft_tokens
from nsp_bert.checkpoints.tensors import write_checkpoint, written_in_one_step
from nsp_bert.environment import import_tensorflow
from nsp_bert.errors import UserError, first_line
from nsp_bert.training.adamw import FusedAdamW
from nsp_bert.training.model import build_bert
from nsp_bert.training.optimization import Optimization, SoftPromptSettings
from nsp_bert.training.soft_tokens import PromptEncoder
from nsp_bert.training.state import SETTINGS, START_ANEW, settings_text

tf: Any = import_tensorflow()

NO_DECAY = ("Norm", "bias", "Bias")
PART = 2**40  # dropout is drawn by the step and, so many further on, by each further part of one
Arrays = Sequence[np.ndarray]


class Training(ABC):
    """A BERT with some of its heads, its optimiser and its step counter.

    `heads` are what it is built with. A `causal` one sees no place behind its own, and has no segments.
    """

    heads: ClassVar[tuple[Head, ...]]
    causal: ClassVar[bool] = False

    def __init__(
        self,
        config: dict[str, Any],
        optimization: Optimization,
        precision: str,
        seed: int,
        soft: SoftPromptSettings | None = None,
    ):
        """Build the model of a `bert_config.json`; `precision` is float32, bfloat16 or float16.

        With `soft` the ids behind the vocabulary are soft tokens.
        """
        tf.keras.backend.clear_session()  # lets go of the models of earlier trainings
        tf.keras.utils.set_random_seed(seed)
        policy = "float32" if precision == "float32" else f"mixed_{precision}"
        tf.keras.mixed_precision.set_global_policy(policy)
        self.config = config | {"type_vocab_size": 0} if self.causal else config
        self._clip_norm = optimization.clip_norm
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._drawn = tf.Variable(0, dtype=tf.int64, trainable=False)  # what dropout is drawn by
        width, deviation = config["hidden_size"], config.get("initializer_range", 0.02)
        self._soft = PromptEncoder(soft, width, deviation, seed) if soft else None
        self._bert = build_bert(self.config, self.heads, self._drawn, seed, self._soft, self.causal)
        layers = self._bert.layers
        last = f"Transformer-{config['num_hidden_layers'] - 1}-FeedForward-Norm"
        outputs = [layers[last].output, *([layers["Pooler-Dense"].output] if "pooler" in self.heads else [])]
        self._encoder = tf.keras.Model(self._bert.model.inputs, outputs)
        new = [*self._new_layers(seed), *(self._soft.variables if self._soft else [])]
        frozen = self._soft is not None and self._soft.freeze
        self._variables = [*([] if frozen else self._bert.model.trainable_variables), *new]
        self._optimizer = FusedAdamW(
            learning_rate=0.0,
            weight_decay=optimization.weight_decay,
            beta_1=optimization.beta_1,
            beta_2=optimization.beta_2,
            epsilon=optimization.epsilon,
        )
        self._optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
        if precision == "float16":
            self._optimizer = tf.keras.mixed_precision.LossScaleOptimizer(self._optimizer)
        self._optimizer.build(self._variables)
        parts = {"model": self._bert.model, "optimizer": self._optimizer, "step": self._step}
        self._state = tf.train.Checkpoint(**parts, new=new)
        self._train_whole, self._train_part = OneGraph(self._train_step), OneGraph(self._gradients)
        self._evaluate = OneGraph(lambda batch: self.minimised(batch, training=False)[1])

    @abstractmethod
    def minimised(self, batch: Sequence[Any], training: bool) -> tuple[Any, Any]:
        """Return the loss of a batch's tensors, and metrics float32 (M,); both add up over the parts of a step."""

    def _new_layers(self, _seed: int) -> list[Any]:
        """Return the variables of layers that bert4keras' model does not have."""
        return []

    @property
    def step(self) -> int:
        """Number of steps taken."""
        return int(self._step.numpy())

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(int(np.prod(variable.shape)) for variable in self._variables)

    @property
    def finite(self) -> bool:
        """Whether all weights are still numbers."""
        return all(bool(tf.reduce_all(tf.math.is_finite(variable))) for variable in self._variables)

    def train(self, *parts: Arrays, learning_rate: float) -> Any:
        """Take one step on a batch, which may come in parts whose gradients add up; return its metrics (M,)."""
        self._optimizer.learning_rate = learning_rate
        if len(parts) == 1:
            return self._train_whole(parts[0])
        metrics, gradients = self._train_part(parts[0])
        for part in parts[1:]:
            self._drawn.assign_add(PART)
            more, others = self._train_part(part)
            metrics += more
            gradients = [one + other for one, other in zip(gradients, others, strict=True)]
        self._apply(gradients)
        return metrics

    def evaluate(self, batch: Arrays) -> np.ndarray:
        """Return the metrics (M,) of a batch, dropout off."""
        return np.asarray(self._evaluate(batch))

    def _train_step(self, batch: Sequence[Any]) -> Any:
        metrics, gradients = self._gradients(batch)
        self._apply(gradients)
        return metrics

    def _gradients(self, batch: Sequence[Any]) -> tuple[Any, list[Any]]:
        scales = hasattr(self._optimizer, "get_scaled_loss")
        with tf.GradientTape() as tape:
            loss, metrics = self.minimised(batch, training=True)
            loss = self._optimizer.get_scaled_loss(loss) if scales else loss
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, self._variables)]
        return metrics, self._optimizer.get_unscaled_gradients(gradients) if scales else gradients

    def _apply(self, gradients: list[Any]) -> None:
        if self._clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm)
        pairs = zip(gradients, self._variables, strict=True)
        self._optimizer.apply_gradients(pairs, skip_gradients_aggregation=True)  # there is one replica
        self._step.assign_add(1)
        self._drawn.assign(self._step)

    def save_state(self, folder: Path, settings: dict[str, str]) -> None:
        """Write weights, optimiser and step into `folder`, replacing what is there in one step.

        Raises UserError where that cannot be written.
        """
        with written_in_one_step(folder) as unfinished:
            self._state.write(str(unfinished / "state"))
            (unfinished / SETTINGS).write_text(settings_text(settings), encoding="utf-8")

    def restore_state(self, folder: Path) -> None:
        """Continue from `folder`. Raises UserError when it is damaged."""
        try:
            self._state.read(str(folder / "state")).assert_consumed()
        except (AssertionError, LookupError, ValueError, tf.errors.OpError) as error:
            raise UserError(f"{folder}: damaged ({first_line(error)}); {START_ANEW}") from error
        self._drawn.assign(self._step)

    def load_weights(self, checkpoint: Checkpoint) -> None:
        """Take the weights of a checkpoint; a layer that it does not hold keeps its random ones."""
        held = read_shapes(checkpoint.prefix)
        mapping = self._bert.variable_mapping()
        found = {layer: names for layer, names in mapping.items() if all(name in held for name in names)}
        self._bert.load_weights_from_checkpoint(str(checkpoint.prefix), found)

    def export(self, folder: Path, vocab_path: Path) -> None:
        """Write `bert_config.json`, `vocab.txt` and `bert_model.ckpt.*`, float32, under Google's variable names.

        Soft tokens are there with what their encoder makes of them. Raises UserError where that cannot be written.
        """
        config, found = self.config, self.tensors()
        if self._soft:
            config, found = with_soft_tokens(config, found, self._soft().numpy(), self._soft.insert)
        with written_in_one_step(folder) as unfinished:
            write_checkpoint(unfinished, config, found, vocab_path)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights float32 by Google's variable names."""
        found = {}
        for layer, names in self._bert.variable_mapping().items():
            if layer in self._bert.layers:
                for name, weight in zip(names, self._bert.layers[layer].trainable_weights, strict=True):
                    value = weight.numpy().astype(np.float32)
                    found[name] = value.T if name == "cls/seq_relationship/output_weights" else value
        return found


class OneGraph:
    """A function of a batch's tensors as one graph, whatever the sizes of its arrays: making one takes seconds."""

    def __init__(self, function: Any):
        self._function = function
        self._graph: Any = None

    def __call__(self, batch: Arrays) -> Any:
        """Call the function. The arrays of all batches have the same dtypes and numbers of dimensions."""
        if self._graph is None:
            kinds = [tf.TensorSpec([None] * array.ndim, array.dtype) for array in batch]
            self._graph = tf.function(self._function, input_signature=[kinds], autograph=False)
        return self._graph(tensors(batch))


def tensors(arrays: Arrays) -> list[Any]:
    """Return arrays as tensors."""
    return [tf.constant(array) for array in arrays]
