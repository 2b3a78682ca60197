r"""Run datasets x models x prompts and lay the results out as the paper's tables, published numbers above ours.

  python nsp_bert_benchmark.py --output results
  python nsp_bert_benchmark.py --models google-bert-zh --prompts templates \
    --output results
  python nsp_bert_benchmark.py --methods nsp_bert pet efl --output results

Every dataset is run by its own script with --resume: a result that is in the output folder, complete and made from
the same data, checkpoint, code and settings, is not computed again, so that an interrupted benchmark goes on where it
stopped. In the end DIR/tables.md, and a CSV and a LaTeX file a table: Table 1 (score = mean of the nine), accuracy by
model and template, samples-contrast in batches, --calibration, and the ablations. Table 1 is also printed. --dataset
takes other datasets too, a card of your own among them: they are beside the nine and have no part in the score.

--methods runs other methods beside NSP-BERT zero-shot, each by its own script and recipe, those that are trained on
five training sets. Three more tables then: accuracy of methods x datasets, the published rows above each method; tests
against NSP-BERT on the same rows, with Holm's correction; costs. What a method cannot do (a dataset of another task, a
checkpoint without its head) is told in a line and leaves its cell empty. docs/results.md says how the tests are made.

Cost in pairs a model on test_public: --prompts default 0.4 M, templates 1.1 M, all 2.2 M, nearly all of them for
classification. Of other methods their scripts tell; few-shot NSP-BERT on IFLYTEK is the longest.
"""

from __future__ import annotations

import nsp_bert.start  # noqa: F401

import argparse
import importlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import nsp_bert_classification
import nsp_bert_cloze_style
import nsp_bert_coreference_resolution
import nsp_bert_entity_linking
import nsp_bert_sentence_pair
from nsp_bert.cards import SAMPLES_CONTRAST, Card, card_names, load_card, load_cards
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.model_cards import DEFAULT_MODEL
from nsp_bert.cli import add_row_options, add_scoring_options, new_parser, number, positive
from nsp_bert.errors import UnsuitableError, UserError
from nsp_bert.files import ROOT, locked_folder
from nsp_bert.method_options import add_training_sets
from nsp_bert.methods.demonstrations import SETS
from nsp_bert.options import ZERO_SHOT, Options, PromptOptions
from nsp_bert.results.benchmark_tables import FEWCLUE, Table, all_tables, tell_titles_apart
from nsp_bert.results.comparison import compare, read_outcome
from nsp_bert.results.comparison_tables import comparison_tables
from nsp_bert.results.fingerprint import checkpoint_digest
from nsp_bert.results.runs import prepare_output, read_summaries
from nsp_bert.results.summary import CALIBRATIONS, ENSEMBLE, NSP_BERT, NSP_FEW_SHOT, Summary
from nsp_bert.results.table_files import print_main_tables, write_tables
from nsp_bert.rows import train_split
from nsp_bert.scoring.precision import AUTO
from nsp_bert.session import choose_data
from nsp_bert.terminal import INTERRUPTED, run_main

SCRIPTS: dict[str, Callable[[Options], int]] = {
    "classification": nsp_bert_classification.run,
    "sentence-pair": nsp_bert_sentence_pair.run,
    "cloze": nsp_bert_cloze_style.run,
    "coreference": nsp_bert_coreference_resolution.run,
    "entity-linking": nsp_bert_entity_linking.run,
}
DEFAULT, TEMPLATES, ALL = "default", "templates", "all"


