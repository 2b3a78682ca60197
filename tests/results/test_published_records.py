"""The file of published numbers: every record is right, none is there twice, and what can be computed again agrees."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import mean

import pytest

from nsp_bert.cards import card_names, load_card
from nsp_bert.checkpoints.model_cards import load_model_cards
from nsp_bert.errors import UserError
from nsp_bert.results import published
from nsp_bert.results.benchmark_tables import FEWCLUE
from nsp_bert.results.published import SCORE, PublishedRecord, Value, find, load_published, paper_number

MODEL = "uer-mixed-bert-base"
FILE = load_published()
MEASURED = {"value", "std", "ddof", "n", "correct", "note"}  # the rest tells one record from another
HEADLINES: dict[str, dict[str, Value]] = {  # task -> what is said of the run that Table 1 shows
    "classification": {"template": 3},
    "sentence-pair": {"mapping": "thresholds"},
    "coreference": {"mapping": "thresholds"},
    "cloze": {"positions": "soft"},
}


def identity(record: PublishedRecord) -> str:
    return record.model_dump_json(exclude=MEASURED, exclude_none=True)


def test_every_key_is_known_and_used() -> None:
    assert {record.dataset for record in FILE.records} == {SCORE, *FEWCLUE, "duel"}
    assert {record.dataset for record in FILE.records} - {SCORE} <= set(card_names())
    assert {record.source for record in FILE.records} == set(FILE.sources)
    assert {record.method for record in FILE.records} == set(FILE.method_names)
    assert {record.note for record in FILE.records if record.note} == set(FILE.notes)
    assert {record.model for record in find(method="nsp_bert")} <= set(load_model_cards())


def test_no_record_is_there_twice() -> None:
    assert [said for said, times in Counter(map(identity, FILE.records)).items() if times > 1] == []


def test_parts_of_a_record_fit_together() -> None:
    for record in FILE.records:
        assert record.ddof is None or record.std is not None, record
        assert record.std is None or record.train in ("five_splits", "six_runs"), record
        assert (record.batch is None) == (record.mapping != "batch"), record
        assert record.dataset != SCORE or record.n is None, record


@pytest.mark.parametrize("total", find(dataset=SCORE), ids=identity)
def test_a_score_is_the_mean_of_the_nine_unless_its_note_says_what_it_is(total: PublishedRecord) -> None:
    others = {key: value for key, value in total.model_dump(exclude=MEASURED | {"dataset", "train"}).items() if value}
    nine = [record.value for name in FEWCLUE for record in find(**others, dataset=name) if record.train != "few_all"]
    assert len(nine) == 9
    told = f"the mean of the nine is {mean(nine):.2f}"
    assert (abs(total.value - mean(nine)) > 0.05) == (told in str(total.note))  # half of a printed digit of the nine


def test_counts_fit_what_is_printed() -> None:
    """In Table 1, and with two digits in the tables of the runs that Table 1 shows."""
    for name in FEWCLUE:
        (record,) = find(method="nsp_bert", table=1, dataset=name)
        assert record.n is not None
        assert record.correct is not None
        share = 100 * record.correct / record.n
        assert share == pytest.approx(record.value, abs=0.05)
        headline = paper_number(name, MODEL, "test_public", **HEADLINES[load_card(name).task])
        assert headline is not None
        assert share == pytest.approx(headline.accuracy, abs=0.0051)


def test_row_counts_are_those_of_the_files() -> None:
    """The paper's numbers with two digits lie within one of the last digit of a count out of n."""
    for record in find(method="nsp_bert", source="A"):
        if record.n and not record.table:
            count = round(record.value * record.n / 100)
            nearest = min(abs(100 * right / record.n - record.value) for right in (count - 1, count, count + 1))
            assert nearest < 0.0101, record


