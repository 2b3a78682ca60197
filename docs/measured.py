"""The table of measured methods in docs/results.md and the READMEs, made of the runs in docs/measured_runs.jsonl.

  python docs/measured.py                # writes the tables anew
  python docs/measured.py --add results  # takes in the runs of a folder first
  python docs/measured.py --tests        # also prints all tests, and the costs

A line of docs/measured_runs.jsonl is a run of the bundled model: its summary, and which of its rows are right, so that
methods can be tested against each other where no file of scores is left. Runs of several commits may make one cell: the
checksum of the code is left out, the commit is kept. A cell of a table that no run is kept of stays as it is.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

import base64
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from nsp_bert.cards import validation_reasons
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.model_cards import DEFAULT_MODEL
from nsp_bert.cli import new_parser
from nsp_bert.errors import UserError
from nsp_bert.files import ROOT, utf8_lines, write_text
from nsp_bert.options import Method
from nsp_bert.results.benchmark_tables import fewclue_titles
from nsp_bert.results.comparison import Cell, Comparison, Outcome, comparable, compare, line_of, read_outcome
from nsp_bert.results.comparison_tables import TEST_SPLIT, cost_table, significance_table
from nsp_bert.results.fingerprint import checkpoint_digest
from nsp_bert.results.runs import read_summary
from nsp_bert.results.summary import NSP_BERT, NSP_FEW_SHOT, Record, Summary
from nsp_bert.results.table_files import section
from nsp_bert.results.tables import percent
from nsp_bert.rows import FIVE
from nsp_bert.terminal import run_main
from nsp_bert_benchmark import METHODS

RUNS = Path(__file__).with_name("measured_runs.jsonl")
DOCUMENTS = (ROOT / "docs" / "results.md", ROOT / "README.md", ROOT / "README_zh.md")
TITLES = {title: name for name, title in fewclue_titles().items()}
NAMES = {  # (method in result files, whether it has training sets) -> its names in the tables
    (NSP_BERT, False): ("NSP-BERT, zero-shot", "NSP-BERT，零样本"),
    ("pet", False): ("PET, zero-shot", "PET，零样本"),
    (NSP_FEW_SHOT, True): ("NSP-BERT, few-shot", "NSP-BERT，少样本"),
    ("pet", True): ("PET, few-shot", "PET，少样本"),
    ("fine_tuning", True): ("fine-tuning", "微调"),
    ("efl", True): ("EFL",),
    ("lm_bff", True): ("LM-BFF",),
    ("lm_bff_demonstrations", True): ("LM-BFF, demonstrations", "LM-BFF，带示例"),
    ("adapet", True): ("ADAPET",),
    ("p_tuning", True): ("P-tuning",),
    ("p_tuning_causal", True): ("P-tuning, causal head", "P-tuning，因果头"),
    ("p_tuning_nsp", True): ("P-tuning, NSP head", "P-tuning，NSP 头"),
    ("tcbert", True): ("TCBert",),
    ("similarity", True): ("similarity (TCBert)", "相似度（TCBert）"),
}
METHODS_BY_NAME = {name: method for method, names in NAMES.items() for name in names}
TESTED = re.compile(r"(Holm's correction for the )\d+( pairs of cells)")
LOSS, ACCURACY, SECONDS = 4, 4, 1  # decimals of an epoch that are kept


class KeptRun(Record):
    """A line of the file: a summary without what no table needs, and for each row whether it is right.

    `right` bool (n,) in packed bits, and `clusters` uint16 (n,), are compressed and in base 64. `index` is the places
    of the rows in the file, None where they are all rows in order.
    """

    summary: Summary
    right: str
    clusters: str | None = None
    index: list[int] | None = None

    @classmethod
    def of(cls, one: Outcome) -> KeptRun:
        """Return what is kept of a run."""
        whole = np.array_equal(one.index, np.arange(len(one.index)))
        return cls(
            summary=shortened(one.summary),
            right=packed(np.packbits(one.right)),
            clusters=None if one.clusters is None else packed(one.clusters.astype(np.uint16)),
            index=None if whole else one.index.tolist(),
        )

    @property
    def outcome(self) -> Outcome:
        """The run as methods are compared by it."""
        count = self.summary.n
        right = np.unpackbits(np.frombuffer(unpacked(self.right), np.uint8), count=count).astype(bool)
        clusters = None if self.clusters is None else np.frombuffer(unpacked(self.clusters), np.uint16).astype(int)
        return Outcome(self.summary, np.arange(count) if self.index is None else np.array(self.index), right, clusters)

    @property
    def key(self) -> tuple[str, str, str]:
        """What one run is kept of: dataset, method, training set."""
        return self.summary.dataset, self.summary.method, self.summary.train or ""


def main(arguments: list[str] | None) -> int:
    parser = new_parser(__doc__)
    parser.add_argument(
        "--add",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of result files, and all below them (default: none)",
    )
    parser.add_argument("--tests", action="store_true", help="print the tables of tests and costs")
    options = parser.parse_args(arguments)
    kept = {one.key: one for one in read_runs(RUNS)}
    found = [KeptRun.of(one) for folder in options.add for one in outcomes(folder)]
    kept |= {one.key: one for one in found}
    comparison = compared(list(kept.values()))  # before anything is written: it may refuse what was found
    if found:
        write_text("".join(one.model_dump_json(exclude_defaults=True) + "\n" for _, one in sorted(kept.items())), RUNS)
        print(f"{RUNS}: {len(found)} runs taken in, {len(kept)} in all")
    for path in DOCUMENTS:
        write_text(with_cells(path.read_text(encoding="utf-8"), comparison), path)
        print(f"{path}: cells written")
    if options.tests:
        print("\n".join(section(table) for table in (significance_table(comparison), cost_table(comparison))))
    return 0


def read_runs(path: Path) -> list[KeptRun]:
    """Return the runs that are kept. Raises UserError naming file and line."""
    runs = []
    with path.open("rb") as stream:
        for number, line in utf8_lines(stream, str(path)):
            try:
                runs.append(KeptRun.model_validate_json(line))
            except ValidationError as error:
                raise UserError(f"{path}:{number}: {validation_reasons(error)}; take it from git again") from error
    return runs


def outcomes(folder: Path) -> Iterator[Outcome]:
    """Yield the runs below a folder that have a place in the tables. Raises UserError where there are none.

    They are finished, of the bundled model and the datasets' own prompts, on real test rows.
    """
    checksum = checkpoint_digest(open_checkpoint(DEFAULT_MODEL, ("encoder",)))
    summaries = {path: read_summary(path) for path in sorted(folder.rglob("*.json"))}
    found = {
        path: one
        for path, one in summaries.items()
        if one
        and comparable(one)
        and not one.sample
        and one.split == TEST_SPLIT
        and line_of(one).checkpoint == checksum
    }
    if not found:
        raise UserError(f"{folder}: holds no finished run of {DEFAULT_MODEL} on {TEST_SPLIT}, other than of the sample")
    for path, summary in found.items():
        yield read_outcome(summary, path.parent)


def shortened(summary: Summary) -> Summary:
    """Return a summary without what no table needs, and with figures of the epochs rounded."""
    changes: dict[str, object] = {"labels": [], "notes": [], "files": {}, "nearest_words": None, "batch_curve": None}
    if summary.metrics:
        changes["metrics"] = summary.metrics.model_copy(update={"confusion": None})
    if summary.fingerprint:
        changes["fingerprint"] = summary.fingerprint.model_copy(update={"code": ""})
    if summary.training:
        epochs = [
            epoch.model_copy(
                update={
                    "loss": round(epoch.loss, LOSS),
                    "dev_accuracy": round(epoch.dev_accuracy, ACCURACY),
                    "seconds": round(epoch.seconds, SECONDS),
                    "steps_seconds": None,
                }
            )
            for epoch in summary.training.epochs
        ]
        changes["training"] = summary.training.model_copy(update={"epochs": epochs})
    return summary.model_copy(update=changes)


def packed(array: np.ndarray) -> str:
    """Return an array's bytes, compressed, as text."""
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode("ascii")


