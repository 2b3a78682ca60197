from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import convert
import numpy as np
import pytest
import random_checkpoint

from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.checkpoints.tensors import read_tensors
from nsp_bert.scoring.scorer import EncodedPair, Scorer

safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed: conversion is optional")

# Written down by hand from both projects, for one layer: Google -> Hugging Face, UER-py (old), UER-py (new).
NAMES = """
bert/embeddings/word_embeddings bert.embeddings.word_embeddings.weight embedding.word_embedding.weight embedding.word.embedding.weight
bert/embeddings/position_embeddings bert.embeddings.position_embeddings.weight embedding.position_embedding.weight embedding.pos.embedding.weight
bert/embeddings/token_type_embeddings bert.embeddings.token_type_embeddings.weight embedding.segment_embedding.weight embedding.seg.embedding.weight
bert/embeddings/LayerNorm/gamma bert.embeddings.LayerNorm.weight embedding.layer_norm.gamma embedding.layer_norm.gamma
bert/embeddings/LayerNorm/beta bert.embeddings.LayerNorm.bias embedding.layer_norm.beta embedding.layer_norm.beta
bert/encoder/layer_0/attention/self/query/kernel bert.encoder.layer.0.attention.self.query.weight encoder.transformer.0.self_attn.linear_layers.0.weight =
bert/encoder/layer_0/attention/self/query/bias bert.encoder.layer.0.attention.self.query.bias encoder.transformer.0.self_attn.linear_layers.0.bias =
bert/encoder/layer_0/attention/self/key/kernel bert.encoder.layer.0.attention.self.key.weight encoder.transformer.0.self_attn.linear_layers.1.weight =
bert/encoder/layer_0/attention/self/key/bias bert.encoder.layer.0.attention.self.key.bias encoder.transformer.0.self_attn.linear_layers.1.bias =
bert/encoder/layer_0/attention/self/value/kernel bert.encoder.layer.0.attention.self.value.weight encoder.transformer.0.self_attn.linear_layers.2.weight =
bert/encoder/layer_0/attention/self/value/bias bert.encoder.layer.0.attention.self.value.bias encoder.transformer.0.self_attn.linear_layers.2.bias =
bert/encoder/layer_0/attention/output/dense/kernel bert.encoder.layer.0.attention.output.dense.weight encoder.transformer.0.self_attn.final_linear.weight =
bert/encoder/layer_0/attention/output/dense/bias bert.encoder.layer.0.attention.output.dense.bias encoder.transformer.0.self_attn.final_linear.bias =
bert/encoder/layer_0/attention/output/LayerNorm/gamma bert.encoder.layer.0.attention.output.LayerNorm.weight encoder.transformer.0.layer_norm_1.gamma =
bert/encoder/layer_0/attention/output/LayerNorm/beta bert.encoder.layer.0.attention.output.LayerNorm.bias encoder.transformer.0.layer_norm_1.beta =
bert/encoder/layer_0/intermediate/dense/kernel bert.encoder.layer.0.intermediate.dense.weight encoder.transformer.0.feed_forward.linear_1.weight =
bert/encoder/layer_0/intermediate/dense/bias bert.encoder.layer.0.intermediate.dense.bias encoder.transformer.0.feed_forward.linear_1.bias =
bert/encoder/layer_0/output/dense/kernel bert.encoder.layer.0.output.dense.weight encoder.transformer.0.feed_forward.linear_2.weight =
bert/encoder/layer_0/output/dense/bias bert.encoder.layer.0.output.dense.bias encoder.transformer.0.feed_forward.linear_2.bias =
bert/encoder/layer_0/output/LayerNorm/gamma bert.encoder.layer.0.output.LayerNorm.weight encoder.transformer.0.layer_norm_2.gamma =
bert/encoder/layer_0/output/LayerNorm/beta bert.encoder.layer.0.output.LayerNorm.bias encoder.transformer.0.layer_norm_2.beta =
bert/pooler/dense/kernel bert.pooler.dense.weight target.nsp_linear_1.weight target.sp_linear_1.weight
bert/pooler/dense/bias bert.pooler.dense.bias target.nsp_linear_1.bias target.sp_linear_1.bias
cls/predictions/transform/dense/kernel cls.predictions.transform.dense.weight target.mlm_linear_1.weight target.mlm.linear_1.weight
cls/predictions/transform/dense/bias cls.predictions.transform.dense.bias target.mlm_linear_1.bias target.mlm.linear_1.bias
cls/predictions/transform/LayerNorm/gamma cls.predictions.transform.LayerNorm.weight target.layer_norm.gamma target.mlm.layer_norm.gamma
cls/predictions/transform/LayerNorm/beta cls.predictions.transform.LayerNorm.bias target.layer_norm.beta target.mlm.layer_norm.beta
cls/predictions/output_bias cls.predictions.bias target.mlm_linear_2.bias target.mlm.linear_2.bias
cls/seq_relationship/output_weights cls.seq_relationship.weight target.nsp_linear_2.weight target.sp_linear_2.weight
cls/seq_relationship/output_bias cls.seq_relationship.bias target.nsp_linear_2.bias target.sp_linear_2.bias
output_weights classifier.weight
output_bias classifier.bias
"""  # noqa: E501
TABLE = [line.split() for line in NAMES.strip().splitlines()]
CONFIG = random_checkpoint.config(layers=2, hidden=64, vocab_size=400) | {"num_attention_heads": 1}
HUGGING_FACE, UER_OLD, UER_NEW = 1, 2, 3