def test_numbers_of_other_rows_and_of_other_methods_say_so() -> None:
    subsets = [record for record in find(method="p_tuning", model="hfl-roberta-wwm-ext") if record.dataset != SCORE]
    rows = {record.dataset: record.n for record in subsets}
    assert (rows["tnews"], rows["iflytek"], rows["eprstmt"]) == (1876, 1566, 610)
    assert all(record.note for record in subsets if record.dataset in ("tnews", "iflytek"))
    for source in ("A", "B"):
        wanted: dict[str, Value] = {"dataset": "chid", "source": source, "model": "hfl-roberta-wwm-ext"}
        (pet,), (lm_bff,) = find(method="pet", **wanted), find(method="lm_bff", **wanted)
        assert (lm_bff.value, lm_bff.std, lm_bff.train) == (pet.value, pet.std, pet.train)


TNEWS: dict[str, Value] = {"method": "nsp_bert", "dataset": "tnews", "model": MODEL, "split": "test_public"}


def test_find_returns_what_matches_exactly() -> None:
    (record,) = find(**TNEWS, template=3)
    assert (record.value, record.n, record.source) == (51.0, 2010, "A")
    assert find(**TNEWS, template=3, n=2010) == [record]
    assert len(find(**TNEWS)) == 4  # three templates, and the row of Table 1
    for other in (
        {"template": 4},
        {"template": None},
        {"n": 2009},
        {"n": 1876},
        {"model": "nsp_bert_mini"},
        {"model": ""},
        {"split": "test"},
        {"split": "dev_few_all", "n": 2010},
        {"method": "pet"},
        {"source": "B"},
        {"dataset": "mine"},
    ):
        assert find(**{**TNEWS, "template": 3, **other}) == [], other
    with pytest.raises(TypeError, match="have no colour, size"):
        find(size=3, colour="red")


def test_the_paper_s_number_is_that_of_the_same_model_split_and_setting() -> None:
    found = paper_number("tnews", MODEL, "test_public", template=3)
    assert found is not None
    assert (found.accuracy, found.source) == (51.0, FILE.sources["A"])
    assert paper_number("tnews", MODEL, "dev_few_all", template=1).accuracy == 41.26  # type: ignore[union-attr]
    assert paper_number("tnews", MODEL, "test_public", template=None) is None
    assert paper_number("tnews", "nsp_bert_mini", "test_public", template=3) is None
    assert paper_number("tnews", MODEL, "test", template=3) is None
    assert paper_number("mine", MODEL, "test_public", template=3) is None
    with pytest.raises(ValueError, match="too many values"):
        paper_number("tnews", MODEL, "test_public")


HEAD = """
sources: {A: a paper}
method_names: {pet: PET}
notes: []
records:
- {method: pet, dataset: chid, value: 1, source: A}
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + "- {method: pet, dataset: tnews, value: 1, source: A, colour: red}", "1.colour: Extra .*'tnews'"),
        (HEAD + "- {method: pet, dataset: tnews, value: '1', source: A}", "1.value: .*valid number.*'tnews'"),
        (HEAD + "- {method: pet, dataset: tnews, source: A}", "1.value: Field required.*'tnews'"),
        (HEAD + "- {method: pet, dataset: tnews, value: 101, source: A}", "1.value: .*100.*'tnews'"),
        (HEAD + "- {method: pet, dataset: tnews, value: 1, source: A, train: often}", "1.train: .*'few_all'.*'tnews'"),
        (HEAD + "- {method: pet, dataset: tnews, value: 1, source: B}", "source: 'B' is none of A, .*'tnews'"),
        (HEAD + "- {method: pat, dataset: tnews, value: 1, source: A}", "method: 'pat' is none of pet, .*'tnews'"),
        (HEAD + "- tnews", "1: .*, in tnews"),
        (HEAD + "also: []", "also: Extra inputs"),
        ("[1, 2]", "valid dictionary"),
        ("{", "cannot be read"),
    ],
)
def test_a_wrong_record_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "numbers.yaml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(published, "PUBLISHED", path)
    with pytest.raises(UserError, match=f"numbers.yaml: .*{reason}") as raised:
        load_published.__wrapped__()
    assert "\n" not in str(raised.value)
