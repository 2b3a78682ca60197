"""Which runs a published number stands beside: a case for every way in which two runs can differ."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import SAMPLE, RandomScorer

import nsp_bert_classification as classification
import nsp_bert_cloze_style as cloze
import nsp_bert_coreference_resolution as coreference
import nsp_bert_entity_linking as entity_linking
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.options import Options
from nsp_bert.scoring.score_files import ScoreFile
from nsp_bert.scoring.scorer import Scores
from nsp_bert.terminal import INTERRUPTED
from nsp_bert_benchmark import comparable

Published = Callable[..., float | None]


@pytest.fixture
def published(checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    """Run a script on files that are not the sample, and return the published accuracy in percent or None."""
    monkeypatch.setattr("nsp_bert.session.Scorer", RandomScorer)
    monkeypatch.setattr("nsp_bert.checkpoints.checkpoint.unlike_card", lambda *_: "")  # a random checkpoint poses
    data = shutil.copytree(SAMPLE, tmp_path / "data")

    def run(
        script: Any, result: str, *options: str, model: str = "uer-mixed-bert-base", data: Path = data, status: int = 0
    ) -> float | None:
        folder = tmp_path / model
        if not folder.is_dir():
            shutil.copytree(checkpoint_dir, folder)
        arguments = ["--model", str(folder), "--dataset", result.split("_")[0].split(".")[0], "--data-dir", str(data)]
        assert script.main([*arguments, "--output", str(tmp_path / "out"), "--overwrite", *options]) == status
        found = json.loads((tmp_path / "out" / f"{result}.json").read_text(encoding="utf-8"))["published"]
        return found and round(100 * found["accuracy"], 2)

    return run


# What the published runs did differently has a published number of its own.
PRINTED = [
    (classification, "eprstmt.test_public", (), 86.89),
    (classification, "eprstmt.test_public", ("--template", "1"), 54.59),
    (classification, "eprstmt.test_public", ("--template", "这次买的东西{}"), 86.89),
    (classification, "eprstmt.dev_few_all", ("--split", "dev_few_all"), 88.13),
    (sentence_pair, "bustm.test_public", (), 63.43),
    (coreference, "cluewsc.test_public", (), 59.43),
    (coreference, "cluewsc.test_public", ("--template", "2", "--stages", "2"), 59.43),
    (cloze, "chid.test_public", (), 52.00),
    (cloze, "chid.test_public", ("--positions", "hard"), 50.85),
    (entity_linking, "duel_linking.dev", (), 69.66),
    (entity_linking, "duel_linking.dev", ("--stages", "1", "--task", "linking"), 61.16),
    (entity_linking, "duel_typing.dev", (), 40.04),
    (entity_linking, "duel_typing.dev", ("--stages", "1"), 31.35),
]
# How a run is computed, or what is computed beside it, does not make it another run.
WITHOUT_EFFECT = [
    (classification, "eprstmt.test_public", ("--precision", "bfloat16"), 86.89),
    (classification, "eprstmt.test_public", ("--batch-tokens", "512"), 86.89),
    (classification, "eprstmt.test_public", ("--calibration", "content-free", "ensemble"), 86.89),
    (coreference, "cluewsc.test_public", ("--calibration", "content-free", "ensemble"), 59.43),
    (cloze, "chid.test_public", ("--calibration", "content-free"), 52.00),
    (entity_linking, "duel_typing.dev", ("--calibration", "content-free"), 40.04),
    (sentence_pair, "bustm.test_public", ("--batch-curve", "--seeds", "2"), 63.43),
    (classification, "eprstmt.test_public", ("--prompt-position", "prefix", "--max-length", "128"), 86.89),
]
# Nobody has printed a number of these.
OTHERS = [
    (classification, "eprstmt.test_public", ("--template", "我说{}"), None),
    (classification, "eprstmt.test", ("--split", "test"), None),
    (sentence_pair, "bustm.test", ("--split", "test"), None),
    (cloze, "chid.test", ("--split", "test"), None),
    (coreference, "cluewsc.test_public", ("--stages", "1"), None),
    (coreference, "cluewsc.test_public", ("--template", "1"), None),
    (coreference, "cluewsc.test_public", ("--template", "这里{}是指"), None),
    (entity_linking, "duel_linking.dev", ("--template", "这里{}是指"), None),
    *(
        (script, result, options, None)
        for script, result, other in (
            (classification, "eprstmt.test_public", "suffix"),
            (sentence_pair, "bustm.test_public", "suffix"),
            (coreference, "cluewsc.test_public", "prefix"),
            (cloze, "chid.test_public", "prefix"),
            (entity_linking, "duel_typing.dev", "prefix"),
        )
        for options in (("--prompt-position", other), ("--max-length", "64"), ("--limit", "40"))
    ),
]


@pytest.mark.parametrize(("script", "result", "options", "expected"), PRINTED + WITHOUT_EFFECT + OTHERS)
def test_options(
    published: Published, script: Any, result: str, options: tuple[str, ...], expected: float | None
) -> None:
    assert published(script, result, *options) == expected


@pytest.mark.parametrize(
    ("script", "result", "model", "expected"),
    [
        (classification, "eprstmt.test_public", "google-bert-zh", 83.11),
        (classification, "eprstmt.test_public", "mine", None),
        (sentence_pair, "bustm.test_public", "google-bert-zh", None),
        (coreference, "cluewsc.test_public", "google-bert-zh", None),
        (cloze, "chid.test_public", "mine", None),
        (entity_linking, "duel_linking.dev", "mine", None),
    ],
)
def test_models(published: Published, script: Any, result: str, model: str, expected: float | None) -> None:
    assert published(script, result, model=model) == expected


@pytest.mark.parametrize(
    ("script", "result"),
    [
        (classification, "eprstmt.test_public"),
        (sentence_pair, "bustm.test_public"),
        (coreference, "cluewsc.test_public"),
        (cloze, "chid.test_public"),
        (entity_linking, "duel_linking.dev"),
    ],
)
def test_the_sample_and_an_unfinished_run_are_not_compared(
    published: Published, monkeypatch: pytest.MonkeyPatch, script: Any, result: str
) -> None:
    assert published(script, result, data=SAMPLE) is None
    monkeypatch.setattr(RandomScorer, "complete", False)
    assert published(script, result, status=INTERRUPTED) is None


def test_an_interrupted_calibration_is_not_compared(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = RandomScorer.score
    sizes: list[int] = []

    def score(
        self: RandomScorer, pairs: Iterable[Any], total: int, journal: ScoreFile | None = None, **_options: Any
    ) -> Scores:
        sizes.append(total)
        return whole(self, pairs, total)._replace(complete=len(sizes) == 1)

    monkeypatch.setattr(RandomScorer, "score", score)
    assert published(classification, "eprstmt.test_public", "--calibration", "content-free", status=INTERRUPTED) is None
    assert len(sizes) == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"complete": False}, False),
        ({"rows": "first 5 rows"}, False),
        ({"precision": "bfloat16"}, False),
        ({"backend": "openvino"}, False),
        ({"prompt_position": "suffix"}, True),  # a row of its own in the ablations
        ({"template_number": 1}, True),
    ],
)
def test_runs_of_a_benchmark(change: dict[str, Any], expected: bool) -> None:
    settings = {"rows": "all", "precision": "float32", "backend": "tensorflow", "prompt_position": "prefix"} | change
    complete = bool(settings.pop("complete", True))
    summary = SimpleNamespace(complete=complete, settings=settings)
    assert comparable(summary, Options(model="m")) is expected  # type: ignore[arg-type]


def test_a_folder_s_name_makes_no_published_model(
    random_scores: type[RandomScorer], checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(checkpoint_dir, tmp_path / "uer-mixed-bert-base")
    data = shutil.copytree(SAMPLE, tmp_path / "data")
    arguments = ["--model", str(folder), "--dataset", "eprstmt", "--data-dir", str(data), "--output", str(tmp_path)]
    assert classification.main(arguments) == 0
    assert json.loads((tmp_path / "eprstmt.test_public.json").read_text(encoding="utf-8"))["published"] is None
    out = capfd.readouterr().out
    assert "uer-mixed-bert-base: 2 layers x 32 with 4 heads, not the 12 x 768 with 12 of" in " ".join(out.split())
    assert "no published number for this model" in out
