from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import random_checkpoint

from nsp_bert.checkpoints.checkpoint import examples, load_model_cards, open_checkpoint
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.errors import UserError
from nsp_bert.scoring.scorer import EncodedPair, Scorer


@pytest.fixture
def copy(checkpoint_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint_dir, tmp_path / "copy"))


def test_heads_and_files(checkpoint_dir: Path) -> None:
    checkpoint = open_checkpoint(str(checkpoint_dir))
    assert checkpoint.heads == ("encoder", "pooler", "MLM", "NSP")
    assert checkpoint.max_position == 256
    assert checkpoint.name == "random"


def test_a_checkpoint_without_nsp_is_refused_with_the_heads_it_has(tmp_path: Path) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "wwm", heads=("pooler", "MLM"), hidden=16)
    with pytest.raises(UserError, match=r"no NSP head .*encoder, pooler, MLM.*nsp_bert_mini"):
        open_checkpoint(str(folder))


def test_a_classifier_is_a_head(tmp_path: Path) -> None:
    needs = ("encoder", "pooler", "classifier")
    folder = random_checkpoint.random_checkpoint(tmp_path / "trained", heads=("pooler",), classes=3, hidden=16)
    assert open_checkpoint(str(folder), needs).heads == needs
    bare = random_checkpoint.random_checkpoint(tmp_path / "bare", heads=("pooler", "NSP"), hidden=16)
    with pytest.raises(UserError, match=r"no classifier head \(it has: encoder, pooler, NSP\); take .* has one$"):
        open_checkpoint(str(bare), needs)
    with pytest.raises(UserError, match=r"nsp_bert_mini: no classifier head"):
        open_checkpoint("nsp_bert_mini", needs)


def test_a_classifier_disturbs_nobody(checkpoint_dir: Path, tmp_path: Path) -> None:
    """Whoever asks for other heads, and also where a card of pre-training has the folder's name."""
    folder = random_checkpoint.random_checkpoint(tmp_path / "both", classes=3)
    assert score(folder) == score(checkpoint_dir)
    settings = random_checkpoint.config(layers=4, hidden=256, vocab_size=400)
    tensors = random_checkpoint.weights(settings, classes=3)
    tokens = random_checkpoint.vocabulary()[:400]
    checkpoint = open_checkpoint(str(random_checkpoint.write(tmp_path / "nsp_bert_mini", tensors, settings, tokens)))
    assert checkpoint.known
    assert checkpoint.heads == ("encoder", "pooler", "MLM", "NSP", "classifier")


@pytest.mark.parametrize("left", ["output_weights", "output_bias"])
def test_half_a_classifier_is_refused(tmp_path: Path, left: str) -> None:
    settings = random_checkpoint.config(hidden=16)
    tensors = random_checkpoint.weights(settings, classes=3)
    (lost,) = {"output_weights", "output_bias"} - {left}
    del tensors[lost]
    folder = random_checkpoint.write(tmp_path / "half", tensors, settings, random_checkpoint.vocabulary())
    with pytest.raises(UserError, match=rf"half: the weights lack {lost}; is the file whole"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("needs", "causal", "named"),
    [
        (("encoder", "pooler", "NSP"), False, "nsp_bert_mini, google-bert-zh, .*download.py --list"),
        (("encoder", "MLM"), False, "nsp_bert_mini, google-bert-zh, .*download.py --list"),
        (("encoder", "MLM"), True, "nezha-gen$"),
    ],
)
def test_a_refusal_names_models_that_would_do(tmp_path: Path, needs: tuple[str, ...], causal: bool, named: str) -> None:
    folder = random_checkpoint.random_checkpoint(tmp_path / "bare", heads=("pooler",), hidden=16)
    with pytest.raises(UserError, match=rf"no {needs[-1]} head .*one, e\.g\. {named}"):
        open_checkpoint(str(folder), needs, causal=causal)


def test_examples_have_all_heads_that_are_needed() -> None:
    cards = load_model_cards()
    for needs in (("encoder", "MLM"), ("encoder", "pooler", "NSP"), ("encoder", "pooler")):
        names = examples(needs, causal=False).split(" ")[2:-4]
        assert names
        for name in names:
            card = cards[name.rstrip(",")]
            assert set(needs) <= set(card.heads)
            assert not card.causal


@pytest.mark.parametrize("stated", [0, 2, None])
def test_a_checkpoint_without_segments_is_a_causal_one(tmp_path: Path, stated: int | None) -> None:
    """Whatever its configuration says of segments: FewCLUE takes RoBERTa's for NEZHA-Gen."""
    folder = random_checkpoint.random_checkpoint(tmp_path / "gpt", hidden=16, segments=0)
    edit_config(folder, type_vocab_size=stated)
    checkpoint = open_checkpoint(str(folder), ("encoder", "MLM"), causal=True)
    assert (checkpoint.causal, checkpoint.config["type_vocab_size"]) == (True, 0)
    for needs in (("encoder", "MLM"), ("encoder", "pooler", "NSP"), ("encoder",)):
        with pytest.raises(UserError, match=r"gpt: a causal language model, without segments.*e\.g\. nsp_bert_mini"):
            open_checkpoint(str(folder), needs)


def test_segments_that_the_configuration_does_not_know(copy: Path) -> None:
    edit_config(copy, type_vocab_size=0)
    with pytest.raises(UserError, match="type_vocab_size 0, the weights 2"):
        open_checkpoint(str(copy), causal=True)


