"""Result files of the scripts -> one HTML page that a person opens, without a network.

  python nsp_bert_report.py results
  python nsp_bert_report.py results --output report.html --figures figures

RESULTS is searched with its subfolders for what the scripts write with --output: `<dataset>.<split>.json` and beside it
`.jsonl` (a line per row) and `.texts.jsonl` (the texts of the rows). The page holds

- every run with its 95 % interval drawn, and the published number on it where
  there is one;
- methods by dataset and accuracy against cost, where there is more than one;
- accuracy by model and prompt, where a dataset was run more than once;
- per run: confusion matrix, scores or margins, calibration, the batch curve;
- every row to look through: dataset, right or wrong or disputed by another
  method, label, prediction, free text; the prompts and their log-odds.

It shows what the result files hold and computes no accuracy of its own. --figures also writes figures for a paper.
Cost: the nine datasets at full size give a page just below 10 MB, half of it plotly.js, in seconds. Texts are in it
once; another model on all nine adds 1.4 MB.
"""

from __future__ import annotations

import nsp_bert.start  # noqa: F401

import argparse
from pathlib import Path

from nsp_bert.cli import new_parser
from nsp_bert.files import write_text
from nsp_bert.report.page import build_page, render
from nsp_bert.report.reader import read_results
from nsp_bert.terminal import run_main


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder with result files, searched recursively")
    parser.add_argument("--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page")
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="DIR",
        help="also write accuracy and batch_curves there, as PNG, PDF and SVG each (default: none)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    runs = read_results(options.results)
    page = render(build_page(runs))
    write_text(page, options.output)
    number = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    print(f"{options.output}: {number}, {len(page.encode()) / 1e6:.1f} MB")
    if options.figures:
        from nsp_bert.report.paper_figures import write_figures  # matplotlib: only where it is asked for

        for path in write_figures([run.summary for run in runs], options.figures):
            print(path)
    return 0


if __name__ == "__main__":
    run_main(main)
