"""What the printed numbers are: computed again from the digits that are printed and from FewCLUE's public files.

  python docs/check_published.py
  python docs/check_published.py --data-dir datasets/fewclue | grep ^differs

A line a finding: whether a number is what its place in a table says, what is printed, what the files give. `counted` is
what nothing printed speaks of. The records are those of datasets/published_results.yaml, the single runs behind some of
them those of docs/published_runs.csv; docs/published.md says what each finding means and where it comes from.

Without FewCLUE's files the findings that need them are left out. Tokens are counted with the vocabulary of
nsp_bert_mini; --vocab takes that of a BERT (21,128 entries), which cuts Latin words and numbers otherwise.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from statistics import mean, pstdev, stdev
from typing import Any, NamedTuple, cast

from nsp_bert.cards import Card, load_card
from nsp_bert.contents import Mention, SentencePair, Text
from nsp_bert.files import DATASETS, MODELS
from nsp_bert.patterns import LABEL, LanguageFacts, Slot, parse_pattern
from nsp_bert.results.benchmark_tables import FEWCLUE, fewclue_titles
from nsp_bert.results.published import SCORE, PublishedRecord, find, load_published
from nsp_bert.rows import FEW_ALL, FIVE, dev_split, read_table, train_split
from nsp_bert.terminal import run_main
from nsp_bert.tokenization import Tokenize
from utils import load_examples, load_tokenizer

DATA, RUNS = DATASETS / "fewclue", Path(__file__).with_name("published_runs.csv")
VOCABULARY = MODELS / "nsp_bert_mini" / "vocab.txt"
ROBERTA, TEST = "hfl-roberta-wwm-ext", "test_public"
TITLES, NAMES = fewclue_titles(), load_published().method_names
HALF = 0.055  # half of a tenth, and of the hundredth that it may have been rounded from
FLOAT32 = 1e-5  # a percentage that was printed from a float32 is no nearer than this
SIZES = range(200, 3001)  # how many rows may have been scored
EPOCHS, STEP_ROWS = 3, 32  # FewCLUE, baselines/models_tf/fine_tuning/bert/run_classifier_multi_dataset.sh
MISPRINT = Decimal("67.79")  # in A; datasets/published_results.yaml has what was meant
CHARACTERS = {"csl": 300}  # of a text that are taken: FewCLUE, baselines/models_keras/gpt/data_util.py
# The labels that P-tuning's scripts know; they leave out the rows of all others. FewCLUE,
# baselines/models_keras/ptuning_origin/ptuning_tnews_old.py and ptuning_iflytek.py
KNOWN = {
    "tnews": "100-104 106-110 112-113 115-116",
    "iflytek": "4-5 8-14 16-22 24-26 28 34-36 44-49 53-54 56 58-60 62 70-71 73 78 82 84-85 88 91-92 94-97 99 101-103"
    " 106 111 113 116 118",
}
Runs = dict[tuple[str, str], list[Decimal]]  # (method, dataset) -> percent after train_0 .. train_4, few_all


class Finding(NamedTuple):
    """What the files give, what is printed, and whether they agree; None where nothing is printed."""

    subject: str
    found: str
    printed: str = ""
    agrees: bool | None = None

    def __str__(self) -> str:
        """Return it as a line."""
        verdict = {True: "agrees ", False: "differs", None: "counted"}[self.agrees]
        return f"{verdict} {self.subject}: " + (f"printed {self.printed}; " if self.printed else "") + self.found


def main(arguments: list[str] | None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="holds DATASET/SPLIT.json (default: datasets/fewclue, if there)"
    )
    parser.add_argument("--vocab", type=Path, default=VOCABULARY, metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(arguments)
    runs = read_runs()
    for finding in of_digits(runs):
        print(finding)
    if options.data_dir or DATA.is_dir():
        for finding in Files(options.data_dir or DATA, load_tokenizer(options.vocab)).findings(runs):
            print(finding)
    else:
        print(f"no folder {DATA}: the other findings need `python datasets/download.py fewclue`, or --data-dir")
    return 0


def read_runs() -> Runs:
    """Return the single runs behind published means, with the digits that are printed."""
    runs: Runs = {}
    for _, row in read_table(RUNS, None, ","):
        for dataset in FEWCLUE:
            if value := row[dataset]:
                runs.setdefault((str(row["method"]), dataset), []).append(Decimal(str(value)))
    return runs


def of_digits(runs: Runs) -> Iterator[Finding]:
    """Yield what follows from the printed digits alone."""
    yield from means()
    yield from both_tables()
    yield from run_means(runs)
    yield from run_counts(runs)
    yield from first_split(runs)
    yield from copies()
    yield from misprint()


def place(record: PublishedRecord) -> str:
    """Return where a number is printed: source, method, dataset."""
    model = f" on {record.model}" if record.model not in (None, ROBERTA) and record.source == "B" else ""
    return f"{record.source}, {NAMES[record.method]}{model}, {TITLES.get(record.dataset, record.dataset)}"


def record_of(**wanted: str | int | bool) -> PublishedRecord:
    """Return the one record of these values."""
    (record,) = find(**wanted)
    return record


def means() -> Iterator[Finding]:
    """Yield each printed mean beside that of the nine."""
    for total in find(dataset=SCORE):
        row = [record for record in find(method=total.method, source=total.source) if record.table == total.table]
        nine = {
            record.dataset: record.value
            for record in row
            if record.dataset in FEWCLUE and record.model == total.model and record.train != FEW_ALL
        }
        found = f"the mean of the nine is {mean(nine.values()):.2f}"
        agrees = abs(total.value - mean(nine.values())) < HALF
        eight = mean(value for dataset, value in nine.items() if dataset != "chid")
        if not agrees and abs(total.value - eight) < HALF:
            found += f", that of the eight without ChID {eight:.2f}"
        yield Finding(place(total), found, f"{total.value:.2f}", agrees)


def both_tables() -> Iterator[Finding]:
    """Yield how many of the nine are the same in A and in B."""
    for total in find(source="B", dataset=SCORE):
        pairs = {
            TITLES[one.dataset]: (one.value, other.value)
            for one in find(source="A", table=1, method=total.method)
            for other in find(source="B", method=total.method, dataset=one.dataset)
            if one.model == other.model == total.model and one.dataset != SCORE
        }
        unlike = [f"{title} {one} and {other}" for title, (one, other) in pairs.items() if one != other]
        shown = f": {', '.join(unlike)}" if 0 < len(unlike) < len(pairs) / 2 else ""
        if pairs:
            found = f"{len(pairs) - len(unlike)} of {len(pairs)} are the same in both{shown}"
            yield Finding(f"A and B, {NAMES[total.method]}", found)


def run_means(runs: Runs) -> Iterator[Finding]:
    """Yield each mean of B beside those of the runs."""
    for (method, dataset), decimals in runs.items():
        record = record_of(method=method, dataset=dataset, source="B", model=ROBERTA)
        values = [float(value) for value in decimals]
        taken, printed = values if record.train == "six_runs" else values[:5], cast(float, record.std)
        off = abs(printed - (stdev if record.ddof else pstdev)(taken))
        agrees = abs(record.value - mean(taken)) < HALF and off < (HALF if printed < 10 else 10 * HALF)
        found = f"train_0 to 4 {spread(values[:5])}; with few_all {spread(values)}"
        yield Finding(place(record), found, f"{record.value} ({printed:g})", agrees)


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation, divided by n and by n - 1."""
    return f"{mean(values):.2f} ({pstdev(values):.2f} by n, {stdev(values):.2f} by n - 1)"


