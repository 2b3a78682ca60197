from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SAMPLE, write_rows

from nsp_bert.cards import load_card
from nsp_bert.contents import EntityMention, Question
from nsp_bert.encoding import encode_entity_mentions
from nsp_bert.knowledge_base import Entity, read_knowledge_base
from nsp_bert.tokenization import PairEncoder
from nsp_bert_entity_linking import main, sort_mentions
from utils import load_entity_mentions

CARD = load_card("duel")


def entity(subject_id: str, subject: str, *aliases: str, **facts: str) -> dict:
    data = [{"predicate": predicate, "object": value} for predicate, value in facts.items()]
    return {"subject_id": subject_id, "subject": subject, "alias": list(aliases), "type": "Other", "data": data}


def text(text_id: str, words: str, *mentions: tuple[str, str]) -> dict:
    found = [{"mention": name, "kb_id": label, "offset": str(words.find(name))} for name, label in mentions]
    return {"text_id": text_id, "text": words, "mention_data": found}


BASE = [
    entity("1", "苹果", "苹果", "Apple", 摘要="苹果是一种水果。"),
    entity("2", "苹果公司", "苹果", "苹果", 摘要="", 行业="电子", 总部="远方"),
    entity("3", "梨", 摘要="梨是一种水果。"),
    entity("4", "苹果", 颜色="红"),
    entity("5", "空"),
]
TEXTS = [
    text("a", "苹果发布新手机", ("苹果", "2")),
    text("b", "梨和苹果都好吃", ("梨", "3"), ("苹果", "1")),
    text("c", "张三梨花带雨", ("张三", "NIL_Person"), ("梨花", "NIL_Other")),
    text("d", "红富士上市", ("红富士", "1")),
    text("e", "吃梨", ("梨", "99")),
    text("f", "无"),
]


def write(folder: Path, base: list[dict] = BASE, texts: list[dict] = TEXTS) -> Path:
    write_rows(folder / "duel" / "kb.json", base)
    write_rows(folder / "duel" / "dev.json", texts)
    return folder


def run(checkpoint_dir: Path, folder: Path, data_dir: Path, *extra: str) -> dict[str, tuple[dict, list[dict]]]:
    arguments = ["--model", str(checkpoint_dir), "--data-dir", str(data_dir), "--output", str(folder), *extra]
    assert main(arguments) == 0
    found = {}
    for path in folder.glob("duel_*.dev.json"):
        rows = [json.loads(line) for line in path.with_suffix(".jsonl").open(encoding="utf-8")]
        found[path.name.split(".")[0].removeprefix("duel_")] = json.loads(path.read_text(encoding="utf-8")), rows
    return found


def test_candidates_and_counts_by_hand(checkpoint_dir: Path, tmp_path: Path) -> None:
    runs = run(checkpoint_dir, tmp_path / "out", write(tmp_path))
    summary, rows = runs["linking"]
    assert [(row["index"], row["id"], row["mention"], row["label"], row["candidates"]) for row in rows] == [
        (0, "a", "苹果", "2", ["1", "2", "4"]),
        (1, "b", "梨", "3", ["3"]),
        (2, "b", "苹果", "1", ["1", "2", "4"]),
    ]
    for row in rows:
        assert row["prediction"] == row["candidates"][int(np.argmax(row["scores"]))]
    assert summary["single_candidate_share"] == pytest.approx(1 / 3)
    assert (summary["gold_not_under_that_name"], summary["gold_not_in_knowledge_base"]) == (1, 1)
    right = [row["prediction"] == row["label"] for row in rows]
    assert summary["metrics"]["accuracy"] == pytest.approx(np.mean(right))
    assert summary["metrics"]["accuracy_ambiguous"] == pytest.approx(np.mean([right[0], right[2]]))
    summary, rows = runs["typing"]
    assert [(row["mention"], row["label"]) for row in rows] == [("张三", "NIL_Person"), ("梨花", "NIL_Other")]
    offered = {name: score for name, score in zip(CARD.types, rows[0]["scores"], strict=True) if name != "NIL_Other"}
    best = max(offered, key=lambda name: offered[name])
    assert summary["metrics"]["accuracy_without_other"] == float(best == "NIL_Person")


