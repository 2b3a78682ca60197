r"""How many rows a second does PET take, beside a plain fill-mask loop of Hugging Face and beside NSP-BERT?

  python benchmarks/pet_speed.py --data-dir datasets/fewclue \
    --peer-python peer/bin/python

where peer is the environment that speed.py describes. All engines run in float32 on the same rows of TNEWS:

  pet               the way of baselines/pet.py: one sequence a row, the
                    vocabulary asked at the masks alone
  hf-fill-mask      text by text: BertTokenizer, BertForMaskedLM, the
                    log-probabilities of the words at the masks
  hf-fill-mask-32   the same in batches of 32 rows in file order, padded to
                    their longest
  nsp-bert          the way of nsp_bert_classification.py: a pair for every
                    label, 15 a row

Every engine is a process that loads once and warms up; then each round runs all of them in turn. The table: rows a
second (median of the rounds, lowest and highest), how many times as fast as the others, peak memory, and for those that
fill masks equal predictions and the largest difference of scores against pet. Let nothing else run meanwhile.
"""

from __future__ import annotations

import _root  # noqa: F401

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from data_options import add_data_dir
from generated import write_model
from pet_speed_workers import ENGINES
from speed_processes import RANDOM_SHAPES, Worker, add_model, add_peer_python, load_workers, run_rounds
from speed_report import machine, wide_console

from nsp_bert.cards import load_card
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.tensors import read_tensors
from nsp_bert.cli import new_parser, positive
from nsp_bert.errors import UserError
from nsp_bert.results.tables import print_groups
from nsp_bert.session import choose_data
from nsp_bert.terminal import run_main
from utils import load_examples

SCRIPT = "pet_speed_workers.py"
DATASET = "tnews"
REFERENCE = "pet"


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_model(parser)
    add_data_dir(parser)
    parser.add_argument("--rows", type=positive, default=100, metavar="N", help="of test_public")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="that are counted")
    add_peer_python(parser)
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace, folder: Path) -> tuple[Path, str]:
    """Write the job of all engines into a folder; return its file and a line about it."""
    heads = ("pooler", "MLM", "NSP")
    random = folder / f"random-{options.random}"
    checkpoint = open_checkpoint(options.model or str(write_model(random, *RANDOM_SHAPES[options.random], heads)))
    card = load_card(DATASET)
    data, cloze = choose_data(card, options.data_dir), card.methods.cloze
    texts = [example.content.text for example in load_examples(card, data.folder, card.split)[: options.rows]]
    tensors = {name: value for name, value in read_tensors(checkpoint.prefix).items() if "adam_" not in name}
    np.savez(folder / "arrays.npz", **tensors)
    job = {
        "model": str(checkpoint.folder),
        "config": str(checkpoint.folder / "bert_config.json"),
        "vocabulary": str(checkpoint.vocab_path),
        "arrays": str(folder / "arrays.npz"),
        "do_lower_case": checkpoint.do_lower_case,
        "texts": texts,
        "prompts": card.prompts(card.templates[-1]),
        "position": card.position,
        "max_length": card.max_length,
        "pattern": cloze.pattern,
        "words": list(card.word_set(cloze.words).values()),
    }
    (folder / "job.json").write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")
    sample = " (bundled sample)" if data.sample else ""
    return folder / "job.json", f"{card.title} {card.split}{sample}: {len(texts)} rows, {checkpoint.name}"


def rows_per_second(worker: Worker, rows: int) -> np.ndarray:
    """Return the figure of each round, the first being the warm-up's, which does not count."""
    return rows / np.array([answer["seconds"] for answer in worker.rounds[1:]])


def cells(name: str, workers: dict[str, Worker], arrays: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Return an engine's row of the table."""
    rows = len(arrays[name]["predictions"])
    own = rows_per_second(workers[name], rows)
    texts = [name, workers[name].facts["threads"], f"{np.median(own):.1f}", f"{own.min():.1f}–{own.max():.1f}"]
    others = [np.median(rows_per_second(worker, rows)) for worker in workers.values()]
    texts += [f"{np.median(own) / other:.2f}" for other in others]
    texts.append(f"{workers[name].rounds[-1]['peak_rss_mib']:.0f}")
    if REFERENCE not in arrays or "scores" not in arrays[name]:
        return [*texts, "", ""]
    equal = (arrays[name]["predictions"] == arrays[REFERENCE]["predictions"]).mean()
    difference = np.abs(arrays[name]["scores"] - arrays[REFERENCE]["scores"]).max()
    return [*texts, f"{100 * equal:.1f} %", f"{difference:.1e}"]


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    with tempfile.TemporaryDirectory() as folder:
        job, shown = prepare(options, Path(folder))
        facts = machine()
        print(f"{shown}, {options.rounds} rounds")
        print(f"{facts['cpu']}, {facts['cores']} cores, {' '.join(facts['flags'])}; load {facts['load_average']:.1f}")
        workers, skipped = load_workers(SCRIPT, list(ENGINES), job, options.peer_python)
        reasons = [f"{name}: skipped, {reason}" for name, reason in skipped.items()]
        if not workers:
            raise UserError("; ".join(reasons))
        *_, arrays = run_rounds(workers, options.rounds)
        for worker in workers.values():
            worker.close()
    times = [f"x {name}" for name in workers]
    headers = ["engine", "threads", "rows/s", "low–high", *times, "MiB", "equal", "max diff"]
    print_groups(headers, [[cells(name, workers, arrays) for name in workers]], wide_console())
    for reason in reasons:
        print(reason)
    return 0


if __name__ == "__main__":
    run_main(main)
