"""P-tuning on the sample's few rows: what is trained, what is saved, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import p_tuning
import pytest
import random_checkpoint
from conftest import SAMPLE

from nsp_bert.cards import load_card
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.soft_prompt import SoftPrompt, read_prompt
from nsp_bert.checkpoints.tensors import read_tensors
from nsp_bert.errors import UserError
from nsp_bert.methods.masked_few_shot import CausalTeacher, Lesson, MaskedTeacher
from nsp_bert.options import Recipe
from nsp_bert.report.figures import nearest_words_figure
from nsp_bert.results.fingerprint import checkpoint_digest
from nsp_bert.results.summary import NearWord
from nsp_bert.tokenization import EncodedPair, Reads

pytestmark = pytest.mark.usefixtures("eager_training")

MASK, VOCABULARY, NEAREST = 4, 100, 5
Run = Callable[..., dict[str, Any]]
TABLE = "bert/embeddings/word_embeddings"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the script on the first rows of EPRSTMT's sample; return the summary of its result."""

    def made(model: Path, *options: object, dataset: str = "eprstmt", result: str = "p_tuning.train_0") -> dict:
        trained = ["--train", "0", "--epochs", "1", "--learning-rate", "3e-3", "--step-rows", "4"]
        common = ["--model", model, "--data-dir", SAMPLE, "--dataset", dataset, "--limit", "6"]
        common += ["--output", tmp_path / "results", "--overwrite", *(trained if "train" in result else [])]
        assert p_tuning.main([*map(str, [*common, *options])]) == 0
        path = tmp_path / "results" / f"{dataset}.test_public.{result}.json"
        return json.loads(path.read_text(encoding="utf-8")) | {"rows": path.with_suffix(".jsonl").read_text("utf-8")}

    return made


def scores(summary: dict[str, Any]) -> np.ndarray:
    return np.array([json.loads(line)["scores"] for line in summary["rows"].splitlines()])


@pytest.mark.parametrize(("dataset", "tokens"), [("eprstmt", 8), ("cluewsc", 2), ("chid", 2)])
def test_a_run(run: Run, checkpoint_dir: Path, dataset: str, tokens: int) -> None:
    summary = run(checkpoint_dir, dataset=dataset)
    assert (summary["method"], summary["train"], summary["n"]) == ("p_tuning", "0", 6)
    assert summary["settings"].items() >= {"encoder": "lstm", "insert": "before", "step_rows": "4"}.items()
    assert [len(row) for row in summary["nearest_words"]] == [NEAREST] * tokens
    figure = nearest_words_figure([[NearWord(**near) for near in row] for row in summary["nearest_words"]])
    assert len(figure.plot["data"][0]["text"]) == tokens


@pytest.mark.parametrize("insert", ["before", "after"])
def test_a_frozen_prompt_scores_the_same_from_its_file(
    run: Run, checkpoint_dir: Path, tmp_path: Path, insert: str
) -> None:
    trained = run(checkpoint_dir, "--freeze", "--insert", insert, "--save", tmp_path / "kept")
    (saved,) = (tmp_path / "kept").iterdir()
    assert saved.name == "eprstmt.train_0.prompt.npz"
    assert saved.stat().st_size < 10_000
    assert (read_prompt(saved).insert, read_prompt(saved).embeddings.shape) == (insert, (8, 32))
    loaded = run(checkpoint_dir, "--prompt", saved, result="p_tuning")
    assert loaded["train"] is None
    assert loaded["nearest_words"] == trained["nearest_words"]
    np.testing.assert_allclose(scores(loaded), scores(trained), atol=1e-5)


def test_a_trained_checkpoint_scores_the_same_with_its_prompt(run: Run, checkpoint_dir: Path, tmp_path: Path) -> None:
    """And is not trained again, nor fits another checkpoint the prompt."""
    trained = run(checkpoint_dir, "--save", tmp_path)
    model, prompt = tmp_path / "eprstmt.train_0", tmp_path / "eprstmt.train_0.prompt.npz"
    loaded = run(model, "--prompt", prompt, result="p_tuning")
    np.testing.assert_allclose(scores(loaded), scores(trained), atol=1e-5)
    with pytest.raises(UserError, match="trained with another checkpoint; give --model that one"):
        run(checkpoint_dir, "--prompt", prompt, result="p_tuning")
    with pytest.raises(UserError, match="has soft tokens already"):
        run(model)


