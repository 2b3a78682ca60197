"""Calibration stands beside the headline: its figures by hand, the headline untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import comb
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import SAMPLE, RunScript
from hypothesis import given
from hypothesis import strategies as st

import nsp_bert_benchmark as benchmark
import nsp_bert_classification as classification
import nsp_bert_cloze_style as cloze
import nsp_bert_coreference_resolution as coreference
import nsp_bert_entity_linking as entity_linking
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.answer_mapping import apply_thresholds, learn_thresholds
from nsp_bert.cards import load_card
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.contents import Cloze, EntityMention, Question, SentencePair, Text
from nsp_bert.encoding import encode_clozes, encode_entity_mentions, encode_label_pairs, encode_sentence_pairs
from nsp_bert.methods.calibration import NEUTRAL_TEXTS, ContentFree, Ensemble
from nsp_bert.results.metrics import mcnemar
from nsp_bert.scoring.exact import Scored
from nsp_bert.scoring.score_files import ScoreFile
from nsp_bert.scoring.scorer import Scorer, Scores
from nsp_bert.terminal import INTERRUPTED
from nsp_bert.tokenization import EncodedPair, PairEncoder, make_pair_encoder
from utils import load_examples

BOTH = ("--calibration", "content-free", "ensemble")
CONTENT_FREE = ("--calibration", "content-free")


@pytest.fixture(scope="module")
def scorer(checkpoint_dir: Path) -> Scorer:
    return Scorer(open_checkpoint(str(checkpoint_dir)))


@pytest.fixture(scope="module")
def encoder(checkpoint_dir: Path) -> PairEncoder:
    return make_pair_encoder(open_checkpoint(str(checkpoint_dir)), 128)


def values(scorer: Scorer, pairs: Iterable[EncodedPair]) -> np.ndarray:
    found = list(pairs)
    return scorer.score(found, len(found)).values


def scores(rows: list[dict]) -> np.ndarray:
    return np.array([row["scores"] for row in rows])


def predictions(rows: list[dict], method: str) -> list[str]:
    return [row[f"prediction_{method}"] for row in rows]


def test_content_free_by_hand(run_script: RunScript, scorer: Scorer, encoder: PairEncoder) -> None:
    """TNEWS: the prior of a label is the mean log-odds of its prompt with each neutral text."""
    summary, rows = run_script(classification, "tnews", *CONTENT_FREE)
    card = load_card("tnews")
    prompts = [f"这是一则{word}新闻" for word in card.labels.values()]
    neutral = values(scorer, encode_label_pairs(encoder, list(NEUTRAL_TEXTS["zh"]), prompts, "prefix"))
    prior = neutral.reshape(-1, len(prompts)).mean(axis=0)
    found = summary["calibration"]["content_free"]
    assert list(found["prior"]) == list(card.labels)
    np.testing.assert_allclose(list(found["prior"].values()), prior, atol=1e-4)
    expected = [list(card.labels)[place] for place in np.argmax(scores(rows) - prior, axis=1)]
    assert predictions(rows, "content_free") == expected != [row["prediction"] for row in rows]
    check_comparison(summary, rows, "content_free")


def check_comparison(summary: dict, rows: list[dict], method: str) -> None:
    """Accuracy, gain, rows gained and lost, p and the line below the table follow from the rows."""
    found = summary["calibration"][method]
    before = np.array([row["prediction"] == row["label"] for row in rows])
    after = np.array([row[f"prediction_{method}"] == row["label"] for row in rows])
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    assert found["accuracy"] == summary["metrics"][f"accuracy_{method}"] == pytest.approx(after.mean())
    assert found["gain"] == pytest.approx(after.mean() - before.mean())
    assert (found["gained"], found["lost"], found["p"]) == (gained, lost, mcnemar(gained, lost))
    name = method.replace("_", "-")
    assert any(
        note.startswith(f"{name} {100 * found['gain']:+.2f} points ({gained} rows right that were wrong, {lost} the")
        for note in summary["notes"]
    )


def test_content_free_of_candidates_by_hand(run_script: RunScript, scorer: Scorer, encoder: PairEncoder) -> None:
    """ChID: every example has candidates, and so a prior, of its own; there is none per label."""
    summary, rows = run_script(cloze, "chid", *CONTENT_FREE, "--limit", "6")
    for row, example in zip(rows, load_examples(load_card("chid"), SAMPLE, "test_public")[:6], strict=True):
        neutral = [Cloze(text, "", example.content.candidates) for text in NEUTRAL_TEXTS["zh"]]
        found = values(scorer, encode_clozes(encoder, neutral, "#idiom#", "suffix", soft=True)).reshape(3, -1)
        assert row["prediction_content_free"] == str(np.argmax(row["scores"] - found.mean(axis=0)))
    assert "prior" not in summary["calibration"]["content_free"]


def test_content_free_of_mentions_by_hand(run_script: RunScript, scorer: Scorer, encoder: PairEncoder) -> None:
    """DuEL2.0's types: the mention's name stays in the prompt."""
    summary, rows = run_script(entity_linking, "duel_typing", *BOTH, "--task", "typing", split="dev")
    card = load_card("duel")
    types = [(card.type_prompt, word) for word in card.types.values()]
    for row in rows:
        neutral = [Question(EntityMention(text, row["mention"], 0), tuple(types)) for text in NEUTRAL_TEXTS["zh"]]
        pairs = encode_entity_mentions(encoder, neutral, card.templates[0].text, "suffix", 2)
        prior = values(scorer, pairs).reshape(3, -1).mean(axis=0)
        assert row["prediction_content_free"] == list(card.types)[int(np.argmax(row["scores"] - prior))]
    check_comparison(summary, rows, "content_free")


def test_content_free_of_entities(run_script: RunScript) -> None:
    summary, rows = run_script(entity_linking, "duel_linking", *CONTENT_FREE, split="dev")
    check_comparison(summary, rows, "content_free")
    assert all(row["prediction_content_free"] in row["candidates"] for row in rows)
    assert "accuracy_ambiguous" in summary["metrics"]


def test_content_free_thresholds_are_learned_on_calibrated_dev(
    run_script: RunScript, scorer: Scorer, encoder: PairEncoder
) -> None:
    summary, rows = run_script(sentence_pair, "ocnli", *CONTENT_FREE)
    card = load_card("ocnli")
    calibrated = []
    for split in ("dev_few_all", "test_public"):
        pairs = [example.content for example in load_examples(card, SAMPLE, split)]
        neutral = [SentencePair(pair.prompt, text) for pair in pairs for text in NEUTRAL_TEXTS["zh"]]
        own = values(scorer, encode_sentence_pairs(encoder, pairs, "prefix", card.protect_prompt))
        prior = values(scorer, encode_sentence_pairs(encoder, neutral, "prefix", card.protect_prompt))
        calibrated.append(own - prior.reshape(-1, 3).mean(axis=1))
    thresholds = learn_thresholds(calibrated[0], 3)
    np.testing.assert_allclose(summary["calibration"]["content_free"]["thresholds"], thresholds, atol=1e-4)
    expected = [card.labels[place] for place in apply_thresholds(calibrated[1], thresholds)]
    assert predictions(rows, "content_free") == expected
    check_comparison(summary, rows, "content_free")


def test_ensemble_is_the_mean_of_the_templates_runs(run_script: RunScript, capfd: pytest.CaptureFixture[str]) -> None:
    """Word for word the card's three, whichever is the run's own; a text of the user's is not among them."""
    labels = list(load_card("eprstmt").labels)
    mean = np.mean([scores(run_script(classification, "eprstmt", "--template", number)[1]) for number in "123"], axis=0)
    expected = [labels[place] for place in np.argmax(mean, axis=1)]
    capfd.readouterr()
    for template, others in (("1", "23"), ("3", "12"), ("我说{}", "123")):
        summary, rows = run_script(classification, "eprstmt", *BOTH, "--template", template)
        assert predictions(rows, "ensemble") == expected
        lines = [line for line in capfd.readouterr().out.splitlines() if "ensemble, " in line]
        assert lines == [f"EPRSTMT ensemble, template {number}: 80 more pairs" for number in others]
        check_comparison(summary, rows, "ensemble")


