"""Whether the heads of a checkpoint work: NSP on neighbours and strangers, MLM on tokens of a text.

The texts are of the project's own writing, one a language. They are scored as a method's rows are, so that a head is
judged in the way that the method reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from nsp_bert.checkpoints.checkpoint import Checkpoint
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.errors import UserError
from nsp_bert.files import MODELS
from nsp_bert.results.metrics import Accuracy
from nsp_bert.scoring.outputs import HEAD_OF, READS, Output
from nsp_bert.scoring.scorer import Scorer, Scores
from nsp_bert.tokenization import EncodedPair, Reads, make_pair_encoder

HEALTH_TEXTS = MODELS / "health"
MAX_LENGTH = 128
ASKED_SHARE = 0.15  # of the tokens of the shortest document; of every document as many
WORKS = 0.6  # pairwise accuracy whose interval must lie above it; words that recur lift even random weights over 0.5
FOUND: dict[Output, str] = {
    "masked": "masked tokens found",
    "masked-product": "masked tokens found",
    "causal": "tokens found from what is before them",
}
SEED = 0


@dataclass(frozen=True)
class Health:
    """Margins (log-odds, float32) of neighbouring sentences and, in the same order, of each with a stranger."""

    neighbours: np.ndarray
    strangers: np.ndarray

    @property
    def pairwise(self) -> Accuracy:
        """Share of sentences that score higher with their neighbour than with a stranger."""
        return Accuracy(len(self.neighbours), int((self.neighbours > self.strangers).sum()))

    @property
    def at_zero(self) -> Accuracy:
        """Accuracy when a margin above 0 says: next sentence."""
        right = (self.neighbours > 0).sum() + (self.strangers <= 0).sum()
        return Accuracy(2 * len(self.neighbours), int(right))

    @property
    def verdict(self) -> str:
        """What the intervals of both say of the head."""
        low, high = self.pairwise.interval
        if low > WORKS:
            shifted = self.at_zero.interval[0] <= 0.5
            return "works" + (", but its margins are shifted: compare scores, do not cut them at 0" if shifted else "")
        if high < 1 - WORKS:
            return "looks inverted: neighbours score lower than strangers; are the two rows of the head exchanged?"
        return "is at chance: it does not tell neighbours from strangers; was it trained, and was it loaded?"


@dataclass(frozen=True)
class Masks:
    """What the MLM head says of tokens: the ids int64 (n,) that were asked for, and those it finds likeliest.

    At every place each of the ids that were asked for anywhere may be the answer.
    """

    asked: np.ndarray
    guessed: np.ndarray

    @property
    def accuracy(self) -> Accuracy:
        """Share of tokens that are found."""
        return Accuracy(len(self.asked), int((self.asked == self.guessed).sum()))

    @property
    def chance(self) -> float:
        """What guessing the most frequent token would reach."""
        return float(np.bincount(self.asked).max() / len(self.asked))

    @property
    def works(self) -> bool:
        """Whether the head does better than that guess, by its 95 % interval."""
        return self.accuracy.interval[0] > self.chance

    @property
    def verdict(self) -> str:
        """The same in words."""
        if self.works:
            return "works"
        return "is at chance: it finds masked tokens no better than a guess; was it trained, and was it loaded?"


@dataclass(frozen=True)
class AskedTokens:
    """Texts with [CLS] and [SEP] as token ids, and the places int64 (texts, P) whose tokens are asked for."""

    texts: list[np.ndarray]
    places: np.ndarray

    @cached_property
    def tokens(self) -> np.ndarray:
        """The token ids int64 (texts, P) at those places."""
        return np.stack([text[places] for text, places in zip(self.texts, self.places, strict=True)])

    @cached_property
    def candidates(self) -> np.ndarray:
        """The different ones of them, int64 (C,)."""
        return np.unique(self.tokens)

    def pairs(self, output: Output, mask_id: int) -> Iterator[EncodedPair]:
        """Yield a sequence for each text, asked for P x C scores: at every place those of all candidates.

        Under a causal mask nothing is masked, and a token is read at the place before its own.
        """
        count = self.places.shape[1]
        alone = np.eye(count, dtype=bool)[:, :, None]  # a score is made of all places, to which -1 adds nothing
        tokens = np.where(alone, self.candidates, -1).reshape(count, -1).tolist()
        for text, places in zip(self.texts, self.places, strict=True):
            token_ids = text.copy()
            if output != "causal":
                token_ids[places] = mask_id
            reads = Reads((places - 1 if output == "causal" else places).tolist(), tokens)
            yield EncodedPair(token_ids.tolist(), len(text), reads=reads)


def load_documents(path: Path) -> list[list[str]]:
    """Return the documents of a health text: a sentence a line, a blank line between documents."""
    return [part.split("\n") for part in path.read_text(encoding="utf-8").strip().split("\n\n")]


def health_text(language: str) -> Path:
    """Return where a language's health text is, if there is one."""
    return HEALTH_TEXTS / f"{language}.txt"


