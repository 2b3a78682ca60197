"""Are the predictions of `--precision auto` float32's, and what does it score twice for that?

  python benchmarks/exact.py --data-dir datasets/fewclue

Every dataset's own script runs twice, in float32 and with auto, and the predictions of all rows are compared. So that
every machine can tell, the fast arithmetic of auto is bfloat16 here, also where that is no faster; in the scripts such
a machine's auto is float32. --work keeps the result files, and what is there and finished is not scored again.

The table: rows, pairs, share of the pairs that were scored again in float32, largest deviation of bfloat16 from it,
rows that were looked at though they needed no float32 and how many of them changed, rows with another prediction than
float32's, and what float32 alone took, in units of auto's time. The status is 0 when no row has another prediction.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from data_options import add_data_dir
from speed_report import machine

from nsp_bert.cards import Card, EntityLinkingCard, load_card, load_cards
from nsp_bert.checkpoints.model_cards import DEFAULT_MODEL
from nsp_bert.cli import new_parser, positive
from nsp_bert.errors import UserError
from nsp_bert.files import write_text
from nsp_bert.options import Options
from nsp_bert.results.benchmark_tables import FEWCLUE
from nsp_bert.results.runs import prepare_output, read_summaries, versions
from nsp_bert.results.summary import NSP_BERT, Summary
from nsp_bert.scoring import exact
from nsp_bert.scoring.backends import BACKENDS
from nsp_bert.scoring.precision import AUTO
from nsp_bert.terminal import new_table, plain_console, run_main
from nsp_bert_benchmark import SCRIPTS

FAST = "bfloat16"
HEADERS = ("dataset", "rows", "pairs", "again", "max dev", "looked at", "changed", "other", "float32 took")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    names = [card.name for card in load_cards() if not isinstance(card, EntityLinkingCard)]
    parser.add_argument(
        "--datasets",
        nargs="+",
        choices=names,
        default=list(FEWCLUE),
        metavar="NAME",
        help=f"{', '.join(names)} (default: the nine of FewCLUE)",
    )
    add_data_dir(parser)
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME_OR_DIR", help="as of the scripts")
    parser.add_argument("--sample", type=positive, metavar="N", help="random rows of each dataset (default: all)")
    parser.add_argument("--backend", choices=tuple(BACKENDS), default="tensorflow", help="of both runs")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keeps the results (default: a temporary folder)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything measured as JSON (default: none)")
    return parser.parse_args(arguments)


def run_both(card: Card, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return the figures of a dataset, run in float32 and with auto. Raises UserError where a run did not end."""
    plain, auto = (run(card, precision, options, work / precision) for precision in (exact.EXACT, AUTO))
    one, other = (predictions(work / name / f"{card.name}.{plain.split}.jsonl") for name in (exact.EXACT, AUTO))
    twice = auto.precision_check
    assert twice
    return {
        "rows": plain.n,
        "pairs": twice.pairs,
        "share_again": twice.pairs_twice / twice.pairs,
        "largest_deviation": twice.largest_deviation,
        "rows_looked_at": twice.rows_checked,
        "flips": twice.flips,
        "other_predictions": sum(a != b for a, b in zip(one, other, strict=True)),
        "seconds": {exact.EXACT: plain.seconds, AUTO: auto.seconds},
    }


def run(card: Card, precision: str, options: argparse.Namespace, output: Path) -> Summary:
    """Return the summary of a dataset's own script."""
    SCRIPTS[card.task](
        Options(
            model=options.model,
            dataset=(card.name,),
            data_dir=options.data_dir,
            sample=options.sample,
            precision=precision,
            backend=options.backend,
            output=output,
            resume=True,
        )
    )
    found = next(read_summaries(output, card.name, card.split, NSP_BERT, None), None)
    if not found or not found.complete:
        raise UserError(f"{card.title}: the run in {precision} did not end")
    return found


def predictions(path: Path) -> list[str]:
    """Return the predictions of a file's rows."""
    return [json.loads(line)["prediction"] for line in path.read_text(encoding="utf-8").splitlines()]


def print_table(figures: dict[str, dict[str, Any]]) -> None:
    """Print a row per dataset."""
    table = new_table(HEADERS)
    for title, one in figures.items():
        counts = (one["rows"], one["pairs"], f"{100 * one['share_again']:.1f} %", f"{one['largest_deviation']:.3f}")
        checks = (one["rows_looked_at"], one["flips"], one["other_predictions"])
        ratio = one["seconds"][exact.EXACT] / one["seconds"][AUTO]
        table.add_row(title, *map(str, (*counts, *checks)), f"{ratio:.2f} x")
    plain_console().print(table)


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    if options.output:
        prepare_output(options.output.parent)
    exact.fast_precision = lambda: FAST
    with tempfile.TemporaryDirectory() as folder:
        cards = [load_card(name) for name in options.datasets]
        figures = {card.title: run_both(card, options, options.work or Path(folder)) for card in cards}
    print_table(figures)
    if options.output:
        settings = {name: str(value) for name, value in vars(options).items()}
        report = {"machine": machine(), "versions": versions(), "settings": settings, "datasets": figures}
        write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", options.output)
    return 1 if any(one["other_predictions"] for one in figures.values()) else 0


if __name__ == "__main__":
    run_main(main)
