from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import random_checkpoint
from conftest import ROOT, SAMPLE

from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.environment import import_tensorflow
from nsp_bert.pretraining.texts import prepare_vocabulary
from nsp_bert.scoring.scorer import EncodedPair, Scorer
from nsp_bert.training.optimization import Schedule
from nsp_bert_pretraining import main

TINY = ["--layers", "1", "--hidden", "32", "--heads", "2", "--vocab-size", "900", "--max-position", "64"]
SHORT = ["--lengths", "32:0.5,64:0.5", "--batch-tokens", "512", "--warmup-steps", "4", "--held-out", "0.1"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 106 documents, from the sample's own sentences."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    rows = [json.loads(line) for line in (SAMPLE / "csldcp" / "test_public.json").open(encoding="utf-8")]
    rows += [json.loads(line) for line in (SAMPLE / "eprstmt" / "test_public.json").open(encoding="utf-8")]
    path.write_text("\n\n".join(row.get("content") or row["sentence"] for row in rows) + "\n", encoding="utf-8")
    return path


def arguments(text: Path, output: Path, *more: str) -> list[str]:
    return ["--text", str(text), "--output", str(output), *TINY, *SHORT, *more]


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    reader = import_tensorflow().train.load_checkpoint(str(folder / "bert_model.ckpt"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.fixture(scope="module")
def uninterrupted(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert main(arguments(text, output, "--max-steps", "40", "--save-every", "4", "--evaluate-every", "10")) == 0
    return output


def test_a_run_leaves_checkpoint_and_curve(uninterrupted: Path) -> None:
    checkpoint = open_checkpoint(str(uninterrupted / "checkpoint"))
    assert checkpoint.heads == ("encoder", "pooler", "MLM", "NSP")
    with (uninterrupted / "curve.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["10", "20", "30", "40"]
    assert float(rows[-1]["train_mlm_loss"]) < float(rows[0]["train_mlm_loss"])
    assert "held_out_nsp_accuracy" in rows[-1]
    assert (uninterrupted / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_killed_run_resumes_to_the_same_weights(uninterrupted: Path, text: Path, tmp_path: Path) -> None:
    """SIGKILL after the first saved step, then the same command: bit-identical to the uninterrupted run."""
    run = arguments(text, tmp_path, "--max-steps", "40", "--save-every", "4", "--evaluate-every", "10")
    command = [sys.executable, "nsp_bert_pretraining.py", *run]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "state").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "checkpoint").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    step = int(done.stdout.split("step ")[1].split()[0])
    assert 0 < step < 40
    whole, resumed = (read_weights(folder / "checkpoint") for folder in (uninterrupted, tmp_path))
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


def test_other_settings_do_not_resume(uninterrupted: Path, text: Path, expect_error: Callable[..., str]) -> None:
    line = expect_error(main, *arguments(text, uninterrupted, "--max-steps", "44", "--seed", "2"))
    assert "seed: '1' -> '2'" in line


@pytest.mark.usefixtures("eager_training")
def test_max_minutes_stops_and_the_same_command_goes_on(text: Path, tmp_path: Path) -> None:
    run = arguments(text, tmp_path, "--max-steps", "6", "--max-minutes", "0.0001")
    assert main(run) == 0
    assert [row.split(",")[0] for row in (tmp_path / "curve.csv").read_text().split()[1:]] == ["1"]
    assert main(arguments(text, tmp_path, "--max-steps", "6")) == 0
    assert [row.split(",")[0] for row in (tmp_path / "curve.csv").read_text().split()[1:]] == ["1", "6"]


@pytest.mark.usefixtures("eager_training")
def test_continued_pretraining_starts_from_the_checkpoint(text: Path, tmp_path: Path) -> None:
    start = random_checkpoint.random_checkpoint(tmp_path / "start", hidden=16, layers=1)
    before = read_weights(start)
    run = ["--text", str(text), "--output", str(tmp_path / "out"), "--init-checkpoint", str(start), *SHORT]
    assert main([*run, "--max-steps", "1", "--learning-rate", "0", "--masking", "token"]) == 0
    after = read_weights(tmp_path / "out" / "checkpoint")
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)


def test_float16_moves_the_weights(text: Path, tmp_path: Path) -> None:
    start = random_checkpoint.random_checkpoint(tmp_path / "start", hidden=16, layers=1, vocab_size=900)
    run = ["--text", str(text), "--output", str(tmp_path / "out"), "--init-checkpoint", str(start), *SHORT]
    assert main([*run, "--lengths", "32:1", "--max-steps", "2", "--precision", "float16"]) == 0
    before, moved = read_weights(start), read_weights(tmp_path / "out" / "checkpoint")
    assert all(np.isfinite(value).all() for value in moved.values())
    name = "cls/seq_relationship/output_weights"
    assert np.abs(moved[name] - before[name]).max() > 0


@pytest.mark.usefixtures("eager_training")
def test_a_missing_nsp_head_starts_anew(text: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start = random_checkpoint.random_checkpoint(tmp_path / "wwm", hidden=16, layers=1, heads=("pooler", "MLM"))
    run = ["--text", str(text), "--output", str(tmp_path / "out"), "--init-checkpoint", str(start), *SHORT]
    assert main([*run, "--max-steps", "1", "--learning-rate", "0"]) == 0
    assert "starting from wwm, its missing NSP head drawn anew" in capfd.readouterr().out
    before, after = read_weights(start), read_weights(tmp_path / "out" / "checkpoint")
    assert set(after) - set(before) == {"cls/seq_relationship/output_weights", "cls/seq_relationship/output_bias"}
    assert all(np.array_equal(value, after[name]) for name, value in before.items())


def test_nsp_is_learned_where_it_can_be(tmp_path: Path) -> None:
    """Documents that each repeat a word of their own: a small model tells next from not next on held-out ones."""
    rng = np.random.default_rng(0)
    characters = [chr(code) for code in range(0x4E00, 0x4E00 + 12)]
    documents = []
    for _ in range(600):
        word = rng.choice(characters)
        documents.append("\n".join("".join(word * int(rng.integers(3, 6))) + "。" for _ in range(4)))
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(documents), encoding="utf-8")
    settings = ["--max-steps", "400", "--evaluate-every", "400", "--learning-rate", "3e-3", "--dropout", "0"]
    run = ["--text", str(text), "--output", str(tmp_path / "out"), *TINY, "--lengths", "16:1", "--batch-tokens", "1024"]
    assert main([*run, *settings, "--nsp-weight", "5", "--warmup-steps", "20", "--initializer-range", "0.1"]) == 0
    with (tmp_path / "out" / "curve.csv").open(encoding="utf-8") as stream:
        assert float(list(csv.DictReader(stream))[-1]["held_out_nsp_accuracy"]) > 0.9


def test_schedule_warms_up_stays_and_decays() -> None:
    schedule = Schedule(peak=2.0, warmup_steps=4, decay_steps=5, max_steps=20)
    rates = [schedule.learning_rate(step) for step in range(20)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4:16] == [2.0] * 12
    assert rates[16:] == pytest.approx([1.6, 1.2, 0.8, 0.4])


def test_mix_is_validated(text: Path, tmp_path: Path, expect_error: Callable[..., str]) -> None:
    mix = tmp_path / "mix.yaml"
    run = arguments(text, tmp_path / "out", "--mix", str(mix))
    mix.write_text("text.txt: {share: 1, color: red}\n", encoding="utf-8")
    assert "color" in expect_error(main, *run)
    mix.write_text("other.txt: {share: 1}\n", encoding="utf-8")
    assert "says nothing of text.txt" in expect_error(main, *run)
    assert "no such file" in expect_error(main, *arguments(tmp_path / "absent.txt", tmp_path / "out"))
    assert "beyond the 64 positions" in expect_error(main, *arguments(text, tmp_path / "out", "--lengths", "128:1"))


@pytest.mark.usefixtures("eager_training")
def test_a_single_document_trains_without_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("春天来了，花开了，鸟也叫。\n出门去，看风景。\n", encoding="utf-8")
    assert main(arguments(path, tmp_path / "out", "--max-steps", "2")) == 0
    assert "held_out" not in (tmp_path / "out" / "curve.csv").read_text(encoding="utf-8")


def test_hugging_face_scores_the_checkpoint_alike(uninterrupted: Path) -> None:
    """Optional peer: the exported checkpoint in Hugging Face's own TensorFlow-free model."""
    torch = pytest.importorskip("torch", reason="torch is not installed: the peer check is optional")
    pytest.importorskip("transformers", reason="transformers is not installed: the peer check is optional")
    from hugging_face_models import hugging_face_model

    folder = uninterrupted / "checkpoint"
    config = json.loads((folder / "bert_config.json").read_text(encoding="utf-8"))
    model = hugging_face_model(config, read_weights(folder))
    token_ids = [2, *range(10, 30), 3, *range(40, 50), 3]
    ours = Scorer(open_checkpoint(str(folder))).score([EncodedPair(token_ids, 22)], 1).values[0]
    with torch.no_grad():
        segments = torch.tensor([[0] * 22 + [1] * 11])
        logits = model(torch.tensor([token_ids]), token_type_ids=segments).logits[0]
    assert float(logits[0] - logits[1]) == pytest.approx(float(ours), abs=1e-4)


def copy_of_a_run(uninterrupted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(uninterrupted, tmp_path / "run")


@pytest.mark.usefixtures("eager_training")
def test_the_model_has_the_folder_s_name(uninterrupted: Path, text: Path, tmp_path: Path) -> None:
    assert open_checkpoint(str(uninterrupted)).name == "whole"
    assert open_checkpoint(str(uninterrupted)).folder == uninterrupted / "checkpoint"
    assert main(arguments(text, tmp_path / "out", "--max-steps", "1", "--name", "mine")) == 0
    assert open_checkpoint(str(tmp_path / "out" / "checkpoint")).name == "mine"


def test_changed_text_does_not_resume(
    uninterrupted: Path, text: Path, tmp_path: Path, expect_error: Callable[..., str]
) -> None:
    run = copy_of_a_run(uninterrupted, tmp_path)
    changed = tmp_path / "text.txt"
    changed.write_text(text.read_text(encoding="utf-8") + "\n新的一句，新的一天。\n", encoding="utf-8")
    line = expect_error(main, *arguments(changed, run, "--max-steps", "44"))
    assert "the run to resume had other settings (text.txt: " in line


def test_a_vocabulary_of_other_texts_is_learned_anew(text: Path, tmp_path: Path) -> None:
    own = tmp_path / "text.txt"
    own.write_text(text.read_text(encoding="utf-8"), encoding="utf-8")
    prepare_vocabulary([own], tmp_path, 900, 1)
    first = (tmp_path / "vocab.txt").read_text(encoding="utf-8")
    own.write_text("㐀㐁㐂，" * 3, encoding="utf-8")
    second = prepare_vocabulary([own], tmp_path, 900, 1).read_text(encoding="utf-8")
    assert "㐀" in second
    assert "㐀" not in first


@pytest.mark.parametrize("name", ["settings.json", "state.index", "state.data-00000-of-00001"])
@pytest.mark.parametrize("damage", [b"", b"{\x00", None])
def test_a_damaged_state_is_named(
    uninterrupted: Path, text: Path, tmp_path: Path, expect_error: Callable[..., str], name: str, damage: bytes | None
) -> None:
    run = copy_of_a_run(uninterrupted, tmp_path)
    path = run / "state" / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    line = expect_error(main, *arguments(text, run, "--max-steps", "44"))
    assert "remove the folder to start anew" in line


@pytest.mark.usefixtures("eager_training")
def test_a_kill_between_two_renames_loses_no_step(uninterrupted: Path, text: Path, tmp_path: Path, capfd) -> None:
    run = copy_of_a_run(uninterrupted, tmp_path)
    (run / "state").rename(run / "state.old")
    assert main(arguments(text, run, "--max-steps", "44", "--save-every", "4", "--evaluate-every", "10")) == 0
    assert "step 40 of 44" in capfd.readouterr().out


@pytest.mark.usefixtures("eager_training")
def test_a_damaged_cache_is_made_again(uninterrupted: Path, text: Path, tmp_path: Path, capfd) -> None:
    run = copy_of_a_run(uninterrupted, tmp_path)
    shutil.rmtree(run / "state")
    cache = next((run / "cache").glob("*.npz"))
    cache.write_bytes(cache.read_bytes()[:500])
    assert main(arguments(text, run, "--max-steps", "1")) == 0
    assert f"{cache.name}: damaged; text.txt is indexed again" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--dropout", "2"),
        ("--dropout", "nan"),
        ("--seed", "-1"),
        ("--seed", "1e3"),
        ("--held-out", "1"),
        ("--learning-rate", "nan"),
        ("--learning-rate", "-1"),
        ("--same-source", "1.1"),
        ("--keyword-share", "inf"),
        ("--warmup-steps", "-4"),
        ("--vocab-size", "0"),
        ("--max-steps", "9" * 30),
    ],
)
def test_options_out_of_range_are_refused(
    text: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments(text, tmp_path, f"{option}={value}"))
    assert stopped.value.code == 2
    assert f"argument {option}: " in capfd.readouterr().err


@pytest.mark.parametrize("share", ["0", "-1", ".nan", ".inf", "yes"])
def test_shares_of_nothing_are_refused(
    text: Path, tmp_path: Path, expect_error: Callable[..., str], share: str
) -> None:
    (tmp_path / "mix.yaml").write_text(f"text.txt: {{share: {share}}}\n", encoding="utf-8")
    line = expect_error(main, *arguments(text, tmp_path / "out", "--mix", str(tmp_path / "mix.yaml")))
    assert "mix.yaml: share" in line


def test_a_frame_needs_a_place_for_the_word(text: Path, tmp_path: Path, expect_error: Callable[..., str]) -> None:
    (tmp_path / "frames.txt").write_text("关于{}\n没有\n", encoding="utf-8")
    line = expect_error(main, *arguments(text, tmp_path / "out", "--keyword-frames", str(tmp_path / "frames.txt")))
    assert "frames.txt:2: '没有' needs one {} where the word goes" in line
