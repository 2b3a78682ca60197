"""What a training step is made with: the optimiser's settings and the learning rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nsp_bert.checkpoints.soft_prompt import Insert


@dataclass(frozen=True)
class Optimization:
    """Settings of AdamW (Loshchilov and Hutter 2019), without decay Adam, and of clipping, 0 for none."""

    weight_decay: float = 0.01
    clip_norm: float = 1.0
    beta_1: float = 0.9
    beta_2: float = 0.98
    epsilon: float = 1e-8


@dataclass(frozen=True)
class SoftPromptSettings:
    """How so many soft tokens are trained: by what `encoder`, where they come in, with the model or (`freeze`) alone.

    `lstm` has their embeddings go through a two-layer bidirectional LSTM and a two-layer MLP (P-tuning, section 3.2).
    """

    count: int
    encoder: Literal["lstm", "none"] = "lstm"
    insert: Insert = "before"
    freeze: bool = False


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, a plateau, linear decay to zero over the last `decay_steps` of `max_steps`.

    With 0 of both the rate is constant.
    """

    peak: float
    warmup_steps: int
    decay_steps: int
    max_steps: int

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of step 0, 1, 2 …"""
        warmup = (step + 1) / max(self.warmup_steps, 1)
        decay = (self.max_steps - step) / max(self.decay_steps, 1)
        return self.peak * max(min(warmup, decay, 1.0), 0.0)
