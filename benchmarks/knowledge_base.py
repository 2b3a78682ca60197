"""How long does a knowledge base of DuEL2.0's size take to load, and how much memory?

  python benchmarks/knowledge_base.py

Generates 390,000 entities and 10,000 texts in the real format (some 450 MB in a temporary folder), loads both as
nsp_bert_entity_linking.py does, in a process of its own, and prints seconds and peak memory.
"""

from __future__ import annotations

import _root  # noqa: F401

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nsp_bert.cards import load_card
from nsp_bert.cli import new_parser, positive
from nsp_bert.knowledge_base import read_knowledge_base
from utils import load_entity_mentions

MENTIONS_A_TEXT = 3
NAMES_A_ENTITY = 3
SUMMARY_LENGTH = 150
FACTS = 8


def random_text(rng: np.random.Generator, length: int) -> str:
    """Return `length` common CJK characters."""
    return "".join(map(chr, rng.integers(0x4E00, 0x6000, length)))


def generate(folder: Path, entities: int, texts: int, seed: int = 0) -> None:
    """Write duel/kb.json and duel/dev.json; a name belongs to about four entities."""
    rng = np.random.default_rng(seed)
    names = [random_text(rng, int(length)) for length in rng.integers(2, 7, max(entities // 2, 1))]
    (folder / "duel").mkdir()
    with (folder / "duel" / "kb.json").open("w", encoding="utf-8") as stream:
        for index in range(entities):
            own = [names[place] for place in rng.integers(0, len(names), NAMES_A_ENTITY)]
            facts = [{"predicate": "摘要", "object": random_text(rng, SUMMARY_LENGTH)}] if index % 10 else []
            facts += [{"predicate": "属性", "object": random_text(rng, 10)} for _ in range(FACTS)]
            row = {"alias": own, "subject_id": str(index), "type": "Other", "subject": own[0], "data": facts}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    with (folder / "duel" / "dev.json").open("w", encoding="utf-8") as stream:
        for index in range(texts):
            mentions, text = [], ""
            for place in rng.integers(0, len(names), MENTIONS_A_TEXT):
                text += random_text(rng, 4)
                mentions.append({"kb_id": "0", "mention": names[place], "offset": str(len(text))})
                text += names[place]
            row = {"text_id": str(index), "text": text, "mention_data": mentions}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def load(folder: Path) -> None:
    """Load both files and print what it took."""
    card = load_card("duel")
    started = time.monotonic()
    mentions = load_entity_mentions(card, folder, "dev")
    base = read_knowledge_base(card, folder, {mention.content.name for mention in mentions}, {"0"})
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kept = len({entity.id for entities in base.candidates.values() for entity in entities})
    size = (folder / "duel" / "kb.json").stat().st_size / 1e6
    print(f"{base.size} entities ({size:.0f} MB), {len(mentions)} mentions: {seconds:.1f} s, peak {peak:.0f} MiB")
    print(f"{kept} entities kept for {len(base.candidates)} names")


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--entities", type=positive, default=390_000, metavar="N", help="that are generated")
    parser.add_argument("--texts", type=positive, default=10_000, metavar="N", help="that are generated")
    parser.add_argument(
        "--load", type=Path, metavar="DIR", help="only load what was generated there (default: generate, then load)"
    )
    options = parser.parse_args()
    if options.load:
        return load(options.load)
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), options.entities, options.texts)
        subprocess.run([sys.executable, __file__, "--load", folder], check=True)


if __name__ == "__main__":
    main()
