"""Made-up runs for tests about several of them."""

from __future__ import annotations

from collections.abc import Sequence

from nsp_bert.results.comparison import Outcome, outcome
from nsp_bert.results.metrics import CLUSTERED, WILSON, Accuracy
from nsp_bert.results.summary import Epoch, Fingerprint, Metrics, Summary, TrainingRecord
from nsp_bert.rows import FIVE

CHECKPOINT = "00ac8eb3"


def made_up(
    right: Sequence[bool],
    method: str = "nsp_bert",
    train: str | None = None,
    dataset: str = "tnews",
    *,
    checkpoint: str = CHECKPOINT,
    data: str = "b35d",
    first: int = 0,
    clusters: Sequence[int] | None = None,
    **more: object,
) -> Outcome:
    """Return a run whose rows are right or wrong as given; a trained one where it has a training set."""
    accuracy = Accuracy(len(right), sum(right))
    made_from = {f"{dataset}/test_public.json": data} | ({f"{dataset}/train_{train}.json": str(train)} if train else {})
    epochs = [Epoch(loss=1.0, dev_accuracy=0.5, seconds=3.0)] * 2
    memory = 700 + (int(train) if train in FIVE else 0)
    training = TrainingRecord(epochs=epochs, rows=8, steps=2, parameters=9, best_epoch=1, peak_memory_mib=memory)
    facts: dict[str, object] = {
        "dataset": dataset,
        "part": "",
        "title": dataset.upper(),
        "task": "classification",
        "mapping": "candidates-contrast",
        "split": "test_public",
        "sample": False,
        "complete": True,
        "model": "some-model",
        "method": method,
        "train": train,
        "seed": None if train is None else 1,
        "settings": {"rows": "all"},
        "default_prompt": True,
        "labels": ["a", "b"],
        "n": len(right),
        "metrics": Metrics(
            accuracy=accuracy.value,
            accuracy_interval=accuracy.interval,
            interval_method=WILSON if clusters is None else CLUSTERED,
        ),
        "published": None,
        "notes": [],
        "versions": {},
        "seconds": 2.0,
        "pairs_per_second": 10.0,
        "fingerprint": Fingerprint(data=made_from, checkpoint=checkpoint, code="c", settings={"train": str(train)}),
        "parts": 1,
        "files": {},
        "training": training if train and method != "similarity" else None,
    }
    rows = ((first + place, one, clusters and clusters[place]) for place, one in enumerate(right))
    return outcome(Summary.model_validate(facts | more), rows)
