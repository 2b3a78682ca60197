r"""Run datasets x models x prompts and lay the results out as the paper's tables, published numbers above ours.

  python nsp_bert_benchmark.py --output results
  python nsp_bert_benchmark.py --models google-bert-zh --prompts templates \
    --output results

Every dataset is run by its own script with --resume: a result that is in the output folder, complete and made from
the same data, checkpoint, code and settings, is not computed again, so that an interrupted benchmark goes on where it
stopped. In the end DIR/tables.md, and a CSV and a LaTeX file a table: Table 1 (score = mean of the nine), accuracy by
model and template, samples-contrast in batches, --calibration, and the ablations. Table 1 is also printed. --dataset
takes other datasets too, a card of your own among them: they are beside the nine and have no part in the score.

Cost in pairs a model on test_public: --prompts default 0.4 M, templates 1.1 M, all 2.2 M, nearly all of them for
classification.
"""

from __future__ import annotations

import nsp_bert.start  # noqa: F401

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nsp_bert_classification
import nsp_bert_cloze_style
import nsp_bert_coreference_resolution
import nsp_bert_entity_linking
import nsp_bert_sentence_pair
from nsp_bert.cards import SAMPLES_CONTRAST, Card, card_names, load_card, load_cards
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.model_cards import DEFAULT_MODEL
from nsp_bert.cli import add_row_options, add_scoring_options, new_parser
from nsp_bert.errors import UserError
from nsp_bert.files import locked_folder, write_text
from nsp_bert.options import ZERO_SHOT, Options, PromptOptions
from nsp_bert.results.benchmark_tables import FEWCLUE, PUBLISHED, Table, all_tables
from nsp_bert.results.fingerprint import checkpoint_digest
from nsp_bert.results.runs import prepare_output, read_summaries
from nsp_bert.results.summary import CALIBRATIONS, ENSEMBLE, NSP_BERT, Summary
from nsp_bert.results.tables import comma_separated, latex, markdown, print_groups
from nsp_bert.scoring.precision import AUTO
from nsp_bert.terminal import INTERRUPTED, plain_console, run_main

SCRIPTS: dict[str, Callable[[Options], int]] = {
    "classification": nsp_bert_classification.run,
    "sentence-pair": nsp_bert_sentence_pair.run,
    "cloze": nsp_bert_cloze_style.run,
    "coreference": nsp_bert_coreference_resolution.run,
    "entity-linking": nsp_bert_entity_linking.run,
}
DEFAULT, TEMPLATES, ALL = "default", "templates", "all"


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument(
        "--models",
        nargs="+",
        default=[DEFAULT_MODEL],
        metavar="NAME_OR_DIR",
        help=f"names in models/cards.yaml, or folders (default: {DEFAULT_MODEL})",
    )
    parser.add_argument(
        "--dataset", nargs="+", metavar="NAME", help=f"those of any cards (default: {', '.join(FEWCLUE)})"
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        metavar="SPLIT",
        help="files of the datasets without their endings (default: the dataset's own, test_public for the nine)",
    )
    parser.add_argument(
        "--prompts",
        choices=(DEFAULT, TEMPLATES, ALL),
        default=DEFAULT,
        help="the dataset's own; also its other templates; every template, position, stage",
    )
    parser.add_argument(
        "--calibration",
        nargs="+",
        choices=CALIBRATIONS,
        default=(),
        metavar="METHOD",
        help=f"of each script, where it takes the method: {', '.join(CALIBRATIONS)} (default: none)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="holds DATASET/SPLIT.json (default: the dataset's own, for the nine datasets/fewclue; else the sample)",
    )
    add_row_options(parser)
    add_scoring_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace results of other settings (--sample, say)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="DIR/MODEL holds a model's results")
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class Model:
    """A model of the benchmark: as it was named, the checksum of its checkpoint, the folder of its results."""

    name_or_dir: str
    checksum: str
    folder: Path


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    if ENSEMBLE in options.calibration and options.prompts != DEFAULT:
        raise UserError("--calibration ensemble scores every template as it is: leave it or --prompts out")
    datasets = [(card, split) for card in chosen_cards(options.dataset) for split in options.splits or [card.split]]
    prepare_output(options.output)
    with locked_folder(options.output):
        models = open_models(options.models, options.output)
        for model in models:
            for card, split in datasets:
                status = SCRIPTS[card.task](script_options(options, card, model, split))
                if status == INTERRUPTED:
                    return status
        tables = all_tables(collect(options, models, datasets))
        write_tables(tables, options.output)
    print_main_table(tables)
    print(f"{options.output / 'tables.md'}: {', '.join(table.title for table in tables)}")
    return 0