def is_share(value: Decimal, rows: int) -> bool:
    """Return whether a percentage is that of a count of rows, its last digit rounded or cut."""
    unit = max(10.0 ** cast(int, value.as_tuple().exponent), FLOAT32)
    return abs(100 * round(float(value) * rows / 100) / rows - float(value)) < 1.01 * unit


def run_counts(runs: Runs) -> Iterator[Finding]:
    """Yield out of how many rows the six runs are counts."""
    for (method, dataset), values in runs.items():
        rows = cast(int, record_of(method="nsp_bert", table=1, dataset=dataset).n)
        fitting = [size for size in SIZES if all(is_share(value, size) for value in values)]
        odd = [f"{value:.2f}" for value in values if not is_share(value, rows)]
        if odd and not fitting:
            found = f"{', '.join(odd)} is no count out of {rows}, the others are"
        else:
            others = f"{len(fitting) - 1} other n" if len(fitting) > 1 else "no other n"
            found = f"counts out of {fitting[0] if odd else rows} and of {others} from {SIZES[0]} to {SIZES[-1]}"
        record = record_of(method=method, dataset=dataset, source="B", model=ROBERTA)
        yield Finding(f"{place(record)}, the runs", found, f"for {TEST}, {rows} rows", not odd)


def first_split(runs: Runs) -> Iterator[Finding]:
    """Yield how many numbers of A are runs of train_0, rounded."""
    for method in dict.fromkeys(method for method, _ in runs):
        off = [
            record_of(source="A", table=1, method=method, dataset=dataset).value - float(values[0])
            for (owner, dataset), values in runs.items()
            if owner == method
        ]
        same = sum(abs(difference) < HALF for difference in off)
        yield Finding(f"A, {NAMES[method]}", f"{same} of {len(off)} are the runs of train_0")


