"""PET and GPT on the sample of all nine datasets: scores as bert4keras' models give them, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gpt
import numpy as np
import pet
import pytest
import random_checkpoint
from conftest import ROOT, SAMPLE, write_rows

import nsp_bert_classification
from nsp_bert.cards import CARDS, load_card
from nsp_bert.results.benchmark_tables import FEWCLUE

Run = Callable[..., tuple[dict, list[dict]]]
ROWS = 6
GOLDEN = json.loads((ROOT / "tests" / "golden" / "methods.json").read_text(encoding="utf-8"))


@pytest.fixture
def run(checkpoint_dir: Path, tmp_path: Path) -> Run:
    """Run a method on a dataset's sample and return (summary, rows)."""

    def run(script: ModuleType, dataset: str, *options: str) -> tuple[dict, list[dict]]:
        output = tmp_path / f"{script.__name__}{len(options)}"
        common = ["--model", str(checkpoint_dir), "--data-dir", str(SAMPLE), "--output", str(output)]
        assert script.main(["--dataset", dataset, "--limit", str(ROWS), *common, *options]) == 0
        path = output / f"{dataset}.test_public.{script.__name__}.json"
        rows = path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
        return json.loads(path.read_text(encoding="utf-8")), [json.loads(row) for row in rows]

    return run


def keras_log_probabilities(folder: Path, **options: Any) -> Callable[[list[int]], np.ndarray]:
    """Return token ids -> log-probabilities (T, vocabulary) of bert4keras' model."""
    from nsp_bert.environment import import_tensorflow, quiet_initializers

    import_tensorflow()
    from bert4keras.models import build_transformer_model

    with quiet_initializers():
        model = build_transformer_model(
            str(folder / "bert_config.json"), str(folder / "bert_model.ckpt"), return_keras_model=True, **options
        )

    def log_probabilities(token_ids: list[int]) -> np.ndarray:
        inputs = [np.array([token_ids]), np.zeros((1, len(token_ids)))]
        return np.log(model.predict(inputs[: len(model.inputs)], verbose=0)[0])

    return log_probabilities


@pytest.fixture(scope="module")
def tokenizer(checkpoint_dir: Path) -> Any:
    from nsp_bert.environment import import_tensorflow

    import_tensorflow()
    from bert4keras.tokenizers import Tokenizer

    return Tokenizer(str(checkpoint_dir / "vocab.txt"), do_lower_case=True)


def sample_rows(dataset: str) -> list[dict]:
    lines = (SAMPLE / dataset / "test_public.json").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:ROWS]]


def written_out(dataset: str, row: dict, label: str) -> str:
    """Spell out FewCLUE's patterns by hand, the label in its place."""
    target = row.get("target", {})
    return {
        "eprstmt": lambda: f"{label}满意。{row['sentence']}",
        "tnews": lambda: f"下面报导一则{label}新闻。{row['sentence']}",
        "csldcp": lambda: f"这篇{label}论文阐述了{row['content']}",
        "iflytek": lambda: f"做为一款{label}应用，{row['sentence']}",
        "ocnli": lambda: f"{row['sentence1']}？{label},{row['sentence2']}",
        "bustm": lambda: f"{row['sentence1']}和{row['sentence2']}意思{label}同",
        "csl": lambda: f"{label}用{'，'.join(row['keyword'])}概括{row['abst']}",
        "cluewsc": lambda: f"{target['span2_text']}{label}{target['span1_text']}，{row['text']}",
        "chid": lambda: row["content"].replace("#idiom#", label),
    }[dataset]()


@pytest.mark.parametrize("dataset", FEWCLUE)
def test_pet_by_hand(run: Run, checkpoint_dir: Path, tokenizer: Any, dataset: str) -> None:
    """One pass a row with [MASK] in the label's place, the word's tokens summed up there."""
    summary, rows = run(pet, dataset)
    card = load_card(dataset)
    words = card.word_set(card.methods.cloze.words)
    model = keras_log_probabilities(checkpoint_dir, with_mlm=True)
    compared = 0
    for row, result in zip(sample_rows(dataset), rows, strict=True):
        offered = row["candidates"] if dataset == "chid" else list(words.values())
        length = len(offered[0])
        left, right = written_out(dataset, row, "\0").split("\0")
        ids = [tokenizer.tokens_to_ids(tokenizer.tokenize(part))[1:-1] for part in (left, right)]
        token_ids = [2, *ids[0], *[4] * length, *ids[1], 3]
        if len(token_ids) > (card.methods.cloze.max_length or card.max_length):
            continue
        found = model(token_ids)[1 + len(ids[0]) :]
        expected = [sum(found[n, tokenizer.token_to_id(letter)] for n, letter in enumerate(one)) for one in offered]
        np.testing.assert_allclose(result["scores"], expected, atol=2e-3)
        labels = [str(place) for place in range(len(offered))] if dataset == "chid" else list(words)
        assert result["prediction"] == labels[int(np.argmax(expected))]
        compared += 1
    assert compared >= 3
    assert (summary["method"], summary["mapping"], summary["published"]) == ("pet", "candidates-contrast", None)
    assert summary["settings"]["pattern"] == card.methods.cloze.pattern


