"""LM-BFF with demonstrations: which training rows are drawn, what the model reads, how scores of sets become one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import lm_bff
import numpy as np
import pytest
import random_checkpoint
from conftest import SAMPLE
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.answer_mapping import candidates_contrast
from nsp_bert.cards import CARDS
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.methods.demonstrations import DemonstratedFewShot, DemonstratedTask, nearest_half
from nsp_bert.rows import FewShotRows, Rows
from nsp_bert.scoring.exact import Engine
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.session import Session
from nsp_bert.tokenization import EncodedPair, Reads

COSINES = st.floats(-1, 1, width=32) | st.just(float("nan"))
VOCABULARY = random_checkpoint.vocabulary()
WORDS = [VOCABULARY.index(word) for word in "好差"]


class Prepared(NamedTuple):
    """What the script hands to the protocol for a training set."""

    session: Session[Any, Any]
    method: DemonstratedFewShot
    rows: FewShotRows[Any]

    def pairs(self, rows: Rows[Any]) -> list[EncodedPair]:
        task = self.method.task(self.session, rows, self.rows.training)
        return list(task.pairs(task.contents))


class NothingIsTrainedError(Exception):
    """The training would begin here."""


@pytest.fixture(scope="module")
def prepared(checkpoint_dir: Path) -> Prepared:
    """What the script prepares for EPRSTMT's sample, three sets for each of five rows."""
    found: list[Prepared] = []

    def stop(*given: Any) -> None:
        found.append(Prepared(*given))
        raise NothingIsTrainedError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lm_bff, "few_shot_run", stop)
        with pytest.raises(NothingIsTrainedError):
            lm_bff.main(arguments(checkpoint_dir))
    return found[0]


def arguments(checkpoint: Path) -> list[str]:
    data = ["--data-dir", str(SAMPLE), "--dataset", "eprstmt", "--limit", "5", "--train", "0"]
    return ["--model", str(checkpoint), *data, "--demonstrations", "3"]


def words_of(token_ids: list[int]) -> list[str]:
    """Return the texts between [CLS] and the [SEP]s."""
    text = "".join(VOCABULARY[token] for token in token_ids)
    assert text.startswith("[CLS]")
    assert text.endswith("[SEP]")
    return text.removeprefix("[CLS]").removesuffix("[SEP]").split("[SEP]")


@given(st.lists(st.tuples(COSINES, st.integers(0, 2)), max_size=30))
def test_the_half_of_each_label_that_is_most_similar(training: list[tuple[float, int]]) -> None:
    similar, labels = np.array(training, np.float32).reshape(-1, 2).T
    by_label = [np.flatnonzero((labels == label) & ~np.isnan(similar)) for label in range(3)]
    by_label = [places for places in by_label if len(places)]
    found = nearest_half(similar, labels.astype(int).tolist())
    assert len(found) == len(by_label)
    for chosen, places in zip(found, by_label, strict=True):
        assert len(set(chosen)) == len(chosen) == (len(places) + 1) // 2
        others = np.setdiff1d(places, chosen)
        assert len(others) == len(places) - len(chosen)
        assert not len(others) or similar[chosen].min() >= similar[others].max()


