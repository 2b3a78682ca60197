from __future__ import annotations

import json
from pathlib import Path

import pytest
import random_checkpoint
from conftest import SAMPLE, write_rows
from hypothesis import given
from hypothesis import strategies as st

from nsp_bert.cards import ClassificationCard, cards_of, load_card
from nsp_bert.encoding import encode_label_pairs
from nsp_bert.errors import UserError
from nsp_bert.prompts import parse_template
from nsp_bert.rows import read_json_lines, read_texts
from nsp_bert.tokenization import PairEncoder, Part, load_tokenizer
from utils import load_examples

CARDS = [card.name for card in cards_of(ClassificationCard) if card.language == "zh"]
token_lists = st.lists(st.integers(10, 99), max_size=40)


@pytest.fixture(scope="module")
def vocab_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_bytes(("\n".join(random_checkpoint.vocabulary()) + "\n").encode())
    return path


def test_the_paper_s_label_counts() -> None:
    assert {name: len(load_card(name).labels) for name in CARDS} == {
        "csldcp": 67,
        "eprstmt": 2,
        "iflytek": 119,
        "tnews": 15,
    }


def test_tnews_labels_follow_the_paper() -> None:
    labels = load_card("tnews").labels
    assert labels["114"] == "证券"
    assert list(labels)[-1] == "100"
    assert labels["100"] == "民生"


def test_template_words_replace_the_label_words() -> None:
    card = load_card("eprstmt")
    assert [card.prompts(template) for template in card.templates] == [
        ["好评", "差评"],
        ["东西不错", "东西很差"],
        ["这次买的东西很好", "这次买的东西很差"],
    ]


def test_template_by_number_by_text_and_by_default() -> None:
    card = load_card("tnews")
    assert card.template(None) == card.template("3") == card.template("这是一则{}新闻")
    assert card.template("1")[1].text == "{}"
    assert card.template("{}快讯") == (None, parse_template("{}快讯"))
    for bad in ("0", "4", "-1", "新闻", "{}{}"):
        with pytest.raises(UserError, match="template"):
            card.template(bad)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"labels": ["a", "b"]}, "labels"),
        ({"title": 3}, "title"),
        ({"position": "middle"}, "position"),
        ({"title": None}, "title"),
        ({"templates": [{"text": "no slot"}]}, "no slot"),
        ({"templates": [{"text": "{}", "words": {"b": "x", "a": "y"}}]}, "words"),
    ],
)
def test_a_wrong_card_is_named(tmp_path: Path, change: dict, named: str) -> None:
    card = load_card("tnews").model_dump(exclude={"words", "methods"}) | {"labels": {"a": "甲", "b": "乙"}} | change
    card = {key: value for key, value in card.items() if value is not None}
    (tmp_path / "mine.yaml").write_text(json.dumps(card, ensure_ascii=False), encoding="utf-8")
    with pytest.raises(UserError, match=rf"mine\.yaml.*{named}"):
        load_card("mine", tmp_path)


def test_a_dataset_is_added_by_a_card_alone(tmp_path: Path) -> None:
    card = load_card("eprstmt").model_dump() | {"name": "mine", "title": "Mine", "path": "mine-{split}.jsonl"}
    (tmp_path / "mine.yaml").write_text(json.dumps(card, ensure_ascii=False), encoding="utf-8")
    write_rows(tmp_path / "mine-dev.jsonl", [{"sentence": "好", "label": "Positive"}])
    assert load_examples(load_card("mine", tmp_path), tmp_path, "dev")[0].label == "Positive"


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("split", ["dev_few_all", "test_public"])
def test_samples_load_and_are_balanced(name: str, split: str) -> None:
    card = load_card(name)
    examples = load_examples(card, SAMPLE, split)
    counts = [sum(example.label == label for example in examples) for label in card.labels]
    assert [example.index for example in examples] == list(range(len(examples)))
    assert max(counts) - min(counts) <= 1
    if split == "test_public":
        assert len(examples) >= 40
        assert min(counts) >= (3 if name in ("eprstmt", "tnews") else 1)


@pytest.mark.parametrize(("name", "rows"), [("eprstmt", 610), ("tnews", 2010), ("csldcp", 1784), ("iflytek", 1749)])
def test_real_files_load_whole(fewclue_dir: Path, name: str, rows: int) -> None:
    card = load_card(name)
    assert len(load_examples(card, fewclue_dir, "test_public")) == rows
    assert all(example.label is None for example in load_examples(card, fewclue_dir, "test"))
    assert load_examples(card, fewclue_dir, "dev_few_all")[0].label in card.labels


