"""--help of every script: it fits a terminal of 80 columns, and says what happens without each option."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT
from rich.cells import cell_len

FOLDERS = ("baselines", "datasets", "models", "benchmarks")
SOURCES = sorted([*ROOT.glob("nsp_bert_*.py"), *(path for name in FOLDERS for path in (ROOT / name).glob("*.py"))])
SCRIPTS = [path for path in SOURCES if re.search(r"_parser\(|ArgumentParser\(", path.read_text(encoding="utf-8"))]
STATED = re.compile(r" ?\(default: (.+)\)$")


class CaughtError(Exception):
    """Holds the parser of a script that was about to parse."""


def load(script: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a script, of which some have the same name, with its folder's own _root."""
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.delitem(sys.modules, "_root", raising=False)
    spec = importlib.util.spec_from_file_location(f"help_of_{script.parent.name}_{script.stem}", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers(one)


@pytest.fixture(params=SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The parser of a script."""

    def stop(parser: argparse.ArgumentParser, *_arguments: object) -> None:
        raise CaughtError(parser)

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.argv", [request.param.name])
    main = load(request.param, monkeypatch).main
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(CaughtError) as caught:
            main(*[[]] * len(inspect.signature(main).parameters))
    found = caught.value.args[0]
    assert isinstance(found, argparse.ArgumentParser)
    return found


def test_every_script_is_looked_at() -> None:
    names = {path.name for path in SCRIPTS}
    assert {"nsp_bert_pretraining.py", "nsp_bert_report.py", "download.py", "check.py", "speed.py"} <= names
    assert len(SCRIPTS) >= 16


def test_help_fits_and_states_every_default(parser: argparse.ArgumentParser) -> None:
    for one in parsers(parser):
        assert [line for line in one.format_help().splitlines() if cell_len(line) > 80] == []
        for action in one._actions:
            told = one._get_formatter()._expand_help(action) if action.help else ""
            stated = STATED.search(told)
            if action.required or action.nargs == 0:
                assert told or isinstance(action, argparse._SubParsersAction)
                continue
            assert stated, f"{action.option_strings or action.dest}: {told}"
            if isinstance(action.default, int | float):
                assert stated[1] == str(action.default)
            assert "default" not in STATED.sub("", told), told