@pytest.mark.parametrize("dataset", ["tnews", "chid"])
def test_gpt_by_hand(run: Run, checkpoint_dir: Path, tokenizer: Any, dataset: str) -> None:
    """A pass a candidate: the word after the text, or the idiom in its place with all that follows."""
    _, rows = run(gpt, dataset)
    card = load_card(dataset)
    words = card.word_set(card.methods.causal.words)
    model = keras_log_probabilities(checkpoint_dir, application="lm", segment_vocab_size=0)
    compared = 0
    for row, result in zip(sample_rows(dataset), rows, strict=True):
        if dataset == "chid":
            left, right = row["content"].split("#idiom#")
        else:
            left, right = f"{row['sentence']}这段内容是关于", ""
        for score, word in zip(result["scores"], row.get("candidates") or words.values(), strict=True):
            before = [2, *tokenizer.tokens_to_ids(tokenizer.tokenize(left))[1:-1]]
            rest = tokenizer.tokens_to_ids(tokenizer.tokenize(word + right))[1:]
            rest = rest if right else rest[:-1]
            if len(before) + len(rest) > (card.methods.causal.max_length or card.max_length):
                continue
            found = model(before + rest)
            expected = sum(found[len(before) - 1 + n, token] for n, token in enumerate(rest))
            assert score == pytest.approx(expected, abs=5e-3)
            compared += 1
    assert compared >= 14


@pytest.fixture(scope="module")
def causal_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random checkpoint without its segments."""
    return random_checkpoint.random_checkpoint(tmp_path_factory.mktemp("models") / "causal", segments=0)


@pytest.mark.parametrize("backend", ["tensorflow", "openvino"])
def test_gpt_takes_no_segments(run: Run, causal_dir: Path, backend: str) -> None:
    """So that a checkpoint without them gives the same scores."""
    if backend == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed: it is optional")
    _, expected = run(gpt, "tnews", "--backend", backend)
    summary, rows = run(gpt, "tnews", "--backend", backend, "--model", str(causal_dir))
    assert summary["model"] == "causal"
    assert [row["scores"] for row in rows] == [row["scores"] for row in expected]


@pytest.mark.parametrize("script", [pet, nsp_bert_classification])
def test_without_segments_only_gpt_runs(script: ModuleType, causal_dir: Path, expect_error: Callable[..., str]) -> None:
    line = expect_error(script.main, "--model", causal_dir, "--dataset", "tnews")
    assert (
        "a causal language model, without segments, which only baselines/gpt.py and p_tuning.py --head causal can"
        in line
    )


@pytest.mark.parametrize("dataset", ["tnews", "ocnli", "chid", "cluewsc"])
@pytest.mark.parametrize("script", [pet, gpt])
def test_scores_equal_hugging_face(run: Run, script: ModuleType, dataset: str) -> None:
    """From the file to the scores: patterns, words and scores are those of an implementation of its own."""
    expected = GOLDEN[script.__name__][dataset]
    assert len(expected) == 3
    _, rows = run(script, dataset, "--limit", str(1 + max(map(int, expected))))
    for index, scores in expected.items():
        np.testing.assert_allclose(rows[int(index)]["scores"], scores, atol=1e-3)


def test_labels_of_one_word_are_also_counted_as_one(run: Run) -> None:
    summary, rows = run(pet, "csldcp", "--words", "fewclue-pet")
    words = load_card("csldcp").word_set("fewclue-pet")
    shared = np.mean([words[row["label"]] == words[row["prediction"]] for row in rows])
    assert summary["metrics"]["accuracy_shared_words"] == pytest.approx(shared)
    assert summary["settings"]["words"] == "fewclue-pet"
    assert "accuracy_shared_words" not in run(pet, "csldcp")[0]["metrics"]


def test_auto_predicts_as_float32(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one pass gives all scores of a row."""
    monkeypatch.setattr("nsp_bert.scoring.exact.fast_precision", lambda: "bfloat16")
    for script in (pet, gpt):
        _, plain = run(script, "tnews")
        summary, auto = run(script, "tnews", "--precision", "auto")
        assert [row["prediction"] for row in auto] == [row["prediction"] for row in plain]
        assert summary["precision_check"]["largest_deviation"] > 0


@pytest.mark.parametrize("script", [pet, gpt])
def test_a_checkpoint_without_the_head(script: ModuleType, tmp_path: Path, expect_error: Callable[..., str]) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "m", heads=("pooler", "NSP"), hidden=16)
    assert "no MLM head" in expect_error(script.main, "--model", folder, "--dataset", "tnews")


def test_what_cannot_be_compared_is_named(
    checkpoint_dir: Path, tmp_path: Path, expect_error: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("--model", checkpoint_dir, "--data-dir", SAMPLE)
    line = expect_error(pet.main, *common, "--dataset", "iflytek", "--words", "card")
    assert "IFLYTEK, words card: words of different lengths" in line
    assert "no set" in expect_error(pet.main, *common, "--dataset", "tnews", "--words", "fewclue-gpt")
    assert "more than --max-length 6" in expect_error(pet.main, *common, "--dataset", "tnews", "--max-length", "6")
    rows = sample_rows("chid")
    rows[1]["candidates"][2] = "一二三"
    write_rows(tmp_path / "chid" / "test_public.json", rows)
    line = expect_error(pet.main, "--model", checkpoint_dir, "--data-dir", tmp_path, "--dataset", "chid")
    assert "ChID, row 2: 7 candidates of 4, 4, 3, 4, 4, 4, 4 tokens" in line
    folder = shutil.copytree(CARDS, tmp_path / "cards")
    card = (folder / "tnews.yaml").read_text(encoding="utf-8")
    (folder / "tnews.yaml").write_text(card[: card.index("methods:")], encoding="utf-8")
    monkeypatch.setattr("nsp_bert.cards.CARDS", folder)
    assert "tnews.yaml has no cloze under methods" in expect_error(pet.main, *common, "--dataset", "tnews")
    odd = card.replace('"100": 故事', '"100": \N{ROMAN NUMERAL ONE HUNDRED}☃')
    (folder / "tnews.yaml").write_text(odd, encoding="utf-8")
    assert "is not in the checkpoint's vocabulary" in expect_error(pet.main, *common, "--dataset", "tnews")
