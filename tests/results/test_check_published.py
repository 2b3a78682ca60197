"""What docs/published.md quotes is what its script computes, from the printed digits and from FewCLUE's real files."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import check_published
import pytest
from conftest import ROOT

from nsp_bert.results.published import find

NEEDS_FILES = "# needs FewCLUE's files"
BLOCKS = re.findall(r"```text\n(.*?)```", (ROOT / "docs" / "published.md").read_text(encoding="utf-8"), re.DOTALL)
OF_FILES = {line for block in BLOCKS if NEEDS_FILES in block for line in block.splitlines()} - {NEEDS_FILES}
OF_DIGITS = {line for block in BLOCKS if NEEDS_FILES not in block for line in block.splitlines()}


def differing(lines: set[str]) -> set[str]:
    return {line for line in lines if line.startswith("differs")}


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that are printed where there is no FewCLUE."""
    monkeypatch.setattr(check_published, "DATA", tmp_path / "fewclue")
    assert check_published.main([]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_document_quotes_what_follows_from_the_digits(digits: list[str]) -> None:
    *findings, last = digits
    assert set(findings) >= OF_DIGITS
    assert differing(set(findings)) == differing(OF_DIGITS)
    assert "no folder" in last
    assert "datasets/download.py fewclue" in last


def test_the_document_quotes_what_the_files_give(
    fewclue_dir: Path, digits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_published.main(["--data-dir", str(fewclue_dir)]) == 0
    findings = set(capsys.readouterr().out.splitlines()) - set(digits)
    assert findings >= OF_FILES
    assert differing(findings) == differing(OF_FILES)


def test_rows_and_labels_that_p_tuning_leaves_out() -> None:
    """The rows of the records, from the digits alone; that no other number of rows fits is what makes it sure."""
    runs = check_published.read_runs()
    for dataset, rows in (("tnews", 1876), ("iflytek", 1566)):
        values = runs["p_tuning", dataset]
        assert [size for size in check_published.SIZES if all(check_published.is_share(v, size) for v in values)] == [
            rows
        ]
        assert {record.n for record in find(method="p_tuning", dataset=dataset, split="test_public") if record.n} == {
            rows
        }
    assert len(check_published.expand(check_published.KNOWN["iflytek"])) == 59
    assert check_published.expand("4-6 10") == {"4", "5", "6", "10"}


@pytest.mark.parametrize(
    ("value", "rows", "share"),
    [
        ("33.3", 3, True),
        ("66.6", 3, True),  # cut
        ("66.7", 3, True),  # rounded
        ("66.4", 3, False),
        ("59.016395", 610, True),  # 360 of them, from a float32
        ("59.016395", 611, False),
    ],
)
def test_a_share_of_rows(value: str, rows: int, share: bool) -> None:
    assert check_published.is_share(Decimal(value), rows) is share


def test_a_folder_that_is_not_there_is_named(expect_error: Callable[..., str], tmp_path: Path) -> None:
    assert "missing: no such data folder" in expect_error(check_published.main, "--data-dir", tmp_path / "missing")


def test_single_runs_are_those_that_the_records_name() -> None:
    """Every train_few_all and every mean that was computed from a readme, to the digits of the record."""
    for (method, dataset), values in check_published.read_runs().items():
        assert len(values) == 6
        for record in find(method=method, dataset=dataset, split="test_public"):
            if record.source in "DEFG" and record.train == "few_all":
                assert record.value == pytest.approx(float(values[5]), abs=0.051)
            if record.source in "DG" and record.train == "five_splits":
                assert record.value == pytest.approx(float(sum(values[:5])) / 5, abs=0.0051)