def copies() -> Iterator[Finding]:
    """Yield numbers that are another's."""
    for record in find(method="lm_bff", dataset="chid"):
        other = record_of(method="pet", dataset="chid", source=record.source, model=ROBERTA)
        agrees = (record.value, record.std) != (other.value, other.std)
        yield Finding(place(record), f"PET's is {other.value}", str(record.value), agrees)
    printed = find(method="tcbert", source="C")
    for model in dict.fromkeys(str(record.model) for record in printed):
        first, second = ([one.value for one in printed if (one.model, one.prompt) == (model, n)] for n in (1, 2))
        same = sum(one == other for one, other in zip(first, second, strict=True))
        shown = ", ".join(f"{value:.2f}" for value in second)
        yield Finding(f"C, TCBert, {model}", f"{same} of 3 are those of prompt 1", f"{shown} for prompt 2", same < 3)
    readme = record_of(source="J")
    card = {one.prompt: one.value for one in printed if (one.model, one.dataset) == (readme.model, readme.dataset)}
    found = f"C has {card[1]:.2f} for prompt 1 and {card[2]:.2f} for prompt 2"
    agrees = readme.value == card[1]
    yield Finding(f"{place(readme)}, {readme.model}", found, f"{readme.value:.2f} for prompt 1", agrees)


def misprint() -> Iterator[Finding]:
    """Yield the one number of A that is no count."""
    batch = record_of(source="A", dataset="bustm", batch=4)
    found = f"no count out of {batch.n} rows; {batch.value} is one"
    agrees = is_share(MISPRINT, cast(int, batch.n))
    yield Finding(f"{place(batch)}, batches of 4", found, str(MISPRINT), agrees)


