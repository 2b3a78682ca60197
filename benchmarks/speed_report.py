"""What speed.py says of its measurements: figures per engine, the machine, the table."""

from __future__ import annotations

import _root  # noqa: F401

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from nsp_bert.results.tables import print_groups

BASELINES = ("naive", "hf-float32", "hf-bfloat16")
REFERENCE = "tensorflow-float32"
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
WIDTH = 150  # columns of the table where nobody looks


def summarise(
    facts: dict[str, Any], answers: list[dict[str, Any]], pairs: int, tokens: int, work: float, peak: float
) -> dict[str, Any]:
    """Return what an engine's answers say, the first being the warm-up's, `facts` those from when it had loaded.

    `work` is the flops of all pairs, `peak` flops a second of the machine.
    """
    warm_up, *rounds = answers
    seconds = [answer["seconds"] for answer in rounds]
    median = float(np.median(seconds))
    return {
        "seconds": seconds,
        "warm_up_seconds": warm_up["seconds"],
        "pairs_per_second": pairs / median,
        "lowest_highest": [pairs / max(seconds), pairs / min(seconds)],
        "tokens_per_second": tokens / median,
        "share_of_peak": work / median / peak,
        "peak_rss_mib": rounds[-1]["peak_rss_mib"],
        "load_seconds": facts["load_seconds"],
        "first_score_seconds": warm_up["first_score_seconds"],
        "threads": facts["threads"],
        "versions": facts["versions"],
    }


def compare(engines: dict[str, dict[str, Any]], arrays: dict[str, dict[str, np.ndarray]]) -> None:
    """Add to each engine how many times as fast as the baselines it is, and how near to the reference its scores."""
    for name, figures in engines.items():
        there = [baseline for baseline in BASELINES if baseline in engines]
        figures["times"] = {
            baseline: figures["pairs_per_second"] / engines[baseline]["pairs_per_second"] for baseline in there
        }
        if REFERENCE in engines:
            own, exact = arrays[name], arrays[REFERENCE]
            figures["agreement"] = float((own["predictions"] == exact["predictions"]).mean())
            figures["largest_difference"] = float(np.abs(own["log_odds"] - exact["log_odds"]).max())
            figures["log_odds_deviation"] = float(own["log_odds"].std())
            figures["share_again"] = float(own.get("again", 0))


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides the code."""
    path = Path("/proc/cpuinfo")
    lines = [line.partition(":") for line in (path.read_text() if path.is_file() else "").splitlines()]
    facts = {key.strip(): value.strip() for key, _, value in lines}
    flags = facts.get("flags", "").split()
    return {
        "system": platform.platform(),
        "cpu": facts.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "load_average": os.getloadavg()[0],
    }


def wide_console() -> Console:
    """Return a console with room for a wide table where standard output is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def print_table(report: dict[str, Any]) -> None:
    """Print a row per engine, those that were skipped with the reason."""
    headers = ["engine", "threads", "pairs/s", "low–high", "tokens/s", *(f"x {name}" for name in BASELINES)]
    headers += ["of peak", "MiB", "first s", "equal", "max diff", "again"]
    console = wide_console()
    print_groups(headers, [[cells(name, figures) for name, figures in report["engines"].items()]], console)
    lines = [f"{name}: skipped, {reason}" for name, reason in report["skipped"].items()]
    peaks = ", ".join(f"{name} {1e-9 * peak:.0f}" for name, peak in report["peak_flops_per_second"].items())
    lines.append(f"peak in GFLOP/s: {peaks}; a token takes {1e-6 * report['flops'] / report['tokens']:.1f} MFLOP")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def cells(name: str, figures: dict[str, Any]) -> list[str]:
    """Return an engine's row of the table."""
    low, high = figures["lowest_highest"]
    texts = [name, figures["threads"], f"{figures['pairs_per_second']:.1f}", f"{low:.1f}–{high:.1f}"]
    texts.append(f"{figures['tokens_per_second']:.0f}")
    texts += [f"{figures['times'][baseline]:.2f}" if baseline in figures["times"] else "" for baseline in BASELINES]
    texts += [f"{100 * figures['share_of_peak']:.0f} %", f"{figures['peak_rss_mib']:.0f}"]
    texts.append(f"{figures['first_score_seconds']:.1f}")
    if "agreement" in figures:
        texts += [f"{100 * figures['agreement']:.1f} %", f"{figures['largest_difference']:.1e}"]
        return [*texts, f"{100 * figures['share_again']:.1f} %" if figures["share_again"] else ""]
    return [*texts, "", "", ""]
