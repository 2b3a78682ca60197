"""Plain fine-tuning: how rows are read, what a step takes, what a run leaves, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import check
import fine_tuning
import numpy as np
import pytest
import random_checkpoint
from conftest import SAMPLE, write_rows

from nsp_bert.cards import ClozeCard, CoreferenceCard, load_card
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.contents import parse_row
from nsp_bert.method_prompts import PlainChoice
from nsp_bert.methods.classifier import ClassifierTask, ClassifierTeacher
from nsp_bert.methods.fitting import LENGTHS
from nsp_bert.options import Recipe
from nsp_bert.pattern_encoding import PatternEncoder
from nsp_bert.patterns import parse_plain
from nsp_bert.rows import Example, Rows
from nsp_bert.tokenization import EncodedPair, make_pair_encoder

pytestmark = pytest.mark.usefixtures("eager_training")

TARGET = {"span1_text": "小明", "span1_index": 0, "span2_text": "他", "span2_index": 3}
SWAPPED = {"span1_text": "小明", "span1_index": 1, "span2_text": "他", "span2_index": 0}
OVERLAPPING = {"span1_text": "他们", "span1_index": 0, "span2_text": "他", "span2_index": 0}
READ = [
    ("tnews", {"sentence": "股市a涨"}, ["[CLS]股市a涨[SEP]"]),
    ("ocnli", {"sentence1": "他走了", "sentence2": "他在"}, ["[CLS]他走了[SEP]", "他在[SEP]"]),
    ("csl", {"keyword": ["语言", "模型"], "abst": "我们"}, ["[CLS]语言模型[SEP]", "我们[SEP]"]),
    ("cluewsc", {"text": "小明说他累", "target": TARGET}, ["[CLS]_小明_说[他]累[SEP]"]),
    ("cluewsc", {"text": "他小明", "target": SWAPPED}, ["[CLS][他]_小明_[SEP]"]),
    ("cluewsc", {"text": "他们走", "target": OVERLAPPING}, ["[CLS][_他]们_走[SEP]"]),
    ("chid", {"content": "他#idiom#走", "candidates": ["慢慢", "快"]}, ["[CLS]他慢慢走[SEP]", "[CLS]他快走[SEP]"]),
]


def task_of(checkpoint_dir: Path, dataset: str, row: dict, max_length: int = 128) -> ClassifierTask:
    """The task of one row."""
    choice, card = PlainChoice(), load_card(dataset)
    (prompt,) = choice.prompts(card)
    card = choice.card(card)
    content, _ = parse_row(card, "here", row)
    encoder = make_pair_encoder(open_checkpoint(str(checkpoint_dir)), max_length)
    patterns = PatternEncoder(encoder, parse_plain(prompt.pattern), mask_id=4)
    return ClassifierTask(card, prompt, encoder, Rows([Example(0, 0, content, None)], "1"), patterns)


def spelled_out(checkpoint_dir: Path, task: ClassifierTask) -> list[str]:
    """The segments of a task's sequences, in tokens."""
    tokens = list(load_vocabulary(checkpoint_dir / "vocab.txt"))
    found = []
    for pair in task.pairs(task.contents):
        words = [tokens[token] for token in pair.token_ids]
        segments = words[: pair.first_length], words[pair.first_length :]
        found += ["".join(segment) for segment in segments if segment]
    return found


@pytest.mark.parametrize(("dataset", "row", "segments"), READ)
def test_how_rows_are_read(checkpoint_dir: Path, dataset: str, row: dict, segments: list[str]) -> None:
    task = task_of(checkpoint_dir, dataset, row)
    assert spelled_out(checkpoint_dir, task) == segments
    assert task.width == (1 if isinstance(task.card, ClozeCard) else len(task.labels))
    assert task.sizes == [2 if isinstance(task.card, ClozeCard | CoreferenceCard) else len(task.labels)]


def test_marks_and_idioms_are_never_cut(checkpoint_dir: Path) -> None:
    target = {"span1_text": "小明", "span1_index": 30, "span2_text": "他", "span2_index": 62}
    text = "甲" * 30 + "小明" + "乙" * 30 + "他" + "丙" * 30
    task = task_of(checkpoint_dir, "cluewsc", {"text": text, "target": target}, 18)
    assert spelled_out(checkpoint_dir, task) == ["[CLS]甲甲甲_小明_乙乙乙[他]丙丙丙[SEP]"]
    row = {"content": "甲" * 30 + "#idiom#" + "丙" * 30, "candidates": ["一心一意"]}
    assert spelled_out(checkpoint_dir, task_of(checkpoint_dir, "chid", row, 10)) == ["[CLS]甲甲一心一意丙丙[SEP]"]


