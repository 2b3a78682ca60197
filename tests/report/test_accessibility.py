"""The report for everyone: an outline without gaps, a name for every control, contrast in both themes."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

import nsp_bert_classification
import nsp_bert_sentence_pair
from nsp_bert.report.page import TEMPLATES
from nsp_bert_report import main

VOID = {"meta", "link", "input", "br", "img"}


class Outline(HTMLParser):
    """Elements in document order: (tag, attributes, tags around it, its text)."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[dict] = []
        self._open: list[dict] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element that begins."""
        element = {"tag": tag, "own": dict(attrs), "around": list(self._open), "text": ""}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        """Add a text to every element that it is in."""
        for element in self._open:
            element["text"] += data

    def every(self, *tags: str) -> list[dict]:
        """Return the elements with one of these tags."""
        return [element for element in self.elements if element["tag"] in tags]


@pytest.fixture(scope="module")
def page(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page, without plotly.js, of a dataset with two runs, one with 67 labels, and one with a batch curve."""
    folder = tmp_path_factory.mktemp("accessible")
    model = ["--model", str(checkpoint_dir), "--limit", "4", "--output"]
    assert nsp_bert_classification.main([*model, str(folder), "--dataset", "eprstmt", "csldcp"]) == 0
    assert nsp_bert_classification.main([*model, str(folder / "1"), "--dataset", "eprstmt", "--template", "1"]) == 0
    assert nsp_bert_sentence_pair.main([*model, str(folder), "--dataset", "bustm", "--batch-curve"]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nsp_bert.report.page.get_plotlyjs", lambda: "")
        assert main([str(folder), "--output", str(folder / "report.html")]) == 0
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_headings_never_skip_a_level(outline: Outline) -> None:
    levels = [int(element["tag"][1]) for element in outline.every("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(levels) == 4
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_control_has_a_name(outline: Outline) -> None:
    controls = outline.every("select", "input", "textarea")
    assert len(controls) == 7
    for control in controls:
        labels = [element for element in control["around"] if element["tag"] == "label"]
        assert control["own"].get("aria-label") or any(label["text"].strip() for label in labels)
    assert all(button["text"].strip() for button in outline.every("button"))
    assert all(link["text"].strip() for link in outline.every("a"))


def test_ids_are_unique_and_links_lead_to_them(outline: Outline) -> None:
    ids = [element["own"]["id"] for element in outline.elements if "id" in element["own"]]
    assert len(ids) == len(set(ids))
    assert {link["own"]["href"].removeprefix("#") for link in outline.every("a")} <= set(ids)


def test_tables_pictures_and_landmarks(outline: Outline) -> None:
    headers = outline.every("th")
    assert {header["own"]["scope"] for header in headers} == {"col", "row"}
    assert all(header["own"].get("aria-label") or header["text"].strip() for header in headers)
    pictures = [element for element in outline.elements if element["own"].get("role") == "img"]
    assert pictures
    assert all(picture["own"]["aria-label"] for picture in pictures)
    assert outline.every("html")[0]["own"]["lang"] == "en"
    assert [len(outline.every(tag)) for tag in ("header", "nav", "main", "footer")] == [1, 1, 1, 1]
    assert outline.every("nav")[0]["own"]["aria-label"]


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb, as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_texts_stand_out_in_both_themes() -> None:
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    light, dark, chosen_dark = (
        dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in re.findall(r"color-scheme: \w+;([^}]+)", style)
    )
    assert dark == chosen_dark
    pairs = [(text, ground) for text in ("ink", "muted", "accent") for ground in ("page", "panel")]
    for theme in (light, dark):
        for text, ground in [*pairs, ("ink", "tint"), ("accent", "tint"), ("ink", "cell")]:
            low, high = sorted((luminance(theme[text]), luminance(theme[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground, theme)


def test_a_large_matrix_names_its_labels(page: str) -> None:
    plots = json.loads(re.findall(r'id="plots">(.*?)</script>', page, re.DOTALL)[0])
    matrix = next(plot for plot in plots if len(plot["data"][0].get("z", [])) == 67)
    for axis in ("xaxis", "yaxis"):
        layout = matrix["layout"][axis]
        assert layout.get("showticklabels", True)
        assert "tickvals" not in layout  # plotly chooses as many as the axis has room for
        assert layout["tickfont"]["size"] >= 10
    assert "%{x}" in matrix["data"][0]["hovertemplate"]
    assert "%{y}" in matrix["data"][0]["hovertemplate"]
