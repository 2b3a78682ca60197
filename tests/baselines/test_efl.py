"""EFL: which descriptions go with which rows, what a run leaves, and an encoder that was trained on NLI first."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import efl
import fine_tuning
import numpy as np
import pytest
from conftest import SAMPLE, write_rows
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.cards import load_card
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.contents import parse_row
from nsp_bert.method_prompts import PatternChoice
from nsp_bert.methods.entailment import Entailment, described
from nsp_bert.options import Options
from nsp_bert.rows import Example, Rows
from nsp_bert.scoring.exact import Engine
from nsp_bert.session import Data, Scorers, Session

pytestmark = pytest.mark.usefixtures("eager_training")

NEWS = {"sentence": "股市a涨", "label": "104"}
TARGET = {"span1_text": "小明", "span1_index": 0, "span2_text": "他", "span2_index": 3}


def session(checkpoint_dir: Path, dataset: str) -> Session:
    """The session of a dataset under its description."""
    choice, card = PatternChoice("entailment"), load_card(dataset)
    (prompt,) = choice.prompts(card)
    checkpoint, options = open_checkpoint(str(checkpoint_dir)), Options(model=str(checkpoint_dir))
    engine = Engine(Scorers(checkpoint, options).__getitem__, "float32", "classes")
    return Session(choice.card(card), prompt, Data(SAMPLE, True), efl.EFL, checkpoint, engine, options, train="0")


@pytest.mark.parametrize(
    ("dataset", "row", "count", "last"),
    [
        ("tnews", NEWS, 15, "[CLS]股市a涨[SEP]下面报道一条故事新闻[SEP]"),
        ("ocnli", {"sentence1": "他走了", "sentence2": "他在"}, 1, "[CLS]他走了[SEP]他在[SEP]"),
        ("cluewsc", {"text": "小明说他累", "target": TARGET}, 1, "[CLS]_小明_说[他]累[SEP]他是指小明[SEP]"),
        (
            "chid",
            {"content": "他#idiom#走", "candidates": ["慢慢", "快"]},
            2,
            "[CLS]他#idiom#走[SEP]位置#idiom#处的成语应该填写快[SEP]",
        ),
    ],
)
def test_how_rows_are_read(checkpoint_dir: Path, dataset: str, row: dict, count: int, last: str) -> None:
    """By the characters of the tests' vocabulary, which has all of these."""
    own = session(checkpoint_dir, dataset)
    content, _ = parse_row(own.card, "here", row)
    task = Entailment().task(own, Rows([Example(0, 0, content, None)], "1"))
    pairs = list(task.pairs(task.contents))
    assert len(pairs) == count
    assert task.sizes == [{"tnews": 15, "ocnli": 3}.get(dataset, 2)]
    texts = last.removeprefix("[CLS]").removesuffix("[SEP]").split("[SEP]")
    first, second = (own.encoder.tokenize(text) for text in texts)
    special = own.encoder.cls_id, own.encoder.sep_id
    assert pairs[-1].token_ids == [special[0], *first, special[1], *second, special[1]]
    assert pairs[-1].first_length == len(first) + 2


@given(
    own=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    ratio=st.sampled_from(["1", "8", "all"]),
    seed=st.integers(0, 9),
)
def test_which_descriptions_go_with_which_rows(own: list[int], ratio: str, seed: int) -> None:
    """Every row once with its own; none twice with another; as many others as the ratio says, or as there are."""
    found = list(described(own, 4, ratio, seed))
    assert sorted((row, place) for row, place, answer in found if answer) == list(enumerate(own))
    wrong = [(row, place) for row, place, answer in found if not answer]
    assert len(set(wrong)) == len(wrong)
    assert all(own[row] != place for row, place in wrong)
    counts, most = Counter(place for _, place in wrong), max(Counter(own).values())
    for place in range(4):
        there = len(own) - own.count(place)
        assert counts[place] == (there if ratio == "all" else min(there, int(ratio) * most))
    assert found == list(described(own, 4, ratio, seed))


def test_other_seeds_draw_other_rows() -> None:
    assert len({tuple(described(range(20), 20, "1", seed)) for seed in range(5)}) == 5


def by_heart(folder: Path, dataset: str) -> Path:
    """A data folder whose splits have the same rows: what is learned by heart is right everywhere."""
    (folder / dataset).mkdir(parents=True)
    for split in ("train_0", "dev_0", "train_few_all", "dev_few_all", "test_public"):
        shutil.copy(SAMPLE / dataset / "train_0.json", folder / dataset / f"{split}.json")
    return folder


def test_it_learns(checkpoint_dir: Path, tmp_path: Path) -> None:
    """Descriptions of 15 labels; what it has seen it tells far better than by chance."""
    data = by_heart(tmp_path / "data", "tnews")
    own = ["--epochs", "3", "--learning-rate", "3e-3", "--step-rows", "64", "--ratio", "all"]
    common = ["--model", str(checkpoint_dir), "--data-dir", str(data), "--output", str(tmp_path), "--dataset", "tnews"]
    assert efl.main([*common, "--train", "0", *own]) == 0
    summary = json.loads((tmp_path / "tnews.test_public.efl.train_0.json").read_text(encoding="utf-8"))
    assert (summary["method"], summary["settings"]["ratio"], summary["settings"]["words"]) == ("efl", "all", "short")
    rows = sum(1 for _ in (data / "tnews" / "train_0.json").open(encoding="utf-8"))
    assert summary["training"]["rows"] == rows * 15
    losses = [epoch["loss"] for epoch in summary["training"]["epochs"]]
    assert losses[-1] < losses[0]
    assert summary["metrics"]["accuracy"] == max(epoch["dev_accuracy"] for epoch in summary["training"]["epochs"])
    lines = (tmp_path / "tnews.test_public.efl.train_0.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    assert first["prediction"] == summary["labels"][int(np.argmax(first["scores"]))]


def test_an_encoder_trained_on_nli_first(checkpoint_dir: Path, tmp_path: Path) -> None:
    """The new layer is drawn anew: that of NLI has three classes."""
    data, saved = by_heart(tmp_path / "data", "ocnli"), tmp_path / "saved"
    common = ["--data-dir", str(data), "--epochs", "1"]
    nli = ["--dataset", "ocnli", "--train", "few_all", "--save", str(saved)]
    assert fine_tuning.main(["--model", str(checkpoint_dir), *common, *nli]) == 0
    model = ["--model", str(saved / "ocnli.train_few_all"), "--limit", "3"]
    own = ["--data-dir", str(SAMPLE), "--dataset", "bustm", "--train", "0", "--epochs", "1"]
    assert efl.main([*model, *own, "--output", str(tmp_path)]) == 0
    lines = (tmp_path / "bustm.test_public.efl.train_0.jsonl").read_text(encoding="utf-8").splitlines()
    assert [len(json.loads(line)["scores"]) for line in lines] == [2] * 3


def test_what_is_refused(checkpoint_dir: Path, tmp_path: Path, expect_error: Callable[..., str]) -> None:
    rows = [{"content": "他#idiom#", "candidates": ["一", "二", "三"][:count], "answer": 0} for count in (3, 2)]
    for split in ("train_0", "dev_0", "test_public"):
        write_rows(tmp_path / "chid" / f"{split}.json", rows)
    common = ("--model", checkpoint_dir, "--data-dir", tmp_path, "--dataset", "chid", "--train", "0")
    assert "rows with unlike numbers of candidates" in expect_error(efl.main, *common)
    assert "has no entailment under methods" in expect_error(efl.main, "--model", checkpoint_dir, "--dataset", "agnews")
