"""The picture that README.md opens with: the top of the report and the figures of one dataset, by a headless Chromium.

  python docs/picture.py results --dataset eprstmt --output docs/report.png

RESULTS is what nsp_bert_report.py takes. Chromium (or Google Chrome) is looked for on PATH; the variable CHROMIUM can
name another. Chinese needs a font that has it, Noto Sans CJK for example.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

from nsp_bert.errors import UserError, meant
from nsp_bert.files import replacing
from nsp_bert.report.page import Page, build_page, render
from nsp_bert.report.reader import read_results
from nsp_bert.terminal import run_main

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, TALLEST = 1200, 6000
MARGIN = 24  # below the figures
COLOURS = 64  # enough for the report's few and the edges of its letters; a third of the size
PATIENCE = 120  # seconds
REMEDY = "install Chromium, or name another browser of its kind: CHROMIUM=/path/to/it"
HIDDEN = "#prompts, #rows, footer, section.dataset:not(#figures-{number}) {{ display: none }}"


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder with result files, searched recursively")
    parser.add_argument("--dataset", metavar="NAME", help="whose figures are shown; default: the first one's")
    parser.add_argument(
        "--output", type=Path, default=Path("report.png"), metavar="FILE", help="the picture (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    browser = find_browser()
    html = top_of_report(build_page(read_results(options.results)), options.dataset)
    with replacing(options.output) as unfinished, tempfile.TemporaryDirectory(dir=unfinished.parent) as folder:
        picture = trimmed(photograph(browser, html, Path(folder)))
        picture.save(unfinished, "PNG", optimize=True)
    print(f"{options.output}: {picture.width} x {picture.height}, {options.output.stat().st_size / 1000:.0f} KB")
    return 0


def find_browser() -> str:
    """Return the program of a Chromium. Raises UserError when there is none."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else BROWSERS
    for name in names:
        if program := shutil.which(name):
            return program
    raise UserError(f"no browser found ({', '.join(names)}); {REMEDY}")


def top_of_report(page: Page, dataset: str | None) -> str:
    """Return a page that ends after the figures of a dataset. Raises UserError where it has none."""
    titles = [section.title.lower() for section in page.sections]
    name = dataset.lower() if dataset else next(iter(titles), "any dataset")
    if name not in titles:
        raise UserError(f"no figures of {name} in these results{meant(name, titles)}")
    style = HIDDEN.format(number=titles.index(name) + 1)
    return render(page).replace("</head>", f"<style>{style}</style></head>", 1)


def photograph(browser: str, html: str, folder: Path) -> Image.Image:
    """Return a page as a browser shows it. Raises UserError when there is no picture of it.

    The folder is not that of the system's temporary files: a browser that is a snap does not see those.
    """
    page, picture = folder / "report.html", folder / "report.png"
    page.write_text(html, encoding="utf-8")
    flags = ["--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking"]
    flags += ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root with it
    flags += [f"--user-data-dir={(folder / 'user').absolute()}", f"--window-size={WIDTH},{TALLEST}"]
    flags += ["--virtual-time-budget=20000", f"--screenshot={picture.absolute()}"]
    try:
        command = [browser, *flags, page.absolute().as_uri()]
        subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
        with Image.open(picture) as image:
            return image.convert("RGB")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{browser} made no picture of the report; {REMEDY}") from error


def trimmed(image: Image.Image) -> Image.Image:
    """Return a picture without the empty rest of the window below, in few colours."""
    empty = Image.new("RGB", image.size, image.getpixel((0, 0)))
    _, _, _, bottom = ImageChops.difference(image, empty).getbbox() or (0, 0, *image.size)
    return image.crop((0, 0, image.width, min(bottom + MARGIN, image.height))).quantize(COLOURS)


if __name__ == "__main__":
    run_main(main)
