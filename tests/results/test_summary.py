"""The schema of summaries: what is written is read, and whatever is mistyped is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import RandomScorer
from hypothesis import given
from hypothesis import strategies as st

import nsp_bert_classification as classification
import nsp_bert_entity_linking as entity_linking
import nsp_bert_sentence_pair as sentence_pair
from nsp_bert.errors import UserError
from nsp_bert.report.page import build_page
from nsp_bert.report.reader import ResultRun, read_results
from nsp_bert.results.benchmark_tables import tell_apart
from nsp_bert.results.summary import Summary
from nsp_bert.results.tables import print_table

WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@pytest.fixture(scope="module")
def summaries(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The summary files of three tasks, with everything that a run can have."""
    folder = tmp_path_factory.mktemp("summaries")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nsp_bert.session.Scorer", RandomScorer)
        common = ["--model", str(checkpoint_dir), "--output", str(folder), "--calibration", "content-free"]
        assert classification.main([*common, "ensemble", "--dataset", "eprstmt"]) == 0
        assert sentence_pair.main([*common, "--dataset", "bustm", "--batch-curve"]) == 0
        assert entity_linking.main(common) == 0
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.json"))]


def test_what_is_written_is_read(summaries: list[str]) -> None:
    assert len(summaries) == 4
    for text in summaries:
        assert Summary.from_json(text, "x").to_json() == text


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value in a JSON value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


@given(data=st.data())
def test_a_changed_field_is_shown_or_refused(summaries: list[str], data: st.DataObject) -> None:
    """Never a traceback: the summary is refused naming the file, or table and page can show it."""
    entries = json.loads(data.draw(st.sampled_from(summaries)))
    place = data.draw(st.sampled_from(places(entries)[1:]))
    target = entries
    for key in place[:-1]:
        target = target[key]
    if data.draw(st.booleans()) and isinstance(target, dict):
        del target[place[-1]]
    else:
        target[place[-1]] = data.draw(WRONG)
    try:
        summary = Summary.from_json(json.dumps(entries), "some.json")
    except UserError as refusal:
        message = str(refusal)
        summary = None
    if summary is None:
        assert message.startswith("some.json: ")
        assert "\n" not in message
        return
    print_table(tell_apart([summary]))
    build_page([ResultRun(summary, [], [])])


def test_many_runs_are_named_in_no_time(summaries: list[str], tmp_path: Path) -> None:
    """1,500 runs: the names of a page take steps in proportion to their number, not to its square."""
    summary = Summary.from_json(summaries[0], "x")
    many = [
        summary.model_copy(update={"settings": summary.settings | {"rows": f"first {number} rows"}})
        for number in range(1500)
    ]
    page = build_page([ResultRun(one, [], []) for one in many])
    assert len({name for section in page.sections for name, _ in section.runs} | {row.prompt for row in page.rows}) > 0
    assert len(page.rows) == 1500


def test_a_folder_of_other_json_files_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "a.b.json").write_text('{"dataset": {}}', encoding="utf-8")
    with pytest.raises(UserError, match="no results in there"):
        read_results(tmp_path)
