"""The texts of a pre-training run: their mix, their vocabulary, their two sides, and what tells them from others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nsp_bert.cards import validation_reasons
from nsp_bert.errors import UserError
from nsp_bert.files import digest, load_yaml, write_text
from nsp_bert.pretraining.corpus import learn_vocabulary, load_source, read_lines
from nsp_bert.pretraining.pairs import NO_FRAME, Frame, Split, split_documents
from nsp_bert.tokenization import load_tokenizer


class SourceMix(BaseModel):
    """What a `--mix` file says of a text file: share of the pairs, what ends a document, whether NSP may use it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    share: Annotated[float | int, Field(gt=0)]
    documents: Literal["blank-line", "line"] = "blank-line"
    nsp: bool = True


def load_mix(path: Path | None, texts: list[Path]) -> dict[str, SourceMix]:
    """Return what the mix file says of each text, by file name; without one shares are by size.

    Raises UserError for unknown keys, shares that are none, two texts of one name and missing files.
    """
    if missing := [str(text) for text in texts if not text.is_file()]:
        raise UserError(f"--text: no such file: {', '.join(missing)}")
    names = [text.name for text in texts]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"--text: two files are called {', '.join(twice)}; give each a name of its own")
    if path is None:
        return {text.name: SourceMix(share=max(text.stat().st_size, 1)) for text in texts}
    try:
        mix = {name: SourceMix(**entry) for name, entry in load_yaml(path).items()}
    except ValidationError as error:
        raise UserError(f"{path}: {validation_reasons(error)}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    if unlisted := [name for name in names if name not in mix]:
        raise UserError(f"{path}: says nothing of {', '.join(unlisted)}; give each a share")
    return mix


def prepare_vocabulary(texts: list[Path], folder: Path, size: int, minimum_count: int) -> Path:
    """Return the path of the vocabulary learned from these texts, kept in a folder with what it was learned from.

    One that was learned from other texts, or with another size, is learned anew.
    """
    path, origin = folder / "vocab.txt", folder / "vocab.json"
    made_from = json.dumps(text_digests(texts) | {"size": str(size), "minimum count": str(minimum_count)}, indent=1)
    if not (path.is_file() and origin.is_file() and origin.read_text(encoding="utf-8") == made_from):
        write_text("\n".join(learn_vocabulary(texts, size, minimum_count)) + "\n", path)
        write_text(made_from, origin)
    return path


def text_digests(texts: list[Path]) -> dict[str, str]:
    """Return file name -> SHA-256."""
    return {text.name: digest(text) for text in texts}


def load_splits(
    texts: list[Path], mix: dict[str, SourceMix], vocab_path: Path, cache: Path, held_out_share: float, seed: int
) -> tuple[list[Split], list[Split]]:
    """Return the training and the held-out side of every text file."""
    training: list[Split] = []
    held_out: list[Split] = []
    for path in texts:
        entry = mix[path.name]
        source = load_source(path, vocab_path, cache, load_tokenizer, line_documents=entry.documents == "line")
        sides = split_documents(source, held_out_share, seed)
        for splits, boundaries in zip((training, held_out), sides, strict=True):
            if len(boundaries):
                splits.append(Split(source, boundaries, entry.share, entry.nsp))
    return training, held_out


def load_frames(path: Path | None, vocab_path: Path) -> tuple[Frame, ...]:
    """Return the frames of a file as token ids, after the empty one. Raises UserError for a line without one {}."""
    if path is None:
        return (NO_FRAME,)
    tokenize = load_tokenizer(vocab_path)
    frames = [NO_FRAME]
    for number, line in enumerate(read_lines(path), 1):
        before, slot, after = line.partition("{}")
        if not slot or "{}" in after:
            raise UserError(f"{path}:{number}: {line!r} needs one {{}} where the word goes")
        frames.append((tokenize(before), tokenize(after)))
    return tuple(frames)