def test_other_prefixes_and_crlf_vocabularies_load(tmp_path: Path) -> None:
    settings = random_checkpoint.config(hidden=16)
    tensors = random_checkpoint.weights(settings)
    folder = random_checkpoint.write(tmp_path, tensors, settings, random_checkpoint.vocabulary(), "model.ckpt-250000")
    vocab = folder / "vocab.txt"
    vocab.write_bytes(vocab.read_bytes().replace(b"\n", b"\r\n"))
    assert open_checkpoint(str(folder)).prefix.name == "model.ckpt-250000"
    assert load_vocabulary(vocab)["[CLS]"] == 2


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "bert_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: shutil.rmtree(folder), "no such checkpoint folder; known names: nsp_bert_mini"),
        (lambda folder: (folder / "bert_config.json").unlink(), "bert_config.json: cannot be read"),
        (lambda folder: (folder / "bert_config.json").write_text("{"), "bert_config.json: broken JSON"),
        (lambda folder: edit_config(folder, hidden_act=None), "bert_config.json: hidden_act: Field required"),
        (lambda folder: edit_config(folder, hidden_size=64), "hidden_size 64, the weights 32"),
        (lambda folder: edit_config(folder, num_hidden_layers=3), "num_hidden_layers 3, the weights 2"),
        (
            lambda folder: edit_config(folder, max_position_embeddings=512),
            "max_position_embeddings 512, the weights 256",
        ),
        (lambda folder: edit_config(folder, intermediate_size=7), "intermediate_size 7, the weights 128"),
        (lambda folder: edit_config(folder, vocab_size=99), "says vocab_size 99, the weights hold"),
        (lambda folder: (folder / "vocab.txt").unlink(), "vocab.txt: cannot be read"),
        (lambda folder: (folder / "vocab.txt").write_text("a\nb\n"), r"vocab.txt: no \[PAD\]"),
        (lambda folder: (folder / "vocab.txt").write_bytes("好".encode("gb18030")), "vocab.txt: not UTF-8"),
        (
            lambda folder: (folder / "vocab.txt").open("a").write("more\n" * 9),
            "vocab.txt has .* lines, bert_config.json",
        ),
        (lambda folder: (folder / "bert_model.ckpt.index").unlink(), r"one \*.ckpt.index is needed, found none"),
        (lambda folder: (folder / "bert_model.ckpt.index").write_text("junk"), "not a readable TensorFlow checkpoint"),
        (lambda folder: (folder / "bert_model.ckpt.data-00000-of-00001").unlink(), "the index alone holds no weights"),
    ],
)
def test_spoiled_checkpoints_are_named(copy: Path, spoil: Callable[[Path], object], reason: str) -> None:
    spoil(copy)
    with pytest.raises(UserError, match=reason):
        open_checkpoint(str(copy))


def test_truncated_weights_are_named(copy: Path) -> None:
    data = copy / "bert_model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"truncated, 100000 of at least \d+ bytes"):
        open_checkpoint(str(copy))


@pytest.mark.parametrize("name", ["bert_model.ckpt.data-00000-of-00001", "bert_model.ckpt.index", "vocab.txt"])
def test_a_git_lfs_pointer_is_named(copy: Path, name: str) -> None:
    (copy / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 411000000\n")
    with pytest.raises(UserError, match=rf"{name}: a Git LFS pointer of \d+ bytes"):
        open_checkpoint(str(copy))


def score(folder: Path) -> float:
    return float(Scorer(open_checkpoint(str(folder))).score([EncodedPair([2, 9, 3, 12, 14, 3], 3)], 1).values[0])


def test_what_the_field_has(copy: Path) -> None:
    """model.ckpt-NNN, no type_vocab_size, other names of GELU, a vocabulary with CRLF."""
    expected = score(copy)
    for path in copy.glob("bert_model.ckpt*"):
        path.rename(copy / path.name.replace("bert_model.ckpt", "model.ckpt-1000"))
    config = json.loads((copy / "bert_config.json").read_text(encoding="utf-8"))
    del config["type_vocab_size"]
    (copy / "bert_config.json").write_text(json.dumps(config | {"hidden_act": "gelu_python"}), encoding="utf-8")
    (copy / "vocab.txt").write_bytes((copy / "vocab.txt").read_bytes().replace(b"\n", b"\r\n"))
    assert score(copy) == expected
    edit_config(copy, hidden_act="gelu_new")
    assert score(copy) == pytest.approx(expected, abs=0.05)
    assert score(copy) != expected
    edit_config(copy, hidden_act="mish")
    with pytest.raises(UserError, match="hidden_act 'mish' is not known, only gelu"):
        score(copy)


def test_a_known_model_without_nsp_is_refused_before_it_is_fetched() -> None:
    with pytest.raises(UserError, match=r"hfl-rbt3: no NSP head \(it has: encoder.*nsp_bert_mini"):
        open_checkpoint("hfl-rbt3")


def test_a_known_causal_model_is_refused_before_it_is_fetched() -> None:
    with pytest.raises(UserError, match="nezha-gen: a causal language model"):
        open_checkpoint("nezha-gen", ("encoder", "MLM"))
    with pytest.raises(UserError, match=r"no such checkpoint folder; .*drive\.google\.com"):
        open_checkpoint("nezha-gen", ("encoder", "MLM"), causal=True)


def test_model_cards_are_valid() -> None:
    assert "nsp_bert_mini" in load_model_cards()