def named(tensors: dict[str, np.ndarray], column: int) -> dict[str, np.ndarray]:
    """Rename Google's tensors by the table; PyTorch keeps dense kernels transposed."""
    renamed = {}
    for google, tensor in tensors.items():
        found = re.search(r"layer_(\d+)", google)
        row = next(row for row in TABLE if row[0] == re.sub(r"layer_\d+", "layer_0", google))
        name = row[2] if row[column] == "=" else row[column]
        if found:
            name = re.sub(r"(layer|transformer)\.0\.", rf"\1.{found[1]}.", name, count=1)
        value = tensor.T if google.endswith("kernel") else tensor
        if column != HUGGING_FACE and "token_type" in google:
            value = np.concatenate([np.full((1, value.shape[1]), 7, np.float32), value])  # UER's padding segment
        renamed[name] = np.ascontiguousarray(value)
    if column != HUGGING_FACE:
        renamed["target.mlm_linear_2.weight"] = tensors["bert/embeddings/word_embeddings"]
    return renamed


def write_source(folder: Path, state: dict[str, np.ndarray], **config: Any) -> Path:
    folder.mkdir(parents=True)
    safetensors.save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG | {"model_type": "bert"} | config), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(random_checkpoint.vocabulary()[:400]) + "\n", encoding="utf-8")
    return folder


def run(source: Path, target: Path, *more: str) -> None:
    assert convert.main([str(source), str(target), *more]) == 0


def test_hugging_face_there_and_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tensors = random_checkpoint.weights(CONFIG)
    state = named(tensors, HUGGING_FACE)
    extras = {
        "cls.predictions.decoder.weight": state["bert.embeddings.word_embeddings.weight"].copy(),
        "bert.embeddings.position_ids": np.arange(256)[None],
        "qa_outputs.weight": np.zeros((2, 64), np.float32),
    }
    run(write_source(tmp_path / "pt", state | extras), tmp_path / "tf")
    out = capfd.readouterr().out
    assert "left out: cls.predictions.decoder.weight (equal to bert.embeddings.word_embeddings.weight)" in out
    assert "left out: bert.embeddings.position_ids (a buffer, not a weight)" in out
    assert "left out: qa_outputs.weight (no part of a BERT" in out
    checkpoint = open_checkpoint(str(tmp_path / "tf"))
    assert checkpoint.heads == ("encoder", "pooler", "MLM", "NSP")
    found = read_tensors(checkpoint.prefix)
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
    run(tmp_path / "tf", tmp_path / "back")
    back = safetensors.load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize(("heads", "classes"), [(("pooler",), 1), (("pooler",), 5), (("pooler", "MLM", "NSP"), 3)])