@dataclass(frozen=True)
class Entry:
    """A row of the comparison: its name for --methods, whether it has training sets, and its published methods.

    `own_method` is the name in result files where that is not the row's, `own_script` that of the script where that is
    not the method's. `choices` are options of the script, `recipe` options of its training, that make the method.
    """

    name: str
    published: tuple[str, ...] = ()
    few_shot: bool = False
    own_method: str = ""
    own_script: str = ""
    choices: Mapping[str, object] = field(default_factory=dict)
    recipe: Mapping[str, object] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The name in result files."""
        return self.own_method or self.name

    @property
    def script(self) -> str:
        """The name of the script, without its ending."""
        return self.own_script or self.method

    def run(self, card: Card, options: Options) -> int:
        """Run the script on a dataset and return its exit status."""
        script: Callable[[Options], int] = SCRIPTS[card.task] if self.name == NSP_BERT else self.module().run
        return script(options)

    def module(self) -> ModuleType:
        """Return the script as a module; NSP-BERT zero-shot has one for each kind of task, and none here."""
        scripts = str(ROOT / "baselines")
        if scripts not in sys.path:
            sys.path.append(scripts)
        return importlib.import_module(self.script)


METHODS = (  # in the order of the tables: a new one is a line here
    Entry(NSP_BERT, ("nsp_bert",)),
    Entry("pet", ("pet_zero",)),
    Entry("gpt", ("gpt_zero",)),
    Entry(NSP_FEW_SHOT, few_shot=True),
    Entry("pet_few_shot", ("pet",), few_shot=True, own_method="pet"),
    Entry("fine_tuning", ("fine_tuning_bert", "fine_tuning_roberta", "fine_tuning_ernie"), few_shot=True),
    Entry("efl", ("efl", "efl_without_nli"), few_shot=True),
    Entry("p_tuning", ("p_tuning", "p_tuning_plain"), few_shot=True),
    Entry("p_tuning_causal", ("p_tuning_gpt",), few_shot=True, own_script="p_tuning", choices={"head": "causal"}),
    Entry("p_tuning_nsp", few_shot=True, own_script="p_tuning", choices={"head": "nsp"}),
    Entry("lm_bff", ("lm_bff",), few_shot=True),
    Entry("lm_bff_demonstrations", few_shot=True, own_script="lm_bff", recipe={"demonstrations": SETS}),
    Entry("adapet", ("adapet",), few_shot=True),
    Entry("tcbert", ("tcbert",), few_shot=True),
    Entry("similarity", ("similarity",), few_shot=True),
)


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
        "--methods",
        nargs="+",
        choices=(ALL, *(entry.name for entry in METHODS)),
        default=[NSP_BERT],
        metavar="NAME",
        help=f"{', '.join(entry.name for entry in METHODS)}; or {ALL} (default: {NSP_BERT})",
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
    group = parser.add_argument_group("methods with training sets")
    add_training_sets(group)
    group.add_argument("--epochs", type=positive, metavar="N", help="passes over the rows (default: the method's own)")
    group.add_argument(
        "--learning-rate", type=number(above=0), metavar="RATE", help="largest of a step (default: the method's own)"
    )
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
    entries = [entry for entry in METHODS if {ALL, entry.name} & {*options.methods}]
    prepare_output(options.output)
    with locked_folder(options.output):
        models = open_models(options.models, options.output, entries)
        left_out = LeftOut()
        for model in models:
            for entry in entries:
                for card, split in datasets:
                    if run(options, entry, card, model, split, left_out) == INTERRUPTED:
                        return INTERRUPTED
        tables = all_tables(collect(options, models, datasets))
        if entries != [METHODS[0]]:
            tables += method_tables(options, models, datasets, entries, left_out)
        write_tables(tables, options.output)
    for line in left_out.lines:
        print(f"left out: {line}")
    print_main_tables(tables)
    print(f"{options.output / 'tables.md'}: {', '.join(table.title for table in tables)}")
    return 0


class LeftOut:
    """What could not be run: for each method, model and reason the datasets."""

    def __init__(self) -> None:
        self._datasets: dict[tuple[str, str, str], list[str]] = {}

    def add(self, entry: Entry, model: Model, reason: str, title: str) -> None:
        """Take what cannot be run."""
        self._datasets.setdefault((entry.name, model.folder.name, reason), []).append(title)

    @property
    def lines(self) -> list[str]:
        """A line for each method, model and reason."""
        return [
            f"{name}, {model}, not on {', '.join(dict.fromkeys(titles))}: {reason}"
            for (name, model, reason), titles in self._datasets.items()
        ]


def run(options: argparse.Namespace, entry: Entry, card: Card, model: Model, split: str, left_out: LeftOut) -> int:
    """Run a method on a dataset, or note why it cannot be; return the exit status."""
    wanted = script_options(options, entry, card, model, split)
    folder = choose_data(card, options.data_dir).folder
    missing = [train for train in wanted.train if not (folder / card.path.format(split=train_split(train))).is_file()]
    try:
        if missing:
            raise UnsuitableError(f"no training rows, {card.path.format(split=train_split(missing[0]))}")
        return entry.run(card, wanted)
    except UnsuitableError as error:
        left_out.add(entry, model, str(error), card.title)
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


def open_models(names: list[str], output: Path, entries: Sequence[Entry]) -> list[Model]:
    """Return the models, each with a folder of its own: its name, with a part of its checksum where two share it.

    Raises UserError for one that cannot be read, or that NSP-BERT cannot use where no other method is asked for.
    """
    alone = [entry.name for entry in entries] == [NSP_BERT]
    needs = ZERO_SHOT.heads if alone else ("encoder",)
    checkpoints = {name: open_checkpoint(name, needs, causal=not alone) for name in dict.fromkeys(names)}
    shared = Counter(checkpoint.name for checkpoint in checkpoints.values())
    models = []
    for name, checkpoint in checkpoints.items():
        checksum = checkpoint_digest(checkpoint)
        mark = f".{checksum[:8]}" if shared[checkpoint.name] > 1 else ""
        models.append(Model(name, checksum, output / (checkpoint.name + mark)))
    return models


def script_options(options: argparse.Namespace, entry: Entry, card: Card, model: Model, split: str) -> Options:
    """Return the options of a dataset's script; choices of prompts and calibration are NSP-BERT zero-shot's alone."""
    given = {"epochs": options.epochs, "learning_rate": options.learning_rate} if entry.few_shot else {}
    wanted = Options(
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
        output=model.folder,
        resume=True,
        overwrite=options.overwrite,
        train=tuple(options.train) if entry.few_shot else (),
        recipe={**entry.recipe, **{name: value for name, value in given.items() if value is not None}},
    ).model_copy(update=entry.choices)
    return wanted if entry.name != NSP_BERT else wanted.model_copy(update=zero_shot_choices(options, card, model))


def zero_shot_choices(options: argparse.Namespace, card: Card, model: Model) -> dict[str, object]:
    """Return what is particular to NSP-BERT zero-shot: prompts with a folder of their own, what is shown beside."""
    templates = options.prompts == TEMPLATES and card.task == "classification"
    prompt = PromptOptions(
        prompt_position=card.position if templates else None, ablate=templates or options.prompts == ALL
    )
    return {
        "output": model.folder / folder_name(options.prompts),
        "calibration": tuple(name for name in options.calibration if name != ENSEMBLE or card.takes_templates),
        "batch_curve": card.mapping == SAMPLES_CONTRAST,
        "prompt": prompt,
    }


def folder_name(prompts: str) -> str:
    """Return where below a model's folder the runs of a choice of prompts are."""
    return "" if prompts == DEFAULT else prompts


