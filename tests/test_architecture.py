"""The house: imports run one way, no engine file knows a dataset or a model, files stay short."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

from nsp_bert.cards import load_cards
from nsp_bert.checkpoints.model_cards import DEFAULT_MODEL, load_model_cards
from nsp_bert.results.fingerprint import imported_files

# Each floor may import from itself and from those before it. A name with a slash is a room, whose files may import
# each other; the rest are files.
FLOORS = (
    ("errors", "environment", "files", "terminal", "start"),
    ("prompts", "patterns", "method_prompts", "cards", "rows", "own_input"),
    ("checkpoints/",),
    ("tokenization", "contents", "encoding", "pattern_encoding", "knowledge_base", "answer_mapping", "tasks"),
    ("scoring/", "training/"),
    ("pretraining/",),
    ("results/",),
    ("report/",),
    ("options",),
    ("session",),
    ("methods/",),
    ("cli", "method_options"),
    ("runner", "zero_shot", "own_texts"),
    ("utils",),
    ("scripts",),
)
STRANGERS = (
    ("scoring/", "pretraining/"),
    ("report/", "session"),
    ("scoring/", "training/"),
)  # neither imports the other
LONGEST = 400
PACKAGE = ROOT / "nsp_bert"
SCRIPTS = sorted([*ROOT.glob("nsp_bert_*.py"), *ROOT.glob("baselines/*.py")])
PUBLIC_API = PACKAGE / "__init__.py"  # names zero_shot for users, on demand
SOURCES = [*(path for path in sorted(PACKAGE.rglob("*.py")) if path != PUBLIC_API), ROOT / "utils.py", *SCRIPTS]
GRAPH = {path: imported_files(path) - {PUBLIC_API} for path in SOURCES}


def room(path: Path) -> str:
    """Return the room or file of FLOORS that a source belongs to."""
    if path in SCRIPTS:
        return "scripts"
    if path == ROOT / "utils.py":
        return "utils"
    first = path.relative_to(PACKAGE).parts[0]
    return path.stem if first == path.name else f"{first}/"


def floor(path: Path) -> int:
    return next(number for number, names in enumerate(FLOORS) if room(path) in names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_never_climb(path: Path) -> None:
    climbing = [f"{room(path)} imports {room(other)}" for other in GRAPH[path] if floor(other) > floor(path)]
    assert climbing == []
    for one, other in STRANGERS:
        assert not (room(path) == one and other in map(room, GRAPH[path]))
        assert not (room(path) == other and one in map(room, GRAPH[path]))


def test_there_is_no_circle() -> None:
    tuple(TopologicalSorter(GRAPH).static_order())  # raises CycleError


def test_only_scripts_import_utils() -> None:
    utils = ROOT / "utils.py"
    assert [path for path in SOURCES if utils in GRAPH[path] and path not in SCRIPTS] == []
    assert any(utils in GRAPH[path] for path in SCRIPTS)


def test_engine_files_name_no_dataset_and_no_model() -> None:
    """But for the default model, and the nine datasets of the paper's tables in their order."""
    names = {card.name for card in load_cards()} | set(load_model_cards()) - {DEFAULT_MODEL}
    allowed = {PACKAGE / "results" / "benchmark_tables.py"}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named = {name for name in names if f'"{name}"' in text}
        assert not named or path in allowed, f"{path}: {named}"


def test_package_files_are_empty() -> None:
    assert [path for path in PACKAGE.rglob("*/__init__.py") if path.read_text(encoding="utf-8")] == []


def test_files_are_short() -> None:
    sources = [
        path
        for folder in ("nsp_bert", "models", "datasets", "benchmarks", "tests", "baselines", "docs")
        for path in (ROOT / folder).rglob("*.py")
    ]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in [*sources, *ROOT.glob("*.py")]}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}