def test_a_row_is_followed_by_a_row_of_each_label(prepared: Prepared) -> None:
    texts = {example.label: [] for example in prepared.rows.training}
    for example in prepared.rows.training:
        text = prepared.session.encoder.tokenize(example.content.text)
        texts[example.label].append("".join(VOCABULARY[token] for token in text))
    pairs = prepared.pairs(prepared.rows.test)
    assert len(pairs) == 3 * 5
    for number, pair in enumerate(pairs):
        row, *shown = words_of(pair.token_ids)
        assert row[:12] == ("很[MASK]，" + prepared.rows.test.examples[number // 3].content.text)[:12]
        assert pair.first_length == pair.token_ids.index(VOCABULARY.index("[SEP]")) + 1
        assert pair.reads == Reads([2], [WORDS])
        for demonstration, (label, word) in zip(shown, (("Positive", "好"), ("Negative", "差")), strict=True):
            assert demonstration in [f"很{word}，{text}" for text in texts[label]]


def test_sets_are_drawn_by_seed_and_row(prepared: Prepared) -> None:
    """The same whatever other rows are asked for."""
    rows = prepared.rows.test
    pairs = prepared.pairs(rows)
    assert prepared.pairs(replace(rows, examples=rows.examples[2:4])) == pairs[6:12]
    assert prepared._replace(method=replace(prepared.method, seed=2)).pairs(rows) != pairs
    assert len({tuple(pair.token_ids) for pair in pairs}) > 5


def test_training_draws_anew_and_never_the_row_itself(prepared: Prepared) -> None:
    training = prepared.rows.training
    teacher = prepared.method.teacher(prepared.session, prepared.session.recipe, training)
    rng, drawn = np.random.default_rng(1), set()
    for _ in range(20):
        (part,) = teacher.parts([0], rng)
        row, *shown = words_of(part[0][0][part[0][0] > 0].tolist())
        assert row.removeprefix("很[MASK]，") not in [demonstration[len("很好，") :] for demonstration in shown]
        drawn.add(tuple(shown))
    assert len(drawn) == 4  # two of each label are similar enough


@given(st.data())
def test_what_is_decided_stays_so(data: st.DataObject) -> None:
    """Where nothing is undecided, all scores within the bounds give the same answers."""
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3)))  # rows, sets, candidates
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    middle, width = rng.normal(size=shape).astype(np.float32).ravel(), data.draw(st.floats(0, 1))
    task: Any = SimpleNamespace(contents=[None] * shape[0], sets=shape[1], width=shape[2])
    undecided = DemonstratedTask.undecided(task, middle - width, middle + width).reshape(shape)
    assert (undecided == undecided[:, :1]).all()
    scores = (middle + rng.uniform(-width, width, len(middle))).reshape(shape)
    answers = [candidates_contrast([*values.reshape(shape).mean(axis=1)]) for values in (middle, scores)]
    for row, same in enumerate(np.equal(*answers)):
        assert same or undecided[row].any()


@pytest.mark.usefixtures("eager_training")
def test_a_run(checkpoint_dir: Path, tmp_path: Path, prepared: Prepared) -> None:
    """The scores of a row are the means over its sets, by the trained weights."""
    saved = tmp_path / "saved"
    options = ["--epochs", "1", "--save", str(saved), "--output", str(tmp_path)]
    assert lm_bff.main([*arguments(checkpoint_dir), *options]) == 0
    path = tmp_path / "eprstmt.test_public.lm_bff_demonstrations.train_0.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert (summary["passes"], summary["settings"]["demonstrations"]) == (15, "3")
    scorer = Scorer(open_checkpoint(str(saved / "eprstmt.train_0"), ("encoder", "MLM")), output="masked")
    scores = scorer.score(prepared.pairs(prepared.rows.test), 15, progress=False, width=2).values
    lines = path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line)["scores"] for line in lines]
    np.testing.assert_allclose(found, scores.reshape(5, 3, 2).mean(axis=1), atol=1e-4)


def test_an_interrupt_before_the_training_is_told(checkpoint_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "score", lambda *_: SimpleNamespace(complete=False))
    with pytest.raises(KeyboardInterrupt, match="EPRSTMT test_public train_0 is not finished; similar rows"):
        lm_bff.main(arguments(checkpoint_dir))


def test_rows_without_labels_are_refused(
    checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_error: Callable[..., str]
) -> None:
    """A card of one's own may give a cloze a pattern; there are no labels to demonstrate."""
    card = (CARDS / "chid.yaml").read_text(encoding="utf-8")
    pattern = '  lm_bff: {pattern: "{before}{label}{after}"}\n'
    (tmp_path / "chid.yaml").write_text(card.replace("\nmethods:\n", f"\nmethods:\n{pattern}"), encoding="utf-8")
    monkeypatch.setattr("nsp_bert.cards.CARDS", tmp_path)
    run = ("--model", checkpoint_dir, "--data-dir", SAMPLE, "--dataset", "chid", "--train", "0", "--demonstrations")
    assert "no labels, rows have their own candidates" in expect_error(lm_bff.main, *run)


def test_too_many_labels_are_refused(checkpoint_dir: Path, expect_error: Callable[..., str]) -> None:
    run = ("--model", checkpoint_dir, "--data-dir", SAMPLE, "--dataset", "csldcp", "--train", "0", "--demonstrations")
    assert "a row and one of each of 67 labels have 3 tokens each in 256; leave it out" in expect_error(
        lm_bff.main, *run
    )