def results(
    options: argparse.Namespace, models: list[Model], datasets: list[tuple[Card, str]], entry: Entry
) -> Iterator[tuple[Summary, Path]]:
    """Yield the summaries of a method's runs of (dataset, split), none of another checkpoint, with their folders."""
    for model in models:
        for folder in sorted({path.parent for path in model.folder.rglob("*.json")}):
            for card, split in datasets:
                wanted = script_options(options, entry, card, model, split)
                for train in wanted.train or (None,):
                    for summary in read_summaries(folder, card.name, split, entry.method, train):
                        made_by = summary.fingerprint.checkpoint if summary.fingerprint else ""
                        if made_by == model.checksum and comparable(summary, wanted):
                            yield summary, folder


def collect(options: argparse.Namespace, models: list[Model], datasets: list[tuple[Card, str]]) -> list[Summary]:
    """Return the summaries of NSP-BERT zero-shot, the same run once.

    Of two that differ in their calibration alone, which is no setting of the headline, the one that has it.
    """
    runs: dict[str, Summary] = {}
    for summary, _ in results(options, models, datasets, METHODS[0]):
        made_by = summary.fingerprint.checkpoint if summary.fingerprint else ""
        key = json.dumps([made_by, summary.dataset, summary.split, summary.settings])
        runs[key] = max(runs.get(key, summary), summary, key=lambda run: len(run.calibration or ()))
    return list(runs.values())


def method_tables(
    options: argparse.Namespace,
    models: list[Model],
    datasets: list[tuple[Card, str]],
    entries: Sequence[Entry],
    left_out: LeftOut,
) -> list[Table]:
    """Return the tables that compare the methods on the datasets' own splits."""
    test = [(card, split) for card, split in datasets if split == card.split]
    found = [one for entry in entries for one in results(options, models, test, entry)]
    titled = tell_titles_apart([summary for summary, _ in found])
    outcomes = [read_outcome(summary, folder) for summary, (_, folder) in zip(titled, found, strict=True)]
    published = {(entry.method, entry.few_shot): entry.published for entry in entries}
    return comparison_tables(compare(outcomes), published, left_out.lines)


def comparable(summary: Summary, options: Options) -> bool:
    """Return whether a run is one of this benchmark's: complete, of the same rows, precision and backend."""
    return (
        summary.complete
        and summary.settings["rows"] == str(options.selection)
        and summary.settings["backend"] == options.backend
        and options.precision in (summary.settings["precision"], AUTO)
    )


if __name__ == "__main__":
    run_main(main)