def test_a_classifier_there_and_back(tmp_path: Path, heads: tuple[str, ...], classes: int) -> None:
    tensors = random_checkpoint.weights(CONFIG, heads=heads, classes=classes)
    state = named(tensors, HUGGING_FACE)
    assert state["classifier.weight"].shape == (classes, 64)
    run(write_source(tmp_path / "pt", state), tmp_path / "tf")
    checkpoint = open_checkpoint(str(tmp_path / "tf"), ("encoder", "pooler", "classifier"))
    assert checkpoint.heads == ("encoder", *heads, "classifier")
    found = read_tensors(checkpoint.prefix)
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
    run(tmp_path / "tf", tmp_path / "back")
    back = safetensors.load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[name], state[name]) for name in state)
    config = json.loads((tmp_path / "back" / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {str(number): f"LABEL_{number}" for number in range(classes)}


@pytest.mark.parametrize("change", ["old norms", "no prefix", "wrapped"])
def test_spellings_of_hugging_face(tmp_path: Path, change: str) -> None:
    tensors = random_checkpoint.weights(CONFIG)
    state = named(tensors, HUGGING_FACE)
    spell: dict[str, Callable[[str], str]] = {
        "old norms": lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ),
        "no prefix": lambda name: name.removeprefix("bert."),
        "wrapped": lambda name: f"module.{name}",
    }
    run(write_source(tmp_path / "pt", {spell[change](name): one for name, one in state.items()}), tmp_path / "tf")
    found = read_tensors(tmp_path / "tf" / "bert_model.ckpt")
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("column", [UER_OLD, UER_NEW])
def test_spellings_of_uer(tmp_path: Path, column: int) -> None:
    tensors = random_checkpoint.weights(CONFIG)
    source = write_source(tmp_path / "uer", named(tensors, column))
    file = source / "model.safetensors"
    run(file, tmp_path / "tf", "--vocab", str(source / "vocab.txt"))
    found = read_tensors(tmp_path / "tf" / "bert_model.ckpt")
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
    config = json.loads((tmp_path / "tf" / "bert_config.json").read_text(encoding="utf-8"))
    assert {key: config[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")} == {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
    }


def test_a_head_that_is_missing_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tensors = random_checkpoint.weights(CONFIG, heads=("MLM",))
    run(write_source(tmp_path / "pt", named(tensors, HUGGING_FACE)), tmp_path / "tf")
    out = capfd.readouterr().out
    assert "heads: encoder, MLM" in out
    assert "without an NSP head" in out


def test_without_segments(expect_error: Callable[..., str], tmp_path: Path) -> None:
    """Hugging Face's BERT always has segments: a causal language model does not become one."""
    tensors = random_checkpoint.weights(CONFIG | {"type_vocab_size": 0}, heads=("MLM",))
    state = named(tensors, HUGGING_FACE)
    run(write_source(tmp_path / "pt", state, type_vocab_size=0), tmp_path / "tf")
    checkpoint = open_checkpoint(str(tmp_path / "tf"), ("encoder", "MLM"), causal=True)
    assert read_tensors(checkpoint.prefix).keys() == tensors.keys()
    assert "a causal language model" in expect_error(convert.main, tmp_path / "tf", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    line = expect_error(convert.main, write_source(tmp_path / "whole", state), tmp_path / "out")
    assert "lack bert/embeddings/token_type_embeddings" in line


def test_what_cannot_be_converted(expect_error: Callable[..., str], tmp_path: Path) -> None:
    state = named(random_checkpoint.weights(CONFIG), HUGGING_FACE)
    lacking = {name: one for name, one in state.items() if "layer.1.output.dense" not in name}
    half = {name: one for name, one in state.items() if name != "cls.seq_relationship.bias"}
    headless = state | {"classifier.weight": np.zeros((3, 64), np.float32)}
    wide = headless | {"classifier.weight": np.zeros((3, 128), np.float32), "classifier.bias": np.zeros(3, np.float32)}
    narrow = state | {"bert.pooler.dense.weight": np.zeros((64, 32), np.float32)}
    cases = {
        "lack bert/encoder/layer_1/output/dense/kernel": write_source(tmp_path / "a", lacking),
        "lack cls/seq_relationship/output_bias": write_source(tmp_path / "b", half),
        "lack output_bias": write_source(tmp_path / "g", headless),
        "output_weights: the weights have the shape (3, 128)": write_source(tmp_path / "h", wide),
        "bert/pooler/dense/kernel: the weights have the shape (32, 64)": write_source(tmp_path / "c", narrow),
        "model_type is 'roberta', not a BERT": write_source(tmp_path / "d", state, model_type="roberta"),
        "intermediate/dense/bias: the weights have the shape": write_source(tmp_path / "e", state, intermediate_size=7),
        "no model.safetensors or pytorch_model.bin": tmp_path,
    }
    broken = write_source(tmp_path / "f", state) / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:5000])
    for reason, source in {**cases, "f/model.safetensors: cannot be read": tmp_path / "f"}.items():
        assert reason in expect_error(convert.main, source, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "out.unfinished").exists()
    (tmp_path / "a" / "vocab.txt").unlink()
    assert "give --vocab" in expect_error(convert.main, tmp_path / "a", tmp_path / "out")
    assert "is there already" in expect_error(convert.main, tmp_path / "b", tmp_path / "c")


def log_odds(folder: Path, pairs: list[EncodedPair]) -> np.ndarray:
    return Scorer(open_checkpoint(str(folder))).score(pairs, len(pairs)).values


def test_peer_scores_alike(tmp_path: Path) -> None:
    """Optional peer: a random BertForPreTraining, as safetensors, .bin and UER .bin, scores alike after conversion."""
    torch = pytest.importorskip("torch", reason="torch is not installed: the peer check is optional")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: the peer is optional")
    torch.manual_seed(0)
    config = {key: value for key, value in CONFIG.items() if key != "initializer_range"}
    model = transformers.BertForPreTraining(transformers.BertConfig(**config, initializer_range=0.3)).eval()
    model.save_pretrained(tmp_path / "st", safe_serialization=True)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    (tmp_path / "bin").mkdir()
    torch.save(state, tmp_path / "bin" / "pytorch_model.bin")
    (tmp_path / "bin" / "config.json").write_bytes((tmp_path / "st" / "config.json").read_bytes())
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(random_checkpoint.vocabulary()[:400]) + "\n", encoding="utf-8")
    for name in ("st", "bin"):
        run(tmp_path / name, tmp_path / f"tf_{name}", "--vocab", str(vocab))
    google = read_tensors(tmp_path / "tf_st" / "bert_model.ckpt")
    for column in (UER_OLD, UER_NEW):
        file = tmp_path / f"uer{column}.bin"
        torch.save({name: torch.tensor(one) for name, one in named(google, column).items()}, file)
        run(file, tmp_path / f"tf_{column}", "--vocab", str(vocab))
    rng = np.random.default_rng(0)
    rows = [[2, *rng.integers(5, 400, 9).tolist(), 3, *rng.integers(5, 400, 14).tolist(), 3] for _ in range(20)]
    segments = [[0] * 11 + [1] * 15] * 20
    with torch.no_grad():
        logits = model(torch.tensor(rows), token_type_ids=torch.tensor(segments)).seq_relationship_logits.numpy()
    for name in ("st", "bin", UER_OLD, UER_NEW):
        found = log_odds(tmp_path / f"tf_{name}", [EncodedPair(row, 11) for row in rows])
        np.testing.assert_allclose(found, logits[:, 0] - logits[:, 1], atol=1e-4)
    run(tmp_path / "tf_bin", tmp_path / "back")
    back = transformers.BertForPreTraining.from_pretrained(tmp_path / "back").state_dict()
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_peer_s_classifier_gives_the_same_logits(tmp_path: Path) -> None:
    """Optional peer: a random BertForSequenceClassification, and what it loads of a converted one."""
    torch = pytest.importorskip("torch", reason="torch is not installed: the peer check is optional")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: the peer is optional")
    torch.manual_seed(0)
    config = {key: value for key, value in CONFIG.items() if key != "initializer_range"}
    config = transformers.BertConfig(**config, initializer_range=0.3, num_labels=5)
    model = transformers.BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path / "st", safe_serialization=True)
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(random_checkpoint.vocabulary()[:400]) + "\n", encoding="utf-8")
    run(tmp_path / "st", tmp_path / "tf", "--vocab", str(vocab))
    run(tmp_path / "tf", tmp_path / "back")
    back = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "back").eval()
    rows = np.random.default_rng(0).integers(5, 400, (20, 26))
    segments = torch.tensor([[0] * 11 + [1] * 15] * 20)
    with torch.no_grad():
        expected, again = (one(torch.tensor(rows), token_type_ids=segments).logits.numpy() for one in (model, back))
    np.testing.assert_array_equal(again, expected)
    scorer = Scorer(open_checkpoint(str(tmp_path / "tf"), ("encoder", "pooler", "classifier")), output="classes")
    found = scorer.score([EncodedPair(row, 11) for row in rows.tolist()], 20, width=5).values.reshape(-1, 5)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def with_tokenizer_json(folder: Path, **changes: Any) -> None:
    """Put a tokenizer.json in the place of vocab.txt, as Transformers 5 saves."""
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    model = {"type": "WordPiece", "vocab": {token: place for place, token in enumerate(tokens)}} | changes
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": model}), encoding="utf-8")
    (folder / "vocab.txt").unlink()


