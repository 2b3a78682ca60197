"""What a model says of an encoded pair, and the head that it takes."""

from __future__ import annotations

from typing import Literal

from nsp_bert.checkpoints.model_cards import Head

Output = Literal["next-sentence", "masked", "masked-product", "causal", "mean", "classes"]
"""The log-odds of IsNext; sums of log-probabilities of tokens at places, by a model that sees all of the text
(`masked`) or what is before the place (`causal`, without segments); products of the logits of tokens at places
(`masked-product`); the mean of the last layer over all tokens; the logits of a trained classifier's classes."""

HEAD_OF: dict[Output, Head] = {
    "next-sentence": "NSP",
    "masked": "MLM",
    "masked-product": "MLM",
    "causal": "MLM",
    "mean": "encoder",
    "classes": "classifier",
}
UNIT_OF: dict[Output, str] = {  # what is encoded, in words
    "next-sentence": "pairs",
    "masked": "sequences",
    "masked-product": "sequences",
    "causal": "sequences",
    "mean": "sequences",
    "classes": "sequences",
}
# compared as they are: rounding can be bounded
SETTLED: tuple[Output, ...] = ("next-sentence", "masked", "masked-product", "causal", "classes")
READS: tuple[Output, ...] = ("masked", "masked-product", "causal")  # these are told which tokens at which places
