"""What a checkpoint holds, and whether its NSP and MLM heads work: `python models/check.py NAME_OR_DIR`."""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

import numpy as np
from rich.console import Console

from nsp_bert.checkpoints.checkpoint import Checkpoint, open_checkpoint, read_shapes
from nsp_bert.checkpoints.shapes import HEADS, count_classes, google_shapes
from nsp_bert.cli import new_parser
from nsp_bert.files import digest
from nsp_bert.methods.health import Health, Masks, check_health, check_masks, health_documents
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.terminal import new_table, plain_console, run_main


def describe(checkpoint: Checkpoint, console: Console) -> None:
    """Print shape, parameters, heads with their variables, files with their checksums."""
    shapes, config = read_shapes(checkpoint.prefix), checkpoint.config
    classes = count_classes(shapes)
    own = google_shapes(config, classes)
    parameters = sum(int(np.prod(shape)) for name, shape in shapes.items() if name in own)
    console.print(
        f"{checkpoint.name}: {config['num_hidden_layers']} layers x {config['hidden_size']},"
        f" {config['num_attention_heads']} heads, {config['max_position_embeddings']} positions,"
        f" {config['vocab_size']} tokens, {parameters / 1e6:.1f} M parameters",
        highlight=False,
        soft_wrap=True,
    )
    table = new_table(("part", "there", "told by"), texts=3)
    for head, variable in HEADS.items():
        there = f"yes, classes: {classes}" if head == "classifier" else "yes"
        table.add_row(head, there if head in checkpoint.heads else "no", variable)
    console.print(table)
    files = [checkpoint.folder / "bert_config.json", checkpoint.vocab_path]
    for path in [*files, *sorted(checkpoint.folder.glob(f"{checkpoint.prefix.name}.*"))]:
        console.print(f"{digest(path)}  {path.name}", highlight=False, soft_wrap=True)


def main(arguments: list[str] | None) -> int:
    """Describe a checkpoint and check its heads; status 0 when the NSP head works, 1 when it does not or is missing."""
    parser = new_parser(
        "Show what a checkpoint holds; check its NSP head on neighbours and strangers, its MLM head on masked tokens."
    )
    parser.add_argument("model", metavar="NAME_OR_DIR", help="a name in models/cards.yaml, or a checkpoint's folder")
    parser.add_argument("--language", help="of the health text: zh or en (default: the model card's, else zh)")
    options = parser.parse_args(arguments)
    checkpoint = open_checkpoint(options.model, needs=("encoder",), causal=True)
    console = plain_console()
    describe(checkpoint, console)
    if checkpoint.causal:
        console.print("causal language model: only baselines/gpt.py can use it; its heads are not checked")
        return 1
    documents = health_documents(options.language or checkpoint.language)
    if "MLM" in checkpoint.heads:
        print_masks(check_masks(checkpoint, Scorer(checkpoint, output="masked"), documents), console)
    else:
        console.print("MLM head is missing: methods that fill in masks cannot use this checkpoint", soft_wrap=True)
    if missing := [head for head in ("pooler", "NSP") if head not in checkpoint.heads]:
        console.print(f"NSP head is missing ({', '.join(missing)}): the task scripts cannot use this checkpoint")
        return 1
    health = check_health(checkpoint, Scorer(checkpoint), documents)
    print_health(health, console)
    return 0 if health.verdict.startswith("works") else 1


def print_masks(masks: Masks, console: Console) -> None:
    """Print the accuracy on masked tokens, chance and the verdict."""
    low, high = masks.accuracy.interval
    console.print(
        f"masked tokens found: {100 * masks.accuracy.value:.1f} % of {masks.accuracy.n}"
        f" [{100 * low:.1f}, {100 * high:.1f}], chance {100 * masks.chance:.1f} %"
    )
    console.print(f"MLM head {masks.verdict}", soft_wrap=True)


def print_health(health: Health, console: Console) -> None:
    """Print both accuracies, the margins' quartiles and the verdict."""
    for name, accuracy in (("neighbour above stranger", health.pairwise), ("cut at margin 0", health.at_zero)):
        low, high = accuracy.interval
        console.print(
            f"{name}: {100 * accuracy.value:.1f} % of {accuracy.n} [{100 * low:.1f}, {100 * high:.1f}]",
            highlight=False,
            markup=False,
        )
    for name, margins in (("neighbours", health.neighbours), ("strangers", health.strangers)):
        quartiles = ", ".join(f"{value:+.2f}" for value in np.percentile(margins, (0, 25, 50, 75, 100)))
        console.print(f"margins of {name} (least, quartiles, greatest): {quartiles}", highlight=False, soft_wrap=True)
    console.print(f"NSP head {health.verdict}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run_main(main)