def test_descriptions_by_hand() -> None:
    assert Entity("1", "苹果是一种水果，苹果甜。", ()).description(CARD, "苹果") == ("这个词是指{}", "是一种水果，甜。")
    facts = (("行业", "电子"), ("总部", "苹果园"))
    assert Entity("2", "", facts).description(CARD, "苹果") == ("{}", "这个词的行业是电子；这个词的总部是苹果园；")
    assert Entity("5", "", ()).description(CARD, "空") == ("这个词是指{}", "")


def spell(token_ids: list[int]) -> str:
    return "".join(chr(token_id) if token_id > 2 else " |"[token_id - 1] for token_id in token_ids)


def test_prompts() -> None:
    encode = lambda length, stages, position: [  # noqa: E731
        spell(pair.token_ids)
        for pair in encode_entity_mentions(
            PairEncoder(lambda words: [ord(letter) for letter in words], 1, 2, length),
            [Question(EntityMention("abcdefghMMijklmnop", "MM", 8), (("<{}>", "0123456789" * 3), ("[{}]", "x")))],
            "?{}=",
            position,
            stages,
        )
    ]
    assert encode(90, 2, "suffix") == [
        " abcdefghMMijklmnop?MM=|<" + "0123456789" * 3 + ">|",
        " abcdefghMMijklmnop?MM=|[x]|",
    ]
    assert encode(90, 1, "prefix")[1] == " [x]|abcdefghMMijklmnop|"
    short = encode(24, 2, "suffix")
    assert len(short[0]) == 24
    assert "MM" in short[0]
    assert "?MM=|<" in short[0]
    assert short[0].endswith(">|")
    assert short[1].endswith("?MM=|[x]|")


def test_tasks_stages_and_limit(checkpoint_dir: Path, tmp_path: Path) -> None:
    data = write(tmp_path)
    both = run(checkpoint_dir, tmp_path / "both", data)
    assert run(checkpoint_dir, tmp_path / "linking", data, "--task", "linking").keys() == {"linking"}
    typing = run(checkpoint_dir, tmp_path / "typing", data, "--task", "typing", "--stages", "1")
    assert typing.keys() == {"typing"}
    assert typing["typing"][1][0]["scores"] != both["typing"][1][0]["scores"]
    assert run(checkpoint_dir, tmp_path / "few", data, "--limit", "1")["linking"][0]["n"] == 1


def test_unlabelled_mentions(checkpoint_dir: Path, tmp_path: Path) -> None:
    rows = [
        row | {"mention_data": [{k: v for k, v in m.items() if k != "kb_id"} for m in row["mention_data"]]}
        for row in TEXTS
    ]
    runs = run(checkpoint_dir, tmp_path / "out", write(tmp_path, texts=rows))
    assert [row["mention"] for row in runs["linking"][1]] == ["苹果", "梨", "苹果", "梨"]
    assert [row["mention"] for row in runs["typing"][1]] == ["张三", "梨花", "红富士"]
    assert runs["linking"][0]["metrics"] is None


def test_the_result_does_not_depend_on_hash_order(checkpoint_dir: Path, tmp_path: Path) -> None:
    data = write(tmp_path)
    found = []
    for seed in ("1", "2"):
        command = [sys.executable, "nsp_bert_entity_linking.py", "--model", str(checkpoint_dir), "--output"]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        out = tmp_path / seed
        subprocess.run(
            [*command, str(out), "--data-dir", str(data)], cwd=ROOT, env=environment, check=True, capture_output=True
        )
        found.append([(out / f"duel_{part}.dev.jsonl").read_bytes() for part in ("linking", "typing")])
    assert found[0] == found[1]