def test_ensemble_thresholds_are_learned_on_dev_s_mean(run_script: RunScript) -> None:
    means = []
    for split in ("dev_few_all", "test_public"):
        both = [scores(run_script(coreference, "cluewsc", "--template", number, split=split)[1]) for number in "12"]
        means.append(np.mean(both, axis=0)[:, 0])
    summary, rows = run_script(coreference, "cluewsc", *BOTH)
    thresholds = learn_thresholds(means[0], 2)
    np.testing.assert_allclose(summary["calibration"]["ensemble"]["thresholds"], thresholds, atol=1e-4)
    assert predictions(rows, "ensemble") == [
        load_card("cluewsc").labels[place] for place in apply_thresholds(means[1], thresholds)
    ]
    check_comparison(summary, rows, "content_free")


@pytest.mark.parametrize(
    ("script", "name", "options"),
    [(classification, "eprstmt", BOTH), (coreference, "cluewsc", BOTH), (cloze, "chid", CONTENT_FREE)],
)
def test_the_headline_stays(
    run_script: RunScript,
    script: Any,
    name: str,
    options: tuple[str, ...],
    capfd: pytest.CaptureFixture[str],
) -> None:
    plain, plain_rows = run_script(script, name)
    assert "content free" not in capfd.readouterr().out
    summary, rows = run_script(script, name, *options)
    assert "content free" in capfd.readouterr().out
    own = {"index", "id", "label", "prediction", "scores"}
    assert [{key: row[key] for key in own} for row in rows] == plain_rows
    assert plain["metrics"].items() <= summary["metrics"].items()
    same = ("settings", "published", "n", "complete", "parts", "model", "thresholds", "prompts")
    assert {key: summary.get(key) for key in same} == {key: plain.get(key) for key in same}
    assert "calibration" not in plain


