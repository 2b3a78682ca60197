"""Patterns and words of a card: what is refused, and what the nine cards say."""

from __future__ import annotations

import pytest
import yaml

from nsp_bert.cards import ADAPTER, CARDS, card_names, load_card, validation_reasons
from nsp_bert.patterns import CARD_WORDS, Slot, SoftTokens, parse_pattern
from nsp_bert.results.benchmark_tables import FEWCLUE


def test_a_pattern_in_pieces() -> None:
    pattern = parse_pattern("{text}||这是{label}。")
    assert pattern.segments == ((Slot("text"),), ("这是", Slot("label"), "。"))
    assert pattern.slots == ["text", "label"]
    assert parse_pattern("{label}").segments == ((Slot("label"),),)


def test_soft_tokens_in_several_places() -> None:
    pattern = parse_pattern("{soft:2}{label}{soft:8}||{text}")
    assert pattern.segments == ((SoftTokens(2), Slot("label"), SoftTokens(8)), (Slot("text"),))
    assert pattern.slots == ["label", "text"]
    assert pattern.soft_tokens == 10


@pytest.mark.parametrize("text", ["{label}{soft:0}", "{label}{soft:}", "{label}{soft:a}", "{label}{soft:-1}"])
def test_a_number_of_soft_tokens_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="must hold a number of soft tokens"):
        parse_pattern(text)


@pytest.mark.parametrize("text", ["{text}", "{label}{label}", "{text}{text}{label}", "{text}||{other}||{label}", ""])
def test_a_pattern_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="must hold"):
        parse_pattern(text)


def reasons(name: str, **change: object) -> str:
    """Return what is wrong with a card that is changed; empty where nothing is."""
    card = yaml.safe_load((CARDS / f"{name}.yaml").read_text(encoding="utf-8")) | change
    try:
        ADAPTER.validate_python(card)
    except ValueError as error:
        return validation_reasons(error)  # type: ignore[arg-type]
    return ""


def cloze(pattern: str, words: str = CARD_WORDS) -> dict[str, object]:
    return {"cloze": {"pattern": pattern, "words": words}}


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("tnews", {"methods": cloze("新闻{label}")}, "must hold {text}"),
        ("tnews", {"methods": cloze("{text}{label}{other}")}, "no other slot"),
        ("ocnli", {"methods": cloze("{text}{label}", "fewclue-pet")}, "must hold {other}, {text}"),
        ("tnews", {"methods": cloze("{text}{label}", "long")}, "'long' is no set"),
        ("ocnli", {"methods": cloze("{text}{label}{other}")}, "no word for the label 'contradiction'"),
        ("bustm", {"words": {"mine": {"words": {"0": "不"}}}, "methods": {}}, "no word for the label '1'"),
        ("bustm", {"words": {"mine": {"words": {"0": "不", "1": "相", "2": "无"}}}, "methods": {}}, "'2' is no label"),
        ("bustm", {"words": {"mine": {"words": {"0": "不", "1": "不"}}}, "methods": {}}, "several labels"),
        ("bustm", {"words": {"a": {"like": "b"}, "b": {"like": "a"}}, "methods": {}}, "like itself"),
        ("bustm", {"methods": {"clozes": {}}}, "methods.clozes"),
        ("tnews", {"methods": cloze("{text}{soft:8}{label}")}, "must be in the soft_ patterns"),
        ("tnews", {"methods": {"soft_cloze": {"pattern": "{text}{label}"}}}, "must be in the soft_ patterns"),
        ("tnews", {"methods": {"soft_cloze": {"pattern": "{soft:8}{label}"}}}, "must hold {text}"),
        ("csl", {"methods": {"plain": {"pattern": "{other}||{text}{label}"}}}, "the slots of '{text}||{other}'"),
        ("csl", {"methods": {"plain": {"pattern": "{text}||{text}"}}}, "no slot twice"),
        ("csl", {"methods": {"entailment": {"pattern": "{text}||{label}"}}}, "no word for the label '0'"),
        ("tnews", {"methods": {"entailment": {"pattern": "{text}||新闻"}}}, "must hold {label}, {text}"),
    ],
)
def test_what_is_wrong_is_named(name: str, change: dict[str, object], named: str) -> None:
    assert reasons(name) == ""
    assert named in reasons(name, **change)


def test_a_set_takes_the_rest_from_the_one_that_it_is_like() -> None:
    card = load_card("tnews")
    short = card.word_set("short")
    assert (short["100"], short["114"]) == ("故事", "股票")
    assert {label: word for label, word in short.items() if label not in ("100", "114")}.items() <= card.labels.items()
    assert list(short) == list(card.labels)


def test_published_sets_share_words_and_ours_do_not() -> None:
    for name, shared in (("csldcp", 4), ("iflytek", 6)):
        card = load_card(name)
        short, published = card.word_set("short"), card.word_set("fewclue-pet")
        assert {len(word) for word in short.values()} == {2}
        assert len(set(short.values())) == len(short)
        words = list(published.values())
        assert sum(words.count(word) > 1 for word in words) == shared


def test_all_nine_have_patterns_and_splits() -> None:
    """A cloze's candidates are the row's own, so it has no words."""
    for name in FEWCLUE:
        card = load_card(name)
        assert card.methods.cloze
        assert card.methods.causal
        assert card.methods.entailment
        assert card.methods.soft_cloze
        assert card.methods.soft_causal
        assert bool(card.methods.soft_nsp) == (card.task == "classification")
        assert len(card.splits) == 14
        assert bool(card.words) == (card.task != "cloze")


def test_lm_bff_and_adapet_have_patterns_and_words_of_their_own() -> None:
    """ChID has no template of LM-BFF; all words of a set differ, and have as many characters."""
    cards = {name: load_card(name) for name in FEWCLUE}
    assert [name for name, card in cards.items() if not card.methods.lm_bff] == ["chid"]
    assert all(card.methods.adapet for card in cards.values())
    for card in cards.values():
        for facts in filter(None, (card.methods.lm_bff, card.methods.adapet)):
            words = list(card.word_set(facts.words).values()) if card.label_values else []
            assert len(set(words)) == len(words)
            assert len({len(word) for word in words}) < 2
    assert cards["bustm"].word_set("fewclue-lm-bff") == {"0": "否", "1": "是"}
    assert cards["bustm"].word_set("fewclue-adapet") == {"0": "不", "1": "是"}


def test_marks_may_be_in_the_place_of_a_text() -> None:
    """In a pattern of coreference alone."""
    marked = "{marked}{pronoun}{span}{label}"
    assert reasons("cluewsc", methods=cloze(marked, "fewclue-pet")) == ""
    assert "no other slot" in reasons("cluewsc", methods=cloze("{text}" + marked, "fewclue-pet"))
    assert "no other slot" in reasons("tnews", methods=cloze("{marked}{label}"))


def test_a_card_may_leave_all_of_it_out() -> None:
    card = yaml.safe_load((CARDS / "tnews.yaml").read_text(encoding="utf-8"))
    plain = {key: value for key, value in card.items() if key not in ("words", "methods")}
    assert ADAPTER.validate_python(plain).methods.cloze is None
    assert "duel" in card_names()
    assert load_card("duel").methods.cloze is None