def health_documents(language: str) -> list[list[str]]:
    """Return the documents of a language's health text. Raises UserError without one."""
    path = health_text(language)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in HEALTH_TEXTS.glob("*.txt")))
        raise UserError(f"no health text for the language {language!r}; there are {known}")
    return load_documents(path)


def check_health(checkpoint: Checkpoint, scorer: Scorer, documents: list[list[str]]) -> Health:
    """Score every sentence with its successor and with one of another document."""
    rng = np.random.default_rng(SEED)
    pairs = []
    for number, document in enumerate(documents):
        for first, second in pairwise(document):
            stranger = (number + int(rng.integers(1, len(documents)))) % len(documents)
            pairs += [(first, second), (first, documents[stranger][int(rng.integers(len(documents[stranger])))])]
    encoder = make_pair_encoder(checkpoint, min(MAX_LENGTH, checkpoint.max_position))
    encoded = (encoder.encode([encoder.part(a, "right")], [encoder.part(b, "right")]) for a, b in pairs)
    margins = whole(scorer.score(encoded, len(pairs)))
    return Health(margins[::2], margins[1::2])


def check_masks(checkpoint: Checkpoint, scorer: Scorer, documents: list[list[str]], output: Output = "masked") -> Masks:
    """Ask for a share of the tokens of every document by a scorer's output, which reads tokens."""
    asked = choose_tokens(checkpoint, documents)
    best = log_probabilities(checkpoint, scorer, asked, output).argmax(axis=-1)
    return Masks(asked.tokens.ravel(), asked.candidates[best].ravel())


def choose_tokens(checkpoint: Checkpoint, documents: list[list[str]]) -> AskedTokens:
    """Return the documents, cut to a length, with places drawn at random, in each document as many."""
    encoder = make_pair_encoder(checkpoint, min(MAX_LENGTH, checkpoint.max_position))
    parts = [encoder.part("".join(document), "right").shortened(encoder.max_length - 2) for document in documents]
    count = max(int(ASKED_SHARE * min(map(len, parts))), 1)
    rng = np.random.default_rng(SEED)
    places = np.stack([1 + rng.choice(len(part), count, replace=False) for part in parts])
    return AskedTokens([np.array([encoder.cls_id, *part, encoder.sep_id]) for part in parts], places)


def log_probabilities(checkpoint: Checkpoint, scorer: Scorer, asked: AskedTokens, output: Output) -> np.ndarray:
    """Return the log-probabilities float32 (texts, P, C) of every candidate at every place that is asked for.

    They are logits where the output is a product of those, which rank alike.
    """
    pairs = asked.pairs(output, load_vocabulary(checkpoint.vocab_path)["[MASK]"])
    shape = (*asked.places.shape, len(asked.candidates))
    scores = scorer.score(pairs, shape[0], progress=False, width=shape[1] * shape[2])
    return whole(scores).reshape(shape)


def whole(scores: Scores) -> np.ndarray:
    """Return the values of scores that are complete; an interrupt goes on, since a part of them says nothing."""
    if not scores.complete:
        raise KeyboardInterrupt
    return scores.values


def chance_note(checkpoint: Checkpoint, scorer: Scorer, output: Output) -> str:
    """Return a line where the head behind an output is at chance on the health text of the checkpoint's language.

    It is empty where the head works, and where that is not known: no text of the language, an output that reads no
    tokens.
    """
    path = health_text(checkpoint.language)
    if output not in READS or not path.is_file():
        return ""
    masks = check_masks(checkpoint, scorer, load_documents(path), output)
    if masks.works:
        return ""
    accuracy, chance = masks.accuracy, 100 * masks.chance
    return (
        f"the {HEAD_OF[output]} head of {checkpoint.name} is at chance on models/health/{path.name}"
        f" ({100 * accuracy.value:.1f} % of {accuracy.n} {FOUND[output]}, chance {chance:.1f} %):"
        " its scores mean little; models/check.py tells more"
    )
