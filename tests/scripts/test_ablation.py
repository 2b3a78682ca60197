from __future__ import annotations

import json
from pathlib import Path

import pytest

import nsp_bert_classification as classification
import nsp_bert_cloze_style as cloze
import nsp_bert_coreference_resolution as coreference


def settings(folder: Path) -> dict[str, dict]:
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["settings"]
        for path in folder.glob("*/*.test_public.json")
    }


def test_the_grid_of_each_script(checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = ["--model", str(checkpoint_dir), "--limit", "4", "--ablate", "--output"]
    assert classification.main([*model, str(tmp_path / "a"), "--dataset", "eprstmt"]) == 0
    assert cloze.main([*model, str(tmp_path / "b")]) == 0
    assert coreference.main([*model, str(tmp_path / "c")]) == 0
    found = settings(tmp_path / "a")
    texts = {(one["template"], one["prompt_position"]) for one in found.values()}
    assert len(found) == len(texts) == 6
    assert {(one["positions"], one["prompt_position"]) for one in settings(tmp_path / "b").values()} == {
        (positions, place) for positions in ("hard", "soft") for place in ("prefix", "suffix")
    }
    assert len(settings(tmp_path / "c")) == 8
    assert "prompt_position-suffix.template-2.stages-1" in settings(tmp_path / "c")
    assert capfd.readouterr().out.count("first 4 of ") == 6 + 4 + 8


def test_a_given_option_stays(checkpoint_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", str(checkpoint_dir), "--limit", "2", "--ablate", "--dataset", "tnews"]
    assert classification.main([*arguments, "--template", "1", "--output", str(tmp_path)]) == 0
    assert {one["template"] for one in settings(tmp_path).values()} == {"{}"}
    table = capfd.readouterr().out.split("random on")[1]
    assert table.count("TNEWS") == 2
    assert "position" in table
    assert "template" not in table