@dataclass(frozen=True)
class Files:
    """FewCLUE's files, and how texts become tokens."""

    folder: Path
    tokenize: Tokenize

    def findings(self, runs: Runs) -> Iterator[Finding]:
        """Yield what needs the files."""
        yield from self.sizes()
        yield from self.majorities()
        yield from self.skipped()
        yield from self.one_word()
        yield from self.one_label(runs)
        yield from self.questions()
        yield from self.blanks()
        yield from self.protocol()

    def contents(self, card: Card, split: str = TEST) -> list[Any]:
        """Return what the rows of a split ask, of the kind that the card tells."""
        return [example.content for example in load_examples(card, self.folder, split)]

    def labels(self, card: Card, split: str = TEST) -> Counter[str]:
        """Return how many rows each label has."""
        return Counter(str(example.label) for example in load_examples(card, self.folder, split))

    def sizes(self) -> Iterator[Finding]:
        """Yield rows and labels of each split, beside the n of the paper's numbers where it has some."""
        for dataset in FEWCLUE:
            card = load_card(dataset)
            for split in (train_split("0"), dev_split("0"), train_split(FEW_ALL), dev_split(FEW_ALL), TEST):
                counts = self.labels(card, split)
                rows = counts.total()
                each = f"{min(counts.values())} to {max(counts.values())}"
                found = f"{rows} rows of {len(counts)} labels, {each} of a label"
                numbers = {record.n for record in find(method="nsp_bert", dataset=dataset, split=split)}
                printed = f"to the digits of {', '.join(map(str, numbers))} rows" if numbers else ""
                yield Finding(f"{card.title} {split}", found, printed, numbers == {rows} if numbers else None)

    def majorities(self) -> Iterator[Finding]:
        """Yield what B calls majority beside the largest label's share and chance."""
        for record in find(method="majority", source="B"):
            if record.dataset != SCORE:
                card = load_card(record.dataset)
                counts = self.labels(card)
                largest = 100 * max(counts.values()) / counts.total()
                chance = 100 / len(card.label_values or counts)
                found = f"the largest label has {largest:.1f}, 1 / labels is {chance:.1f}"
                yield Finding(place(record), found, str(record.value), abs(largest - record.value) < HALF)

    def skipped(self) -> Iterator[Finding]:
        """Yield how many rows P-tuning's scripts know."""
        for dataset, codes in KNOWN.items():
            card, known = load_card(dataset), expand(codes)
            test, train = (self.labels(card, split) for split in (TEST, train_split("0")))
            of_test, of_train = (sum(counts[label] for label in known) for counts in (test, train))
            found = (
                f"its script knows {len(known)} of {len(card.label_values)} labels: {of_test} of {test.total()} rows,"
                f" {of_train} of {train.total()} in train_0"
            )
            yield Finding(f"F, P-tuning, {card.title}", found, f"for {TEST}, {test.total()}", of_test == test.total())

    def one_word(self) -> Iterator[Finding]:
        """Yield the labels that share a word, their rows, and the rows of all but the first label of a word."""
        for card in map(load_card, FEWCLUE):
            for name in (name for name, words in card.words.items() if words.shared):
                counts, of_word = self.labels(card), dict[str, list[str]]()
                for label, word in card.word_set(name).items():
                    of_word.setdefault(word, []).append(label)
                alike = {word: labels for word, labels in of_word.items() if len(labels) > 1}
                rows = sum(counts[label] for labels in alike.values() for label in labels)
                later = [label for labels in alike.values() for label in labels[1:]]
                found = (
                    f"{len(of_word)} words; labels that share {', '.join(alike)} have {rows} rows, of which"
                    f" {sum(counts[label] for label in later)} are of {', '.join(card.own_words[one] for one in later)}"
                )
                yield Finding(f"E, PET, {card.title}", found, f"for {len(card.label_values)} labels", not alike)

    def one_label(self, runs: Runs) -> Iterator[Finding]:
        """Yield the runs that are what one label for every row gives."""
        for (method, dataset), values in runs.items():
            sizes = Counter(self.labels(load_card(dataset)).values())  # rows of a label -> labels with so many
            total = sum(rows * labels for rows, labels in sizes.items())
            for train, value in zip((*FIVE, FEW_ALL), values, strict=True):
                rows = round(float(value) * total / 100)
                if labels := sizes[rows] if is_share(value, total) else 0:
                    found = f"{rows} of {total} rows, as many as {labels} labels have"
                    yield Finding(f"{NAMES[method]}, {TITLES[dataset]}, {train_split(train)}", found, f"{value:.2f}")

    def questions(self) -> Iterator[Finding]:
        """Yield how often FewCLUE's GPT code, which cuts the end of what it reads, cuts its question."""
        for dataset in FEWCLUE:
            card = load_card(dataset)
            facts, limit = card.methods.causal, CHARACTERS.get(dataset)
            if facts and facts.pattern.endswith(f"{{{LABEL}}}"):
                length = facts.max_length or card.max_length
                contents = self.contents(card)
                read = [filled(facts, content.with_text(content.text[:limit])) for content in contents]
                cut = sum(len(self.tokenize(text)) + 2 > length for text in read)
                found = f"the question is cut in {cut} of {len(read)} rows, {100 * cut / len(read):.1f} %"
                longer = sum(len(content.text) > limit for content in contents) if limit else 0
                found += f"; {longer} texts are longer than the {limit} characters that are read" if longer else ""
                yield Finding(f"GPT-zero, {card.title}, {length} tokens", found)

    def blanks(self) -> Iterator[Finding]:
        """Yield what FewCLUE's code does to the texts of ChID."""
        rows = self.contents(load_card("chid"))
        moved = sum(len(self.tokenize(row.before)) != len(row.before) for row in rows)
        spaced = sum(
            any(self.tokenize(text) != self.tokenize(text.replace(" ", "")) for text in (row.before, row.after))
            for row in rows
        )
        yield Finding("GPT-zero, ChID", f"the blank's character is not its token in {moved} of {len(rows)} rows")
        yield Finding("PET, ChID", f"without their spaces {spaced} of {len(rows)} rows have other tokens")

    def protocol(self) -> Iterator[Finding]:
        """Yield steps of fine-tuning, the rows that PET is chosen by, and rows that are in two splits."""
        cards = [load_card(dataset) for dataset in FEWCLUE if dataset != "chid"]
        steps = {card.title: len(self.contents(card, train_split("0"))) * EPOCHS // STEP_ROWS for card in cards}
        few = [title for title, number in steps.items() if number == min(steps.values())]
        found = f"{min(steps.values())} steps of {STEP_ROWS} rows on {', '.join(few)}"
        more = ", ".join(f"{number} on {title}" for title, number in steps.items() if title not in few)
        yield Finding("fine-tuning", f"{found}; {more}")
        dev = [content for train in FIVE for content in self.contents(load_card("iflytek"), dev_split(train))]
        yield Finding("PET, IFLYTEK, dev_0 to dev_4", f"{len(dev)} rows, {len(dev) - len(set(dev))} of them repeats")
        for card in map(load_card, FEWCLUE):
            test = set(self.contents(card))
            trains, devs = (
                [set(self.contents(card, split(number))) for number in FIVE] for split in (train_split, dev_split)
            )
            of_train, of_dev = (len(test & set().union(*rows)) for rows in (trains, devs))
            both = sum(len(train & dev) for train, dev in zip(trains, devs, strict=True))
            found = f"{of_train} train and {of_dev} dev rows are in {TEST}, {both} of train_i in dev_i"
            yield Finding(f"{card.title}, rows in two splits", found)


def expand(codes: str) -> set[str]:
    """Return the label codes of ranges such as 100-104 106."""
    ends = [code.split("-") for code in codes.split()]
    return {str(code) for first, *_, last in (end * 2 for end in ends) for code in range(int(first), int(last) + 1)}


def filled(facts: LanguageFacts, content: Text | SentencePair | Mention) -> str:
    """Return a row in a pattern up to the label."""
    (pieces,) = parse_pattern(facts.pattern).segments
    slots: dict[object, object] = {Slot(name): text for name, text in content.slots.items()}
    return "".join(piece if isinstance(piece, str) else str(slots.get(piece, "")) for piece in pieces)


if __name__ == "__main__":
    run_main(main)
