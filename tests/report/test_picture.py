"""The picture of the report, and what is said where there is no browser to make it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import picture
import pytest
from PIL import Image

import nsp_bert_classification
from nsp_bert.errors import UserError


@pytest.fixture(scope="module")
def results(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two datasets."""
    folder = tmp_path_factory.mktemp("results")
    options = ["--model", str(checkpoint_dir), "--limit", "9", "--output", str(folder)]
    assert nsp_bert_classification.main([*options, "--dataset", "eprstmt", "tnews"]) == 0
    return folder


def test_the_picture_shows_the_table_and_one_dataset(results: Path, tmp_path: Path) -> None:
    try:
        picture.find_browser()
    except UserError as error:
        pytest.skip(str(error))
    path = tmp_path / "pictures" / "report.png"
    assert picture.main([str(results), "--dataset", "EPRSTMT", "--output", str(path)]) == 0
    assert list(path.parent.iterdir()) == [path]
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width == picture.WIDTH
        assert 500 < image.height < 1500  # a table of two rows and a row of figures: neither empty nor everything
        assert len(image.getcolors()) > 20
    assert path.stat().st_size < 150_000


@pytest.mark.parametrize(
    ("browser", "options", "reason"),
    [
        ("no-such-browser", [], "no browser found (no-such-browser); install Chromium"),
        ("false", [], "false made no picture of the report; install Chromium"),
        ("true", ["--dataset", "tnewz"], "no figures of tnewz in these results; did you mean tnews?"),
    ],
)
def test_why_there_is_no_picture(
    browser: str,
    options: list[str],
    reason: str,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expect_error: Callable[..., str],
) -> None:
    monkeypatch.setenv("CHROMIUM", browser)
    path = tmp_path / "pictures" / "report.png"
    assert reason in expect_error(picture.main, results, "--output", path, *options)
    assert not list(tmp_path.glob("pictures/*"))
