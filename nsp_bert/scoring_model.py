"""bert4keras' BERT for scoring: the last layer computes only what the NSP head reads, the [CLS] position.

Importing this module imports TensorFlow.
"""

from __future__ import annotations

from typing import Any

from nsp_bert.checkpoint import Checkpoint
from nsp_bert.environment import build_quietly, import_tensorflow
from nsp_bert.errors import UserError, first_line

tf: Any = import_tensorflow()

from bert4keras.backend import gelu_tanh  # noqa: E402
from bert4keras.layers import Input, Lambda, LayerNormalization  # noqa: E402
from bert4keras.models import BERT  # noqa: E402

from nsp_bert.fused_layers import FusedLayerNormalization, gelu  # noqa: E402

ACTIVATIONS = {
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": "relu",
    "tanh": "tanh",
    "swish": "swish",
    "silu": "swish",
}


class ClsBERT(BERT):
    """BERT whose last layer has a single query; keys and values still come from every position."""

    def get_inputs(self) -> list[Any]:
        """Return integer inputs token, segment and position ids (B, T): reduced precision must not round them."""
        names = ("Input-Token", "Input-Segment", "Input-Position")
        return [self.apply(layer=Input, shape=(self.sequence_length,), dtype="int32", name=name) for name in names]

    def apply(self, inputs: Any = None, layer: Any = None, arguments: Any = None, **kwargs: Any) -> Any:
        """Build or reuse a layer as bert4keras does, the last layer's query and residual cut to [CLS]."""
        attention = f"Transformer-{self.num_hidden_layers - 1}-MultiHeadSelfAttention"
        if inputs is not None and kwargs.get("name") in (attention, f"{attention}-Add"):
            first = super().apply(inputs[0], Lambda, function=lambda x: x[:, :1], name=f"{attention}-CLS")
            inputs = [first, *inputs[1:]]
        if layer is LayerNormalization:
            layer = FusedLayerNormalization
        return super().apply(inputs, layer, arguments, **kwargs)


def build_bert(checkpoint: Checkpoint) -> ClsBERT:
    """Return the model with pooler and NSP head, the checkpoint's weights loaded, no dropout.

    Raises UserError when the weights cannot be read or do not fit the configuration.
    """
    config = checkpoint.config
    if config["hidden_act"] not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise UserError(
            f"{checkpoint.folder / 'bert_config.json'}: hidden_act {config['hidden_act']!r} is not known, only {known}"
        )
    bert = ClsBERT(
        **config | {"hidden_act": ACTIVATIONS[config["hidden_act"]]},
        max_position=checkpoint.max_position,
        segment_vocab_size=config.get("type_vocab_size", 2),
        custom_position_ids=True,
        with_nsp=True,
    )
    build_quietly(bert)
    try:
        bert.load_weights_from_checkpoint(str(checkpoint.prefix))
    except (tf.errors.OpError, ValueError, LookupError, RuntimeError) as error:
        raise UserError(
            f"{checkpoint.prefix}: weights cannot be loaded ({first_line(error)}); fetch the checkpoint again"
        ) from error
    return bert
