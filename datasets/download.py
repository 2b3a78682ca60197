"""Get the real files of a benchmark, or check a copy that was fetched by hand.

  python datasets/download.py fewclue                     # all nine, 46 MB
  python datasets/download.py fewclue --only tnews,eprstmt
  python datasets/download.py duel                        # how to get it
  python datasets/download.py duel --check datasets/duel  # is it the paper's?

The FewCLUE files come from their public repository at a pinned commit, one by one; each is checked against its SHA-256
in datasets/fewclue_files.txt. What is there and right is not fetched again.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

import argparse
from pathlib import Path
from typing import Any

from nsp_bert.cards import DATASETS, EntityLinkingCard, load_card
from nsp_bert.checkpoints.download import fetch
from nsp_bert.cli import HelpFormatter, new_parser
from nsp_bert.errors import UserError
from nsp_bert.files import digest
from nsp_bert.knowledge_base import read_knowledge_base
from nsp_bert.terminal import new_table, plain_console, run_main
from nsp_bert_entity_linking import sort_mentions
from utils import load_entity_mentions, read_rows, split_path

COMMIT = "62a02c6f31cf32814cfe522f78ef088228840f8d"
FEWCLUE = f"https://raw.githubusercontent.com/CLUEbenchmark/FewCLUE/{COMMIT}/datasets"
DUEL = """DuEL 2.0 (CCKS 2020, entity linking) is Baidu's and cannot be downloaded without an account. Register at

  https://aistudio.baidu.com/aistudio/competition/detail/83

and put its kb.json and dev.json into datasets/duel. Then: python datasets/download.py duel --check datasets/duel"""
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # the SHA-256 of nothing: no need to fetch
PAPER = {"texts": "10,000", "entities": "about 390,000", "to link": "26,586", "to type": "6,465"}


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="fewclue|duel")
    manners: dict[str, Any] = {"formatter_class": HelpFormatter, "allow_abbrev": False}
    fewclue = benchmarks.add_parser("fewclue", help="download the datasets of FewCLUE", **manners)
    fewclue.add_argument(
        "--into",
        type=Path,
        default=DATASETS / "fewclue",
        metavar="DIR",
        help="folder for the files (default: datasets/fewclue)",
    )
    fewclue.add_argument(
        "--only", metavar="NAMES", help="of datasets, with commas between: tnews,eprstmt (default: all nine)"
    )
    fewclue.add_argument("--force", action="store_true", help="replace files that are there but differ")
    fewclue.add_argument(
        "--mirror",
        default=FEWCLUE,
        metavar="URL",
        help="holds DATASET/FILE (default: FewCLUE's repository on GitHub, at the pinned commit)",
    )
    duel = benchmarks.add_parser("duel", help="where to get DuEL 2.0; check a copy of it", **manners)
    duel.add_argument(
        "--check", type=Path, metavar="DIR", help="holds kb.json and dev.json (default: none, only say where they are)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    if options.benchmark == "fewclue":
        get_fewclue(options)
    elif options.check:
        check_duel(options.check)
    else:
        print(DUEL)
    return 0


def get_fewclue(options: argparse.Namespace) -> None:
    """Download what is missing. Raises UserError naming the files that differ, unless they are to be replaced."""
    differing = []
    for dataset, files in chosen(options.only).items():
        fetched = 0
        for path, sha256 in files.items():
            target = options.into / path
            if target.exists() and digest(target) == sha256:
                continue
            if target.exists() and not options.force:
                differing.append(path)
                continue
            if sha256 == EMPTY:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(b"")
            else:
                fetch(f"{options.mirror.rstrip('/')}/{path}", target, sha256)
            fetched += 1
        print(f"{dataset}: {len(files)} files, {fetched} of them downloaded")
    if differing:
        raise UserError(
            f"{options.into}: {', '.join(differing)} differ from the published files; --force replaces them"
        )


def chosen(only: str | None) -> dict[str, dict[str, str]]:
    """Return dataset -> path -> SHA-256 of the datasets in `only`. Raises UserError for an unknown one."""
    known: dict[str, dict[str, str]] = {}
    for line in (DATASETS / "fewclue_files.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            sha256, path = line.split()
            known.setdefault(path.split("/")[0], {})[path] = sha256
    names = only.split(",") if only else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"--only {only}: no {', '.join(unknown)} in FewCLUE; it has {', '.join(known)}")
    return {name: known[name] for name in names}


def check_duel(folder: Path) -> None:
    """Print the counts of a copy beside the paper's. Raises UserError naming file and line of what does not load."""
    card = card_of_files(load_card("duel"))
    for path in (folder / card.knowledge_base.path, folder / card.path.format(split=card.split)):
        if not path.is_file():
            raise UserError(f"{path}: no such file; python datasets/download.py duel tells where to get it")
    mentions = load_entity_mentions(card, folder, card.split)
    names = {mention.content.name for mention in mentions}
    base = read_knowledge_base(card, folder, names, {str(mention.label) for mention in mentions})
    kinds = sort_mentions(card, mentions, base)
    counts = {
        "texts": sum(1 for _ in read_rows(card, split_path(card, folder, card.split))),
        "entities": base.size,
        "mentions": len(mentions),
        "to link": len(kinds.linking),
        "to type": len(kinds.typing),
        "entity not under that name": len(kinds.elsewhere),
        "entity not in kb.json": len(kinds.unknown),
    }
    table = new_table(("number of", "this copy", "paper"))
    for name, count in counts.items():
        table.add_row(name, f"{count:,}", PAPER.get(name, ""))
    plain_console().print(table)
    print(f"{folder}: loads")


def card_of_files(card: EntityLinkingCard) -> EntityLinkingCard:
    """Return the card with both files directly in the data folder."""
    base = card.knowledge_base.model_copy(update={"path": Path(card.knowledge_base.path).name})
    return card.model_copy(update={"path": Path(card.path).name, "knowledge_base": base})


if __name__ == "__main__":
    run_main(main)
