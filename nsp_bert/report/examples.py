"""Runs -> the rows of the report's example browser, compact: strings once, ten candidates a row, two decimals."""

from __future__ import annotations

from typing import Any

from nsp_bert.report.reader import ResultRow, ResultRun

SHOWN = 10  # candidates of a row, beside the true one
LONGEST = {"before": 1, "after": 1}  # characters shown per token that the model can read of a pair; else OTHERS
OTHERS = 1.5
DECIMALS = 2
DEFAULT_LENGTH = 128  # of a run that does not say its own
BLANK = "＿＿＿＿"


class Pool:
    """Strings, each kept once and known by its place."""

    def __init__(self) -> None:
        self.strings: list[str] = []
        self._places: dict[str, int] = {}

    def add(self, text: str) -> int:
        """Return the place of a string, which may be new."""
        if text not in self._places:
            self._places[text] = len(self.strings)
            self.strings.append(text)
        return self._places[text]


def browser_data(runs: list[ResultRun], names: list[str], disputed: list[list[int]]) -> dict[str, Any]:
    """Return {"strings", "runs"} for the page; texts and prompts are places in `strings`.

    A row is [index, id or null, fields, label or null, prediction, candidates, scores, rank of the truth or null,
    candidates as they read]: labels, predictions and candidates are places in the run's `labels`, candidates are in
    descending order of score; what they read is only there where every row has its own.
    `disputed` holds for each run the indices of the rows that another method predicts otherwise.
    """
    pool = Pool()
    entries = [
        run_data(run, name, pool) | {"disputed": rows} for run, name, rows in zip(runs, names, disputed, strict=True)
    ]
    return {"strings": pool.strings, "runs": entries}


def run_data(run: ResultRun, name: str, pool: Pool) -> dict[str, Any]:
    """Return what the browser knows of a run."""
    keys = list(run.texts[0]) if run.texts else []
    fields = [key for key in keys if isinstance(run.texts[0][key], str)]
    labels = Pool()
    offered = [label or f"#{place}" for place, label in enumerate(run.labels)]  # "": one that was never predicted
    for label in offered:
        labels.add(label)
    length = int(run.summary.settings.get("max_length") or DEFAULT_LENGTH)
    rows = []
    for row, text in zip(run.rows, run.texts, strict=True):
        shown = [pool.add(shortened(key, str(text.get(key, "")), length)) for key in fields]
        candidates = text.get("candidates", [])
        read = [pool.add(candidate) for candidate in candidates] if isinstance(candidates, list) else []
        rows.append(row_data(row, shown, read, offered, labels))
    return {
        "name": name,
        "labels": labels.strings,
        "words": label_words(run),
        "fields": fields,
        "segments": segments(run.summary.settings, keys),
        "prompts": [pool.add(prompt) for prompt in run.summary.prompts or []],
        "thresholds": [round(value, DECIMALS) for value in run.summary.thresholds or []],
        "rows": rows,
    }


def row_data(row: ResultRow, fields: list[int], read: list[int], offered: list[str], labels: Pool) -> list[Any]:
    """Return a row of the browser; the single score of samples-contrast has no candidates."""
    scores, label, own = row.scores, row.label, row.candidates
    own_id = None if row.id in (None, row.index) else str(row.id)
    head = [row.index, own_id, fields, None if label is None else labels.add(label), labels.add(row.prediction)]
    if len(scores) == 1 and not own:
        return [*head, [], [round(scores[0], DECIMALS)], None]
    names = own or (offered if len(offered) == len(scores) else [str(place) for place in range(len(scores))])
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    true_place = names.index(label) if label in names else None
    kept = [place for rank, place in enumerate(order) if rank < SHOWN or place == true_place]
    kept_labels = [labels.add(names[place]) for place in kept]
    rounded = [round(scores[place], DECIMALS) for place in kept]
    rank = None if true_place is None else order.index(true_place) + 1
    return [*head, kept_labels, rounded, rank, *([[read[place] for place in kept]] if read else [])]


def shortened(key: str, text: str, length: int) -> str:
    """Return a text that is too long for the page without its end, or before a blank without its beginning.

    `length` is how many tokens of a pair the model reads: what is left out here, it does not see either.
    """
    longest = int(length * LONGEST.get(key, OTHERS))
    if len(text) <= longest:
        return text
    return "…" + text[-longest:] if key == "before" else text[:longest] + "…"


def segments(settings: dict[str, str | int | None], keys: list[str]) -> list[str]:
    """Return the two segments that the model reads, `{key}` for a field of the row, `{candidate}` for each candidate.

    `keys` are the fields that a row of this task shows; none are known without texts.
    """
    template = str(settings.get("template") or "")
    asked = settings.get("stages") != 1
    if "pronoun" in keys:
        question = template.replace("{}", "{pronoun}")
        text, prompt = ("{text}" + question, "{span}") if asked else ("{text}", question + "{span}")
    elif "before" in keys:
        text, prompt = "{before}" + BLANK + "{after}", "{candidate}"
    elif "name" in keys:
        text = "{text}" + (template.replace("{}", "{name}") if asked else "")
        prompt = "{candidate}"
    elif "prompt" in keys:
        text, prompt = "{text}", "{prompt}"
    else:
        text, prompt = "{text}", "{candidate}"
    return [prompt, text] if settings.get("prompt_position") == "prefix" else [text, prompt]


def label_words(run: ResultRun) -> list[str]:
    """Return for each label the word that its prompt has in the template's place; none without prompts."""
    template = str(run.summary.settings.get("template") or "")
    if "{}" not in template:
        return []
    before, after = template.split("{}", 1)
    return [prompt.removeprefix(before).removesuffix(after) for prompt in run.summary.prompts or []]


def shown_labels(run: ResultRun) -> list[str]:
    """Return the labels with their words, where these say more."""
    words = label_words(run) or run.labels
    return [label if word == label else f"{label} {word}" for label, word in zip(run.labels, words, strict=True)]