def test_freezing_trains_the_soft_tokens_alone(run: Run, checkpoint_dir: Path, tmp_path: Path) -> None:
    run(checkpoint_dir, "--encoder", "none", "--save", tmp_path)
    frozen = run(checkpoint_dir, "--encoder", "none", "--freeze")
    assert frozen["training"]["parameters"] == 8 * 32
    folders = (tmp_path / "eprstmt.train_0", checkpoint_dir)
    words, before = (read_tensors(open_checkpoint(str(one), ("MLM",)).prefix)[TABLE] for one in folders)
    assert len(words) == len(before) + 8
    assert (words[: len(before)] != before).any()


def test_the_nsp_head_has_soft_tokens_too(run: Run, checkpoint_dir: Path, tmp_path: Path) -> None:
    trained = run(checkpoint_dir, "--head", "nsp", "--freeze", "--save", tmp_path, result="p_tuning_nsp.train_0")
    assert trained["settings"]["pattern"] == "{soft:8}{label}||{text}"
    prompt = tmp_path / "eprstmt.train_0.prompt.npz"
    loaded = run(checkpoint_dir, "--head", "nsp", "--prompt", prompt, result="p_tuning_nsp")
    np.testing.assert_allclose(scores(loaded), scores(trained), atol=1e-5)
    with pytest.raises(UserError, match=r"trained with the pattern '\{soft:8\}\{label\}"):
        run(checkpoint_dir, "--prompt", prompt, result="p_tuning")
    with pytest.raises(UserError, match="has no soft_nsp under methods"):
        run(checkpoint_dir, "--head", "nsp", dataset="bustm")


def test_a_head_that_is_not_there(expect_error: Callable[..., str], tmp_path: Path) -> None:
    model = random_checkpoint.random_checkpoint(tmp_path / "m", heads=("pooler", "NSP"), hidden=16)
    line = expect_error(p_tuning.main, "--model", model, "--head", "causal", "--dataset", "tnews")
    assert "no MLM head" in line


@pytest.mark.parametrize("dataset", ["eprstmt", "chid"])
def test_a_causal_model(run: Run, tmp_path: Path, dataset: str) -> None:
    """Scored from what was saved as right after training; without --head causal it is refused."""
    model = random_checkpoint.random_checkpoint(tmp_path / "model", heads=("MLM",), segments=0)
    options = ("--head", "causal", "--save", tmp_path)
    trained = run(model, *options, dataset=dataset, result="p_tuning_causal.train_0")
    assert trained["settings"]["pattern"] == load_card(dataset).methods.soft_causal.pattern
    assert len(trained["nearest_words"]) == 8
    saved = tmp_path / f"{dataset}.train_0"
    options = ("--head", "causal", "--prompt", f"{saved}.prompt.npz")
    loaded = run(saved, *options, dataset=dataset, result="p_tuning_causal")
    np.testing.assert_allclose(scores(loaded), scores(trained), atol=2e-4)
    with pytest.raises(UserError, match="--head causal can use"):
        run(saved, dataset=dataset)


def test_a_bert_under_a_causal_mask(run: Run, checkpoint_dir: Path, tmp_path: Path) -> None:
    """Its frozen weights keep their segments, which are not asked for; trained ones have none."""
    options, result = ("--head", "causal", "--encoder", "none", "--save", tmp_path), "p_tuning_causal.train_0"
    trained = run(checkpoint_dir, *options, "--freeze", "--insert", "after", result=result)
    assert trained["training"]["parameters"] == 8 * 32
    prompt = ("--prompt", tmp_path / "eprstmt.train_0.prompt.npz")
    loaded = run(checkpoint_dir, "--head", "causal", *prompt, result="p_tuning_causal")
    np.testing.assert_allclose(scores(loaded), scores(trained), atol=1e-5)
    with pytest.raises(UserError, match=r"trained with the pattern '\{soft:4\}\{text\}\{soft:4\}\{label\}'"):
        run(checkpoint_dir, *prompt, result="p_tuning")
    run(checkpoint_dir, *options, result=result)
    assert open_checkpoint(str(tmp_path / "eprstmt.train_0"), ("MLM",), causal=True).causal


