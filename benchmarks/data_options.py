"""The option that says where the benchmarks' rows come from."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add --data-dir."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="holds DATASET/SPLIT.json (default: as the scripts, else the sample)",
    )