def chosen_cards(names: list[str] | None) -> list[Card]:
    """Return the cards of these names, in any case; without names those of the nine that can be read.

    Raises UserError for a name that has no card, or one that cannot be read.
    """
    if not names:
        nine = [card for card in load_cards() if card.name in FEWCLUE]
        return sorted(nine, key=lambda card: FEWCLUE.index(card.name))
    known = {name.lower(): name for name in card_names()}
    return [load_card(name) for name in dict.fromkeys(known.get(name.lower(), name) for name in names)]


def open_models(names: list[str], output: Path) -> list[Model]:
    """Return the models, each with a folder of its own: its name, with a part of its checksum where two share it."""
    checkpoints = {name: open_checkpoint(name, ZERO_SHOT.heads) for name in dict.fromkeys(names)}
    shared = Counter(checkpoint.name for checkpoint in checkpoints.values())
    models = []
    for name, checkpoint in checkpoints.items():
        checksum = checkpoint_digest(checkpoint)
        mark = f".{checksum[:8]}" if shared[checkpoint.name] > 1 else ""
        models.append(Model(name, checksum, output / (checkpoint.name + mark)))
    return models


def script_options(options: argparse.Namespace, card: Card, model: Model, split: str) -> Options:
    """Return the options of a dataset's script."""
    templates = options.prompts == TEMPLATES and card.task == "classification"
    prompt = PromptOptions(
        prompt_position=card.position if templates else None, ablate=templates or options.prompts == ALL
    )
    return Options(
        model=model.name_or_dir,
        dataset=(card.name,),
        data_dir=options.data_dir,
        split=split,
        limit=options.limit,
        sample=options.sample,
        seed=options.seed,
        precision=options.precision,
        backend=options.backend,
        batch_tokens=options.batch_tokens,
        distributed=options.distributed,
        workers=options.workers,
        output=model.folder / folder_name(options.prompts),
        resume=True,
        overwrite=options.overwrite,
        calibration=tuple(name for name in options.calibration if name != ENSEMBLE or card.takes_templates),
        batch_curve=card.mapping == SAMPLES_CONTRAST,
        prompt=prompt,
    )


def folder_name(prompts: str) -> str:
    """Return where below a model's folder the runs of a choice of prompts are."""
    return "" if prompts == DEFAULT else prompts


def collect(options: argparse.Namespace, models: list[Model], datasets: list[tuple[Card, str]]) -> list[Summary]:
    """Return the summaries of the models' runs of (dataset, split), the same run once, none of another checkpoint.

    Of two that differ in their calibration alone, which is no setting of the headline, the one that has it.
    """
    runs: dict[str, Summary] = {}
    for model in models:
        for folder in sorted({path.parent for path in model.folder.rglob("*.json")}):
            for card, split in datasets:
                wanted = script_options(options, card, model, split)
                for summary in read_summaries(folder, card.name, split, NSP_BERT, None):
                    made_by = summary.fingerprint.checkpoint if summary.fingerprint else ""
                    if made_by == model.checksum and comparable(summary, wanted):
                        key = json.dumps([made_by, summary.dataset, split, summary.settings])
                        runs[key] = max(runs.get(key, summary), summary, key=lambda run: len(run.calibration or ()))
    return list(runs.values())


def comparable(summary: Summary, options: Options) -> bool:
    """Return whether a run is one of this benchmark's: complete, of the same rows, precision and backend."""
    return (
        summary.complete
        and summary.settings["rows"] == str(options.selection)
        and summary.settings["backend"] == options.backend
        and options.precision in (summary.settings["precision"], AUTO)
    )


def write_tables(tables: list[Table], folder: Path) -> None:
    """Write `tables.md` with all tables, and `NAME.csv` and `NAME.tex` for each."""
    sections = [f"## {table.title}\n\n{table.note}\n\n{markdown(table.headers, table.rows)}" for table in tables]
    write_text("# Benchmark\n\n" + "\n".join(sections), folder / "tables.md")
    for table in tables:
        write_text(comma_separated(table.headers, table.rows), folder / f"{table.name}.csv")
        comment = f"% {table.title}. {table.note}\n% \\usepackage{{booktabs}}, for Chinese also ctex with XeLaTeX\n"
        write_text(comment + latex(table.headers, table.rows), folder / f"{table.name}.tex")


def print_main_table(tables: list[Table]) -> None:
    """Print Table 1, if it is there: published methods, then ours."""
    console = plain_console()
    for table in (one for one in tables if one.name == "table1"):
        published = [row for row in table.rows if row[0].endswith(PUBLISHED)]
        ours = [row for row in table.rows if row not in published]
        named = [[name.removesuffix(PUBLISHED), *cells] for name, *cells in published]
        console.print(f"\n{table.title}: published methods, then ours")
        print_groups(table.headers, [named, ours], console)
        console.print(table.note)


if __name__ == "__main__":
    run_main(main)
