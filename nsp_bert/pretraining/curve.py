"""The course of a pre-training run: loss and accuracy of both heads, as CSV and as a picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from nsp_bert.files import replacing

METRICS = ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")


class Curve:
    """Loss and accuracy of both heads by step, kept as CSV and drawn as PNG."""

    def __init__(self, folder: Path, step: int):
        """Continue the curve in `folder` up to `step`: what a killed run wrote beyond its saved state is dropped."""
        self._path = folder / "curve.csv"
        self._rows: list[dict[str, Any]] = []
        if step and self._path.exists():
            with self._path.open(encoding="utf-8", newline="") as stream:
                self._rows = [row for row in csv.DictReader(stream) if int(row["step"]) <= step]

    def add(self, step: int, learning_rate: float, rate: float, training: dict, held_out: dict) -> None:
        """Append a row and write the file anew."""
        row = {"step": step, "learning_rate": f"{learning_rate:.3g}", "tokens_per_second": round(rate)}
        row |= {f"train_{key}": f"{value:.4f}" for key, value in training.items()}
        row |= {f"held_out_{key}": f"{value:.4f}" for key, value in held_out.items()}
        self._rows.append(row)
        with replacing(self._path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(row))
            writer.writeheader()
            writer.writerows(self._rows)

    def last_line(self) -> str:
        """Return the newest row for the terminal."""
        return "  ".join(f"{key} {value}" for key, value in self._rows[-1].items())

    def plot(self) -> None:
        """Draw `curve.png`, one panel a metric, training beside held-out text."""
        if not self._rows:
            return
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), sharex=True, layout="constrained")
        steps = [int(row["step"]) for row in self._rows]
        for axis, metric in zip(axes.flat, METRICS, strict=True):
            for side in ("train", "held_out"):
                if f"{side}_{metric}" in self._rows[-1]:
                    axis.plot(
                        steps, [float(row[f"{side}_{metric}"]) for row in self._rows], label=side.replace("_", " ")
                    )
            axis.set_title(metric.replace("_", " "))
            axis.grid(alpha=0.3)
        axes[0][0].legend()
        for axis in axes[1]:
            axis.set_xlabel("step")
        figure.savefig(self._path.with_suffix(".png"), dpi=120)
        pyplot.close(figure)