# Checked by eye against datasets/sample/duel: text, mention, offset -> kind, candidates in file order, gold.
BY_EYE = """
2 小米 3 linking 200006,200047,200055 200006
2 小米 12 linking 200006,200047,200055 200047
4 诺奖 3 elsewhere - 200002
7 长江 4 linking 200004,200015,200062 200062
10 收纳盒 14 typing - NIL_Other
11 大熊猫 3 elsewhere 200016 200012
19 春天 0 linking 200013,200051 200013
21 清水渡 4 unknown - 999999
22 春天 5 typing 200013,200051 NIL_Organization
24 Apple 0 linking 200045 200045
27 苹果 10 linking 200005,200014,200041,200045,200057 200057
31 马可·波罗 0 linking 200031 200031
34 陈小雨 4 linking 200017,200029,200038,200048 200029
40 围棋 5 linking 200023 200023
41 青岛 1 linking 200032,200050 200032
41 青岛 13 linking 200032,200050 200050
50 周末 12 typing - NIL_Time&Calendar
51 小米 8 typing 200006,200047,200055 NIL_Person
52 失眠 2 typing - NIL_Disease&Symptom
53 豆腐 0 linking 200040 200040
"""


def test_the_sample_by_eye() -> None:
    mentions = load_entity_mentions(CARD, SAMPLE, "dev")
    names, labels = {one.content.name for one in mentions}, {str(one.label) for one in mentions}
    base = read_knowledge_base(CARD, SAMPLE, names, labels)
    kinds = sort_mentions(CARD, mentions, base)
    found = {}
    for kind, examples in kinds._asdict().items():
        for one in examples:
            ids = ",".join(entity.id for entity in base.candidates.get(one.content.name, [])) or "-"
            found[(one.id, one.content.name, one.content.offset)] = (kind, ids, one.label)
    for line in BY_EYE.strip().splitlines():
        text_id, name, offset, *expected = line.split()
        assert found[(text_id, name, int(offset))] == tuple(expected)
    assert [len(examples) for examples in kinds] == [52, 27, 2, 1]
    counts = [len(base.candidates[one.content.name]) for one in kinds.linking]
    assert (base.size, counts.count(1), sum(counts)) == (62, 14, 133)
    assert sum(one.label == "NIL_Other" for one in kinds.typing) == 4


def test_sample_run(checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(checkpoint_dir), "--output", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert "DuEL2.0 dev (bundled sample): linking: 52 of 82 mentions x their candidates = 133 pairs, suffix" in out
    assert "26.9 % of the mentions have a single candidate; left out are 2 whose entity is not known" in out
    summary = json.loads((tmp_path / "duel_typing.dev.json").read_text(encoding="utf-8"))
    assert (summary["n"], summary["sample"], summary["settings"]["stages"]) == (27, True, 2)


@pytest.mark.parametrize(
    ("base", "texts", "reason"),
    [
        ([{"subject_id": "1"}], TEXTS, 'duel/kb.json:1: no "subject_id" and "subject"'),
        ([entity("1", "苹果") | {"alias": "苹果"}], TEXTS, 'duel/kb.json:1: "alias" is not a list of texts'),
        ([BASE[0], entity("2", "苹果") | {"data": None}], TEXTS, 'duel/kb.json:2: "data" is not a list'),
        ([entity("2", "苹果") | {"data": [{"predicate": "摘要"}]}], TEXTS, 'kb.json:1: an entry of "data" has no'),
        (BASE, [TEXTS[0], {"text_id": "1", "text": "苹果"}], 'duel/dev.json:2: no "mention_data"'),
        (BASE, [text("1", "苹果", ("苹果", "NIL_Fruit"))], "duel/dev.json:1: unknown type 'NIL_Fruit'"),
        (BASE, [{"text_id": "1", "text": "苹果", "mention_data": [{"mention": "苹果", "offset": "x"}]}], "dev.json:1"),
        (BASE, [text("1", "无")], "holds no mentions"),
        (BASE, [text("1", "李四", ("李四", "77"))], "of 1 mentions none is there for both"),
    ],
)
def test_bad_files(
    expect_error: Callable[..., str],
    checkpoint_dir: Path,
    tmp_path: Path,
    base: list[dict],
    texts: list[dict],
    reason: str,
) -> None:
    data = write(tmp_path, base, texts)
    assert reason in expect_error(main, "--model", checkpoint_dir, "--data-dir", data)


def test_missing_knowledge_base(expect_error: Callable[..., str], checkpoint_dir: Path, tmp_path: Path) -> None:
    (write(tmp_path) / "duel" / "kb.json").unlink()
    assert "kb.json: no such file" in expect_error(main, "--model", checkpoint_dir, "--data-dir", tmp_path)