def hugging_face_folder(folder: Path) -> Path:
    return write_source(folder, named(random_checkpoint.weights(CONFIG), 1))


def test_a_vocabulary_in_tokenizer_json(tmp_path: Path, expect_error: Callable[..., str]) -> None:
    source = hugging_face_folder(tmp_path / "source")
    tokens = (source / "vocab.txt").read_text(encoding="utf-8")
    with_tokenizer_json(source)
    run(source, tmp_path / "tf")
    assert (tmp_path / "tf" / "vocab.txt").read_text(encoding="utf-8") == tokens
    for changes in ({"type": "BPE"}, {"vocab": {"a": 0, "b": 2}}, {"vocab": [["a", 0.1]]}):
        (source / "vocab.txt").write_text(tokens, encoding="utf-8")
        with_tokenizer_json(source, **changes)
        line = expect_error(convert.main, source, tmp_path / "out")
        assert "tokenizer.json: not the WordPiece tokenizer of a BERT; give --vocab FILE" in line


def test_a_hugging_face_folder_is_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Converted once, into the user's cache; again when a file of it has changed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = hugging_face_folder(tmp_path / "mine")
    run(source, tmp_path / "tf")
    capfd.readouterr()
    first = open_checkpoint(str(source))
    assert (first.name, first.heads) == ("mine", ("encoder", "pooler", "MLM", "NSP"))
    assert first.folder.parent == tmp_path / "cache" / "nsp_bert"
    assert "converting it once" in capfd.readouterr().out
    expected = read_tensors(tmp_path / "tf" / "bert_model.ckpt")
    for name, tensor in read_tensors(first.prefix).items():
        np.testing.assert_array_equal(tensor, expected[name])
    assert open_checkpoint(str(source)).folder == first.folder
    assert capfd.readouterr().out == ""
    safetensors.save_file(named(random_checkpoint.weights(CONFIG, seed=5), 1), source / "model.safetensors")
    assert open_checkpoint(str(source)).folder != first.folder


def test_a_layer_more_than_the_configuration_has(tmp_path: Path, expect_error: Callable[..., str]) -> None:
    source = hugging_face_folder(tmp_path / "source")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (source / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}), encoding="utf-8")
    line = expect_error(convert.main, source, tmp_path / "out")
    assert "the weights hold a layer more than the 1 of the configuration" in line