def test_lines_end_with_lf_or_crlf_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    texts = ["甲\u2028乙\x85丙", "丁"]
    lines = [json.dumps({"sentence": text}, ensure_ascii=False).encode() for text in texts]
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines) + b"\r\n\r\n")
    assert [row["sentence"] for _, row in read_json_lines(path)] == texts


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"sentence": "a"', r"broken JSON"),
        (b'["a"]', r"not a JSON object"),
        ('{"sentence": "好"}'.encode("gb18030"), r"not UTF-8"),
        (b'{"text": "a", "label": "Positive"}', r'no "sentence"'),
        (b'{"sentence": 5, "label": "Positive"}', r'no "sentence"'),
        (b'{"sentence": "a", "label": "great"}', r"unknown label 'great'"),
        (b'{"sentence": "a"}', r'"label" must be in every row or in none'),
    ],
)
def test_bad_rows_are_named_by_file_and_line(data_dir: Path, line: bytes, reason: str) -> None:
    path = data_dir / "eprstmt" / "test_public.json"
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(UserError, match=rf"eprstmt/test_public\.json:4: .*{reason}"):
        load_examples(load_card("eprstmt"), data_dir, "test_public")


@given(rows=st.lists(st.text(), min_size=1, max_size=20))
def test_any_text_survives_the_loader(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    encodable = [text.encode("utf-8", "ignore").decode() for text in rows]
    write_rows(folder / "eprstmt" / "x.json", [{"sentence": text, "label": "Negative"} for text in encodable])
    examples = load_examples(load_card("eprstmt"), folder, "x")
    assert [example.content.text for example in examples] == encodable


def test_texts_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeff甲\r\n\r\n 乙\u2028丙 \n".encode())
    assert list(read_texts(str(path))) == [(1, "甲"), (3, "乙\u2028丙")]
    path.write_bytes("好\n".encode() + "坏\n".encode("gb18030"))
    with pytest.raises(UserError, match=r"texts\.txt:2: not UTF-8"):
        list(read_texts(str(path)))


def test_tokens_are_bert_s(vocab_path: Path) -> None:
    tokenize = load_tokenizer(vocab_path)
    tokens = random_checkpoint.vocabulary()
    pieces = ["a", "##b", "好", "，", "e", "[", "s", "##e", "##p", "]", "[UNK]"]
    assert [tokens[index] for index in tokenize("Ab好，é[SEP] 𠀀")] == pieces
    assert tokenize("") == tokenize(" \u3000\n") == []


@given(prompt=token_lists, before=token_lists, after=token_lists, other=token_lists, max_length=st.integers(3, 90))
def test_truncation_protects_prompts_and_keeps_ends(
    prompt: list[int], before: list[int], after: list[int], other: list[int], max_length: int
) -> None:
    encoder = PairEncoder(list, cls_id=1, sep_id=2, max_length=max_length)
    first, second = [Part(before, "left"), Part(prompt), Part(after, "right")], [Part(other, "right")]
    if len(prompt) + 3 > max_length:
        with pytest.raises(UserError, match="max-length"):
            encoder.encode(first, second)
        return
    pair = encoder.encode(first, second)
    total = len(prompt) + len(before) + len(after) + len(other) + 3
    assert len(pair.token_ids) == min(total, max_length)
    head, tail = pair.token_ids[: pair.first_length], pair.token_ids[pair.first_length :]
    assert (head[0], head[-1], tail[-1]) == (1, 2, 2)
    body, tail = head[1:-1], tail[:-1]
    assert tail == other[: len(tail)]
    kept = [
        (left, len(body) - len(prompt) - left)
        for left in range(len(before) + 1)
        if body == before[len(before) - left :] + prompt + after[: max(len(body) - len(prompt) - left, 0)]
    ]
    assert kept
    if total > max_length:
        assert any(fair(*one, len(tail), len(before), len(after), len(other)) for one in kept)


def fair(left: int, right: int, tail: int, before: int, after: int, other: int) -> bool:
    """What was shortened is at most one token shorter than what is kept of any other part."""
    kept, whole = (left, right, tail), (before, after, other)
    return all(kept[i] >= max(kept) - 1 for i in range(3) if kept[i] < whole[i])


def test_each_text_and_prompt_is_tokenized_once(vocab_path: Path) -> None:
    seen = []

    def tokenize(text: str) -> list[int]:
        seen.append(text)
        return [7] * len(text)

    pairs = list(encode_label_pairs(PairEncoder(tokenize, 1, 2, 6), ["甲甲", "乙"], ["p", "qq"], "prefix"))
    assert sorted(seen) == sorted(["p", "qq", "甲甲", "乙"])
    assert [(pair.first_length, len(pair.token_ids)) for pair in pairs] == [(3, 6), (4, 6), (3, 5), (4, 6)]
    suffix = list(encode_label_pairs(PairEncoder(tokenize, 1, 2, 5), ["甲甲"], ["p"], "suffix"))
    assert (suffix[0].first_length, len(suffix[0].token_ids)) == (3, 5)