def test_unlabelled_rows_are_predicted_without_an_accuracy(run_script: RunScript) -> None:
    summary, rows = run_script(classification, "eprstmt", *BOTH, split="test")
    assert (summary["metrics"], summary["notes"]) == (None, [])
    assert summary["calibration"].keys() == {"content_free", "ensemble"}
    assert "accuracy" not in summary["calibration"]["content_free"]
    assert all({"prediction_content_free", "prediction_ensemble"} <= row.keys() for row in rows)


@pytest.mark.parametrize(("call", "kept"), [(1, set()), (2, {"content_free"})])
@pytest.mark.parametrize(("script", "name"), [(classification, "eprstmt"), (coreference, "cluewsc")])
def test_ctrl_c_keeps_the_headline_and_whole_methods(
    run_script: RunScript,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: Any,
    name: str,
    call: int,
    kept: set[str],
) -> None:
    """The key is pressed while the pairs of the call are drawn: 0 is the headline, 1 content-free, 2 the ensemble."""
    plain, plain_rows = run_script(script, name)
    (tmp_path / f"{name}.test_public.json").unlink()  # else the complete result would stay
    calls = []

    def interrupted(pairs: Iterable[EncodedPair]) -> Iterator[EncodedPair]:
        yield from list(pairs)[:1]
        raise KeyboardInterrupt

    def score(
        self: Scorer, pairs: Iterable[EncodedPair], total: int, journal: ScoreFile | None = None, **options: Any
    ) -> Scores:
        calls.append(total)
        return whole(self, interrupted(pairs) if len(calls) == call + 1 else pairs, total, journal, **options)

    whole = Scorer.score
    monkeypatch.setattr(Scorer, "score", score)
    summary, rows = run_script(script, name, *BOTH, status=INTERRUPTED)
    assert len(calls) == call + 1
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in plain_rows]
    assert summary["metrics"]["accuracy"] == plain["metrics"]["accuracy"]
    assert not summary["complete"]
    assert summary.get("calibration", {}).keys() == kept
    beside = {key.removeprefix("prediction_") for row in rows for key in row if key.startswith("prediction_")}
    assert beside == {key for key in ("content_free", "ensemble") if f"accuracy_{key}" in summary["metrics"]} == kept


def test_a_single_template_has_no_ensemble(run_script: RunScript) -> None:
    summary, rows = run_script(entity_linking, "duel_linking", "--calibration", "ensemble", split="dev")
    assert "no ensemble: the dataset's card has a single template" in summary["notes"]
    assert summary["complete"]
    assert "calibration" not in summary
    assert not any("prediction_ensemble" in row for row in rows)


