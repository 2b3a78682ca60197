from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import random_checkpoint
from hypothesis import HealthCheck, settings

from nsp_bert.scoring.score_files import ScoreFile
from nsp_bert.scoring.scorer import Progress, Scores
from nsp_bert.terminal import run_main

settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "datasets" / "sample"


@pytest.fixture(scope="session")
def checkpoint_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint with both heads."""
    return random_checkpoint.random_checkpoint(tmp_path_factory.mktemp("models") / "random")


@pytest.fixture
def expect_error(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a script's main in place; assert exit status 2 and a single line without traceback; return the line."""

    def run(main: Callable, *arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            run_main(main, [str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert stopped.value.code == 2
        lines = [line for line in captured.err.splitlines() if line.strip()]
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert "Traceback" not in captured.err + captured.out
        return lines[0]

    return run


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A writable data folder with one small real-format file."""
    rows = [{"id": index, "sentence": f"第{index}件东西", "label": "Positive"} for index in range(3)]
    write_rows(tmp_path / "data" / "eprstmt" / "test_public.json", rows)
    return tmp_path / "data"


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def fewclue_dir() -> Path:
    """The real FewCLUE files, where the variable FEWCLUE_DIR names them."""
    folder = os.environ.get("FEWCLUE_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FEWCLUE_DIR does not name a folder with the real FewCLUE files")
    return Path(folder)


class RandomScorer:
    """Scores without a model, for tests about files and options."""

    complete = True
    timing = "no time at all"

    def __init__(self, *_arguments: object, **_options: object):
        pass

    def score(
        self,
        pairs: Iterable[object],
        total: int,
        journal: ScoreFile | None = None,
        *,
        progress: Progress = True,
        width: int = 1,
    ) -> Scores:
        """Return scores that depend on their number alone."""
        assert len(list(pairs)) == total
        scores = np.random.default_rng(total).normal(size=total * width).astype(np.float32)
        if journal:
            journal.add(np.arange(total * width), scores)
        return Scores(scores, self.complete, 1.0, total)


@pytest.fixture
def random_scores(monkeypatch: pytest.MonkeyPatch) -> type[RandomScorer]:
    """Let every script score without a model."""
    monkeypatch.setattr("nsp_bert.session.Scorer", RandomScorer)
    monkeypatch.setattr("nsp_bert.methods.scored.peak_memory", lambda: 1)  # one process makes many runs
    return RandomScorer


@contextlib.contextmanager
def without_graphs() -> Iterator[None]:
    """Let tiny models train without graphs, whose making takes longer than their few steps.

    tests/training has the steps as graphs, tests/test_readme.py whole runs.
    """
    from nsp_bert.environment import import_tensorflow

    config = import_tensorflow().config
    config.run_functions_eagerly(True)
    try:
        yield
    finally:
        config.run_functions_eagerly(False)


@pytest.fixture
def eager_training() -> Iterator[None]:
    """Run a test without graphs; what a module's fixture trains needs `without_graphs` itself."""
    with without_graphs():
        yield


Result = tuple[dict, list[dict]]
RunScript = Callable[..., Result]


@pytest.fixture
def run_script(checkpoint_dir: Path, tmp_path: Path) -> RunScript:
    """Run a task script's main on the sample and return (summary, rows) of one of its results."""

    def run(script: ModuleType, result: str, *options: str, split: str = "test_public", status: int = 0) -> Result:
        dataset = result.split("_")[0]
        arguments = ["--model", str(checkpoint_dir), "--dataset", dataset, "--split", split, "--output", str(tmp_path)]
        assert script.main([*arguments, "--overwrite", *options]) == status
        rows = [json.loads(line) for line in (tmp_path / f"{result}.{split}.jsonl").open(encoding="utf-8")]
        return json.loads((tmp_path / f"{result}.{split}.json").read_text(encoding="utf-8")), rows

    return run