def test_a_causal_model_is_asked_for_its_word_alone() -> None:
    """Nothing is masked, and each token is asked for once, at the place before it."""
    token_ids, lessons = [10 + place for place in range(40)], []
    for start, end in ((38, 40), (10, 30)):
        word = token_ids[start:end]
        reads = Reads([*range(start - 1, end - 1)], [[token] for token in word])
        lessons.append(Lesson(EncodedPair(token_ids[:end], end, reads=reads), word))
    teacher = CausalTeacher(Recipe(), lessons, MASK, VOCABULARY)
    ((ids, _, _, places, tokens, weights),) = teacher.parts([0, 1], np.random.default_rng(0))
    asked = weights > 0
    np.testing.assert_allclose(weights[asked], 1 / 22)
    assert tokens[asked].tolist() == [48, 49, *range(20, 40)]
    assert (ids.ravel()[places[asked] + 1] == tokens[asked]).all()
    assert set(ids.ravel()) == {0, *token_ids}


def test_nothing_is_trained_beside_a_prompt(expect_error: Callable[..., str], tmp_path: Path) -> None:
    line = expect_error(p_tuning.main, "--prompt", tmp_path / "none.npz", "--epochs", "3")
    assert "--prompt trains nothing: leave out --epochs" in line
    line = expect_error(p_tuning.main, "--prompt", tmp_path / "none.npz", "--dataset", "eprstmt")
    assert "none.npz: cannot be read" in line


@pytest.mark.parametrize(
    "change",
    [
        {"embeddings": np.zeros((2, 3))},
        {"embeddings": np.zeros(3, np.float32)},
        {"embeddings": np.full((2, 3), np.nan, np.float32)},
        {"embeddings": np.array([{}], object)},
        {"insert": "between"},
        {"pattern": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_file_that_is_no_prompt(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "prompt.npz"
    good = SoftPrompt(np.ones((2, 3), np.float32), "after", "{soft:2}{label}{text}", "abc")
    good.write(path)
    found = read_prompt(path)
    assert (found.insert, found.pattern, found.checkpoint) == (good.insert, good.pattern, good.checkpoint)
    np.testing.assert_array_equal(found.embeddings, good.embeddings)
    arrays = vars(good) | change
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(UserError, match="not a trained prompt"):
        read_prompt(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match="not a trained prompt"):
        read_prompt(path)


def test_a_prompt_of_another_width_is_refused(run: Run, checkpoint_dir: Path, tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "prompt.npz", checkpoint_digest(open_checkpoint(str(checkpoint_dir)))
    SoftPrompt(np.ones((8, 16), np.float32), "before", "{label}满意{soft:8}{text}", checkpoint).write(path)
    with pytest.raises(UserError, match="width 16 does not fit a checkpoint of width 32"):
        run(checkpoint_dir, "--prompt", path, result="p_tuning")


def test_soft_tokens_are_neither_asked_for_nor_replaced() -> None:
    token_ids = [10 + place for place in range(40)]
    token_ids[3:5], token_ids[5:13] = [MASK, MASK], [VOCABULARY + number for number in range(8)]
    lesson = Lesson(EncodedPair(token_ids, 40, reads=Reads([3, 4], [[50, 60], [51, 61]])), [50, 51])
    teacher, rng, touched = MaskedTeacher(Recipe(), [lesson], MASK, VOCABULARY), np.random.default_rng(0), set()
    for _ in range(200):
        asked = teacher._asked(lesson, rng)
        assert asked.pair.token_ids[5:13] == token_ids[5:13]
        assert (asked.tokens < VOCABULARY).all()
        touched |= set(asked.places.tolist())
    assert touched == set(range(40)) - set(range(5, 13))


def test_every_label_has_a_word_of_its_own() -> None:
    """The published runs left labels out, and with them rows."""
    for name, labels in (("tnews", 15), ("iflytek", 119), ("csldcp", 67)):
        card = load_card(name)
        assert card.methods.soft_cloze
        words = card.word_set(card.methods.soft_cloze.words)
        assert len(set(words.values())) == labels == len(card.label_values)
        assert {len(word) for word in words.values()} == {2}
        assert set("".join(words.values())) <= set(random_checkpoint.vocabulary())


def test_a_full_disk_is_told(run: Run, checkpoint_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, checkpoint = tmp_path / "prompt.npz", checkpoint_digest(open_checkpoint(str(checkpoint_dir)))
    SoftPrompt(np.ones((8, 32), np.float32), "before", "{label}满意{soft:8}{text}", checkpoint).write(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nsp_bert.checkpoints.tensors.write_tensors", full)
    with pytest.raises(UserError, match=r"cannot be written .*No space left"):
        run(checkpoint_dir, "--prompt", path, result="p_tuning")