def test_wrong_uses(expect_error: Callable[..., str], capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused = expect_error(classification.main, "--ablate", "--calibration", "ensemble")
    assert "would score every template again in each run of --ablate" in refused
    arguments = ("--labels", "a,b", "--text", "c", "--calibration", "content-free")
    assert "own texts do not have" in expect_error(classification.main, *arguments)
    arguments = ("--prompts", "templates", "--calibration", "ensemble", "--output", str(tmp_path))
    assert "leave it or --prompts out" in expect_error(benchmark.main, *arguments)
    for script in (cloze, sentence_pair):
        with pytest.raises(SystemExit) as stopped:
            script.main(["--calibration", "ensemble"])
        assert stopped.value.code == 2
        assert "invalid choice: 'ensemble'" in capfd.readouterr().err


def test_mcnemar_by_its_formula() -> None:
    tail = sum(comb(96, count) for count in range(37)) / 2**96
    assert mcnemar(60, 36) == mcnemar(36, 60) == pytest.approx(2 * tail)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1.0


# A scorer of its own: the score of the pair (content, label) of a template is a number that the test chooses.
numbers = st.floats(-20, 20, width=32)
tables = st.integers(1, 4).flatmap(
    lambda labels: st.tuples(
        st.lists(st.lists(numbers, min_size=labels, max_size=labels), min_size=1, max_size=5),
        st.lists(st.lists(numbers, min_size=labels, max_size=labels), min_size=3, max_size=3),
        st.lists(numbers, min_size=labels, max_size=labels),
    )
)


def scored(values: Any) -> Scored:
    return Scored(np.array(values, np.float32).reshape(-1), True, 1.0, np.size(values))


def fake_session(score: Callable[[Any], float]) -> Any:
    """A session that scores by a function."""
    return SimpleNamespace(
        subject=lambda _task: SimpleNamespace(title="title"),
        score=lambda table: scored([score(pair) for pair in table.all()]),
    )


def fake(rows: list[list[float]], neutral: list[list[float]]) -> tuple[Any, Any, Scored]:
    """Return a task, a session that knows the neutral texts alone, and the log-odds of the task's texts."""
    labels = [str(place) for place in range(len(neutral[0]))]
    known = dict(zip(NEUTRAL_TEXTS["zh"], neutral, strict=True))

    task = SimpleNamespace(
        card=SimpleNamespace(language="zh"),
        labels=labels,
        contents=[Text(f"text {place}") for place in range(len(rows))],
        sizes=[len(labels)] * len(rows),
        pairs=lambda contents: ((content.text, label) for content in contents for label in range(len(labels))),
    )
    return task, fake_session(lambda pair: known[pair[0]][pair[1]]), scored(rows)


@given(table=tables)
def test_a_constant_per_label_is_calibrated_away(table: tuple[list, list, list]) -> None:
    rows, neutral, constants = table
    found = ContentFree.of(*fake(rows, neutral)).values
    np.testing.assert_allclose(found, (np.array(rows) - np.mean(neutral, axis=0)).reshape(-1), atol=1e-4)
    shifted = fake((np.array(rows) + constants).tolist(), (np.array(neutral) + constants).tolist())
    np.testing.assert_allclose(ContentFree.of(*shifted).values, found, atol=1e-3)


@given(
    rows=st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=2, max_size=4),
    own=st.integers(0, 4),
)
def test_an_ensemble_does_not_depend_on_which_template_ran_first(rows: list[list[float]], own: int) -> None:
    """`own` 0 is a text of the user's: it is left out of the mean."""
    number = own if own <= len(rows) else 0
    templates = [SimpleNamespace(text=str(place)) for place in range(len(rows))]

    def task(template: SimpleNamespace) -> Any:
        return SimpleNamespace(
            card=SimpleNamespace(templates=templates),
            prompt=SimpleNamespace(number=number or None),
            contents=[0, 1, 2, 3],
            sizes=[1] * 4,
            pairs=lambda contents: ((one, int(template.text)) for one in contents),
            with_template=lambda _, other: task(other),
        )

    first = scored(rows[number - 1] if number else [99.0] * 4)
    session = fake_session(lambda pair: rows[pair[1]][pair[0]])
    found = Ensemble.of(task(templates[number - 1]), session, first).values
    np.testing.assert_allclose(found, np.mean(rows, axis=0), atol=1e-4)