def unpacked(text: str) -> bytes:
    """Return the bytes of a text that `packed` made."""
    return zlib.decompress(base64.b64decode(text))


def compared(kept: Sequence[KeptRun]) -> Comparison:
    """Return the comparison of all runs. Raises UserError for runs of other data, or of a cell but not made alike."""
    data: dict[str, str] = {}
    for one in kept:
        for path, checksum in one.summary.fingerprint.data.items() if one.summary.fingerprint else ():
            if data.setdefault(path, checksum) != checksum:
                raise UserError(
                    f"{RUNS}: {' '.join(one.key)} is of another {path} than the runs before it; leave it out"
                )
    comparison = compare([one.outcome for one in kept])
    placed = {id(summary) for cell in comparison.cells.values() for summary in cell.summaries}
    if strange := [one.key for one in kept if id(one.summary) not in placed]:
        raise UserError(f"{RUNS}: {' '.join(strange[0])} was made otherwise than the others of its cell; add them anew")
    return comparison


def with_cells(text: str, comparison: Comparison) -> str:
    """Return a document with its cells of measured methods, and the number of tests, as the comparison has them."""
    cells = {(line.method, line.few_shot, column.dataset): cell for (line, column), cell in comparison.cells.items()}
    stars = {id(test.cell) for test in comparison.tests if test.significant}
    lines, columns = [], []
    for line in text.split("\n"):
        name, *old = [part.strip() for part in line.split("|")[1:-1]] or [""]
        if line.startswith("| | "):
            columns = [TITLES.get(title, "") for title in old]
        elif not line.startswith("|"):
            columns = []
        elif name in METHODS_BY_NAME and any(columns):
            found = [cells.get((*METHODS_BY_NAME[name], dataset)) for dataset in columns]
            new = (shown(cell, id(cell) in stars) if cell else was for cell, was in zip(found, old, strict=True))
            line = f"| {' | '.join([name, *new])} |"
        lines.append(line)
    return TESTED.sub(rf"\g<1>{comparison.tested}\g<2>", "\n".join(lines))