@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("part_tokens", [1, 200, 4096])
def test_parts_of_a_step(candidates: int, part_tokens: int) -> None:
    """All of a step's rows once, long ones first, candidates together, each part little longer than its longest row."""
    lessons = [[EncodedPair([row + 1] * (row + 2), 1)] * candidates for row in range(10)]
    recipe = Recipe(step_rows=8, part_tokens=part_tokens)
    teacher = ClassifierTeacher(recipe, lessons, range(10), 1)
    for rows in ([3, 1, 4, 5, 9, 2, 6, 8], [7, 0]):
        parts = list(teacher.parts(rows, np.random.default_rng(0)))
        for token_ids, segment_ids, positions, places, weights in parts:
            longest = -(-(max(places) + 2) // LENGTHS) * LENGTHS
            assert token_ids.shape == segment_ids.shape == positions.shape == (candidates * len(places), longest)
            assert (max(places) + 2) * len(places) * candidates <= part_tokens or len(places) == 1
            first = token_ids.reshape(len(places), candidates, longest)[:, :, 0]
            assert (first == places[:, None] + 1).all()
            np.testing.assert_allclose(weights, 1 / len(rows))
        assert [place for part in parts for place in part[3]] == sorted(rows, reverse=True)


def by_heart(folder: Path, dataset: str) -> Path:
    """A data folder whose splits have the same rows: what is learned by heart is right everywhere."""
    for split in ("train_0", "dev_0", "test_public"):
        (folder / dataset).mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLE / dataset / "train_0.json", folder / dataset / f"{split}.json")
    return folder


@pytest.fixture(scope="module")
def no_dropout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint that learns quickly, and the same in parts of any size."""
    folder = random_checkpoint.random_checkpoint(tmp_path_factory.mktemp("models") / "no_dropout")
    config = json.loads((folder / "bert_config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "bert_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def run(checkpoint: Path, data: Path, output: Path, dataset: str, *more: str) -> tuple[dict, list[dict]]:
    """Run the script on train_0 and return (summary, rows)."""
    common = ["--model", str(checkpoint), "--data-dir", str(data), "--output", str(output), "--dataset", dataset]
    assert fine_tuning.main([*common, "--train", "0", *more]) == 0
    path = output / f"{dataset}.test_public.fine_tuning.train_0.json"
    rows = path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads(path.read_text(encoding="utf-8")), [json.loads(row) for row in rows]


def test_what_a_run_leaves(no_dropout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, saved = by_heart(tmp_path / "data", "ocnli"), tmp_path / "saved"
    own = ("--epochs", "8", "--step-rows", "9", "--learning-rate", "1e-2", "--save", str(saved))
    summary, rows = run(no_dropout, data, tmp_path, "ocnli", *own)
    assert (summary["method"], summary["train"], summary["mapping"]) == ("fine_tuning", "0", "candidates-contrast")
    assert (summary["settings"]["epochs"], summary["settings"]["step_rows"]) == ("8", "9")
    epochs = summary["training"]["epochs"]
    assert (len(epochs), summary["training"]["steps"]) == (8, 8)
    assert epochs[-1]["loss"] < 0.7 * epochs[0]["loss"]
    best = epochs[summary["training"]["best_epoch"] - 1]
    assert best["dev_accuracy"] == summary["metrics"]["accuracy"] > 0.6
    labels = load_card("ocnli").label_values
    assert all(row["prediction"] == labels[int(np.argmax(row["scores"]))] for row in rows)
    assert check.main([str(saved / "ocnli.train_0")]) == 1  # it opens, and has no NSP head any more
    assert "classes: 3" in capsys.readouterr().out


def test_parts_do_not_change_the_result(no_dropout: Path, tmp_path: Path) -> None:
    """ChID's candidates compete; there is a row in a part, or as many as a step has."""
    data, own = by_heart(tmp_path / "data", "chid"), ("--epochs", "4", "--learning-rate", "3e-3")
    (summary, rows), (_, others) = (
        run(no_dropout, data, tmp_path / tokens, "chid", *own, "--part-tokens", tokens) for tokens in ("9999", "1")
    )
    assert summary["metrics"]["accuracy"] > 0.5
    for row, other in zip(rows, others, strict=True):
        np.testing.assert_allclose(row["scores"], other["scores"], atol=1e-3)


@pytest.mark.parametrize("dataset", ["csl", "cluewsc"])
def test_the_other_tasks(checkpoint_dir: Path, tmp_path: Path, dataset: str) -> None:
    summary, rows = run(checkpoint_dir, SAMPLE, tmp_path, dataset, "--epochs", "1", "--limit", "5")
    assert [len(row["scores"]) for row in rows] == [2] * 5
    assert "thresholds" not in summary
    assert (summary["settings"]["max_length"], summary["settings"]["step_rows"]) == (128, "8")


def test_what_is_refused(checkpoint_dir: Path, tmp_path: Path, expect_error: Callable[..., str]) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "m", heads=("MLM",), hidden=16)
    assert "no pooler" in expect_error(fine_tuning.main, "--model", folder, "--dataset", "eprstmt")
    data = by_heart(tmp_path / "data", "chid")
    rows = [{"content": "他#idiom#", "candidates": ["一", "二", "三"][:count], "answer": 0} for count in (3, 2)]
    write_rows(data / "chid" / "train_0.json", rows)
    common = ("--model", checkpoint_dir, "--data-dir", data, "--dataset", "chid", "--train", "0")
    assert "rows with unlike numbers of candidates" in expect_error(fine_tuning.main, *common)
