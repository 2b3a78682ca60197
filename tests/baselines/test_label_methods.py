"""LM-BFF, ADAPET and TCBert's prompt on the sample: what runs leave, what predicts, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import adapet
import lm_bff
import numpy as np
import pytest
import tcbert
from conftest import SAMPLE

from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.tokenization import make_pair_encoder

pytestmark = pytest.mark.usefixtures("eager_training")


def run(script: ModuleType, checkpoint: Path, output: Path, dataset: str, *more: str) -> tuple[dict, list[dict]]:
    """Run a script on train_0 and return (summary, rows)."""
    common = ["--model", str(checkpoint), "--data-dir", str(SAMPLE), "--output", str(output), "--dataset", dataset]
    few = ["--limit", "5", "--train", "0", "--learning-rate", "3e-3", "--step-rows", "4"]
    assert script.main([*common, *few, *more]) == 0
    path = output / f"{dataset}.test_public.{script.__name__}.train_0.json"
    rows = path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads(path.read_text(encoding="utf-8")), [json.loads(row) for row in rows]


@pytest.mark.parametrize(
    ("script", "dataset", "more"),
    [
        (lm_bff, "eprstmt", ("--epochs", "3")),
        (lm_bff, "tnews", ("--epochs", "3", "--product")),
        (adapet, "cluewsc", ("--epochs", "6")),
        (adapet, "chid", ("--epochs", "1")),
        (tcbert, "tnews", ("--epochs", "3", "--prompt", "2")),
    ],
)
def test_a_run(checkpoint_dir: Path, tmp_path: Path, script: ModuleType, dataset: str, more: tuple[str, ...]) -> None:
    summary, rows = run(script, checkpoint_dir, tmp_path, dataset, *more)
    assert (summary["method"], summary["train"], len(rows)) == (script.__name__, "0", 5)
    losses = [epoch["loss"] for epoch in summary["training"]["epochs"]]
    assert losses[-1] < losses[0] or len(losses) == 1
    assert summary["mapping"] == "candidates-contrast"
    loss = ("product" if "--product" in more else "softmax") if script is lm_bff else None
    assert summary["settings"].get("loss") == loss


def test_the_linear_layer_predicts(checkpoint_dir: Path, tmp_path: Path) -> None:
    """The scores are its logits of the exported [CLS], which the pooler has no part in."""
    saved = tmp_path / "saved"
    own = ("--epochs", "1", "--predict", "linear", "--save", str(saved))
    summary, rows = run(tcbert, checkpoint_dir, tmp_path, "tnews", *own)
    assert summary["settings"]["predict"] == "linear"
    checkpoint = open_checkpoint(str(saved / "tnews.train_0"), ("encoder", "MLM", "classifier"))
    assert "pooler" not in checkpoint.heads
    encoder = make_pair_encoder(checkpoint, 128)
    row = json.loads((SAMPLE / "tnews" / "test_public.json").read_text(encoding="utf-8").splitlines()[0])
    before, after = (encoder.part(text) for text in ("下面是一则关于", f"的新闻：{row['sentence']}"))
    pair = encoder.encode([before, encoder.part("文化"), after], [])
    token_ids = [4 if 8 <= place < 10 else token for place, token in enumerate(pair.token_ids[:-1])]
    found = Scorer(checkpoint, output="classes").score(
        [pair._replace(token_ids=token_ids, first_length=len(token_ids))], 1, width=15
    )
    np.testing.assert_allclose(rows[0]["scores"], found.values, atol=1e-5)


def test_recipes_differ_by_dataset() -> None:
    assert [lm_bff.RECIPES.of(name, {}).epochs for name in ("eprstmt", "tnews", "iflytek")] == [20, 17, 4]
    assert [adapet.RECIPES.of(name, {}).epochs for name in ("bustm", "tnews")] == [40, 7]


def test_what_is_refused(checkpoint_dir: Path, expect_error: Callable[..., str]) -> None:
    common = ("--model", checkpoint_dir, "--data-dir", SAMPLE, "--train", "0", "--dataset")
    assert "chid.yaml has no lm_bff under methods" in expect_error(lm_bff.main, *common, "chid")
    assert "eprstmt.yaml has no topic under methods" in expect_error(tcbert.main, *common, "eprstmt")
    assert "'fewclue-gpt' is no set" in expect_error(adapet.main, *common, "tnews", "--words", "fewclue-gpt")