def shown(cell: Cell, star: bool) -> str:
    """Return a cell's text: the accuracy or the mean of the runs', and in brackets what it has less than the method."""
    spread = "" if cell.deviation is None else f" ± {percent(cell.deviation)}"
    less = ", ".join(reductions(cell))
    return percent(cell.accuracy) + spread + ("*" if star else "") + (f" ({less})" if less else "")


def reductions(cell: Cell) -> Iterator[str]:
    """Yield what a cell has less: training sets, epochs, rows, wrong labels, wrong descriptions."""
    run = cell.summaries[0]
    if cell.line.few_shot and len(cell.outcomes) < len(FIVE):
        yield str(len(cell.outcomes))
    epochs = run.settings.get("epochs")
    if epochs and int(epochs) < own_epochs(run):
        yield f"{epochs} ep."
    if run.rows:
        yield f"{run.n} rows"
    if negatives := run.settings.get("negatives"):
        yield f"{negatives} neg."
    if run.settings.get("ratio") == "1":
        yield "1:1"


def own_epochs(run: Summary) -> int:
    """Return how many epochs a method takes on a dataset by its own recipe."""
    (entry,) = (one for one in METHODS if one.few_shot and one.method == run.method)
    known = {one.name: one.recipes for one in vars(entry.module()).values() if isinstance(one, Method)}
    recipes = known.get(run.method) or known[entry.script]
    return recipes.of(run.dataset, {}).epochs if recipes else 0


if __name__ == "__main__":
    run_main(main)
