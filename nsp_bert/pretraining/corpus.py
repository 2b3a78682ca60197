"""Plain text -> indexed tokens: the corpus that pre-training samples its sentence pairs from.

A text file (plain, .xz or .gz; UTF-8) holds one sentence or paragraph a line; a blank line ends a document.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import logging
import lzma
import multiprocessing
import os
import re
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nsp_bert.checkpoints.vocabulary import SPECIAL_TOKENS
from nsp_bert.errors import UserError
from nsp_bert.files import replacing, utf8_lines

CLAUSE = re.compile(r"[^，。！？；：…,!?;:]*[，。！？；：…,!?;:]*[”’」』）)》\"']*")
LATIN_WORD = re.compile(r"[a-z]+|[0-9]+")
CHUNK_LINES = 2000

WordTokenizer = Callable[[str], list[int]]
TokenizerFactory = Callable[[Path], WordTokenizer]
Indexed = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Source:
    """One indexed text file.

    token_ids uint8..uint32 (N,); word_starts bool (N,), true where a (jieba) word begins; clause_starts int64 (C + 1,),
    token offsets closed by N; clause_documents int32 (C,); document_starts int64 (D + 1,), token offsets closed by N.
    """

    name: str
    token_ids: np.ndarray
    word_starts: np.ndarray
    clause_starts: np.ndarray
    clause_documents: np.ndarray
    document_starts: np.ndarray

    def boundaries(self) -> np.ndarray:
        """Clause indices int64 whose clause continues the document of the clause before it."""
        same = self.clause_documents[1:] == self.clause_documents[:-1]
        return np.flatnonzero(same) + 1


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a plain, .xz or .gz UTF-8 file, stripped. Raises UserError naming file and line."""
    openers: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open}
    try:
        with openers.get(path.suffix, open)(path, "rb") as stream:
            for _, line in utf8_lines(stream, str(path)):
                yield line.strip()
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error


def read_documents(path: Path, line_documents: bool = False) -> Iterator[list[str]]:
    """Yield the documents of a file as lists of lines; with `line_documents` every line is one."""
    document: list[str] = []
    for line in read_lines(path):
        if line:
            document.append(line)
        if document and (line_documents or not line):
            yield document
            document = []
    if document:
        yield document


def learn_vocabulary(paths: list[Path], size: int, minimum_count: int) -> list[str]:
    """Return a lower-case WordPiece vocabulary learned from text, most frequent first after the special tokens.

    Every character seen `minimum_count` times is in it, Latin letters and digits also as continuations
    (`##x`), and what room is left goes to the most frequent Latin words and numbers.
    """
    characters: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for path in paths:
        for line in read_lines(path):
            characters.update(line)
            words.update(LATIN_WORD.findall(line.lower()))
    normalized: Counter[str] = Counter()
    for character, count in characters.items():
        for plain in unicodedata.normalize("NFD", character.lower()):
            if not plain.isspace() and unicodedata.category(plain) not in ("Cc", "Cf", "Mn"):
                normalized[plain] += count
    alphabet = [chr(code) for code in (*range(ord("a"), ord("z") + 1), *range(ord("0"), ord("9") + 1))]
    tokens = list(SPECIAL_TOKENS) + alphabet + ["##" + character for character in alphabet]
    room = size - len(tokens)
    if room < 0:
        raise UserError(f"--vocab-size {size} is below the {len(tokens)} tokens that every vocabulary holds")
    ranked = sorted(normalized.items(), key=lambda item: (-item[1], item[0]))
    kept = [character for character, count in ranked if count >= minimum_count and character not in alphabet]
    tokens += kept[:room]
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    frequent = [word for word, count in ranked if count >= minimum_count and len(word) > 1]
    return tokens + frequent[: size - len(tokens)]


def load_source(
    path: Path,
    vocab_path: Path,
    cache_dir: Path,
    make_tokenizer: TokenizerFactory,
    *,
    line_documents: bool = False,
    processes: int | None = None,
) -> Source:
    """Return the indexed file, from the cache when the file and the vocabulary are those it was made from.

    `make_tokenizer(vocab_path)` is a module-level function that returns text -> token ids. Raises UserError when the
    text cannot be read or holds no document of two clauses.
    """
    digest = hashlib.sha256()
    for part in (path, vocab_path):
        digest.update(_read_bytes(part))
    digest.update(bytes([line_documents]))
    cache = cache_dir / f"{path.name}.{digest.hexdigest()[:16]}.npz"
    source = _cached(path, cache)
    if source is None:
        chunks = _chunks(read_documents(path, line_documents))
        arrays = _index(path.name, chunks, partial(_index_documents, make_tokenizer, vocab_path), processes)
        if not len(arrays["token_ids"]):
            raise UserError(f"{path}: holds no text")
        with replacing(cache) as unfinished, unfinished.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        source = Source(path.name.split(".")[0], **arrays)
    if not len(source.boundaries()):
        raise UserError(f"{path}: no document with two clauses; a pair of segments needs them")
    return source


def _cached(path: Path, cache: Path) -> Source | None:
    """Return what the cache holds of a text; None where it is not there or damaged."""
    try:
        with np.load(cache, allow_pickle=False) as stored:
            return Source(path.name.split(".")[0], **{key: stored[key] for key in stored.files})
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error):
        print(f"{cache}: damaged; {path.name} is indexed again")
        return None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _index(name: str, chunks: Iterator, index_chunk: Callable, processes: int | None) -> dict[str, np.ndarray]:
    """Tokenise a file in parallel, chunk by chunk; the result does not depend on the number of processes."""
    token_ids, word_starts, clause_starts, clause_documents = [], [], [], []
    document_starts = [0]
    with (
        _mapped(index_chunk, chunks, processes) as indexed,
        tqdm(desc=f"indexing {name}", unit=" documents", unit_scale=True, mininterval=0.5) as bar,
    ):
        for documents in indexed:
            for ids, starts, clauses in documents:
                token_ids.append(ids)
                word_starts.append(starts)
                clause_starts.append(clauses + document_starts[-1])
                clause_documents.append(np.full(len(clauses), len(document_starts) - 1, np.int32))
                document_starts.append(document_starts[-1] + len(ids))
            bar.update(len(documents))
    return {
        "token_ids": np.concatenate(token_ids or [np.empty(0, np.uint16)]),
        "word_starts": np.concatenate(word_starts or [np.empty(0, bool)]),
        "clause_starts": np.concatenate([*clause_starts, document_starts[-1:]]).astype(np.int64),
        "clause_documents": np.concatenate(clause_documents or [np.empty(0, np.int32)]),
        "document_starts": np.asarray(document_starts, np.int64),
    }


@contextlib.contextmanager
def _mapped(index_chunk: Callable, chunks: Iterator, processes: int | None) -> Iterator[Iterator]:
    """Yield what becomes of the chunks, in order; a single one is not worth the start of other processes."""
    first = list(islice(chunks, 2))
    if len(first) < 2:
        yield map(index_chunk, first)
        return
    with multiprocessing.get_context("spawn").Pool(processes or os.cpu_count()) as pool:
        yield pool.imap(index_chunk, chain(first, chunks))


def _chunks(documents: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    chunk: list[list[str]] = []
    lines = 0
    for document in documents:
        chunk.append(document)
        lines += len(document)
        if lines >= CHUNK_LINES:
            yield chunk
            chunk, lines = [], 0
    if chunk:
        yield chunk


@lru_cache(maxsize=1)
def _word_tokenizer(make_tokenizer: TokenizerFactory, vocab_path: Path) -> WordTokenizer:
    """Words repeat: each is tokenised once per process."""
    return lru_cache(maxsize=None)(make_tokenizer(vocab_path))


def _index_documents(make_tokenizer: TokenizerFactory, vocab_path: Path, documents: list[list[str]]) -> list[Indexed]:
    tokenize = _word_tokenizer(make_tokenizer, vocab_path)
    return [index_document(document, tokenize) for document in documents]


def index_document(document: list[str], tokenize: WordTokenizer) -> Indexed:
    """Return (token_ids, word_starts, clause_starts) of one document, its words cut by jieba."""
    import jieba

    jieba.setLogLevel(logging.WARNING)
    token_ids: list[int] = []
    word_starts: list[bool] = []
    clause_starts: list[int] = []
    for line in document:
        for clause in CLAUSE.findall(line):
            start = len(token_ids)
            for word in jieba.cut(clause):
                pieces = tokenize(word)
                token_ids += pieces
                word_starts += [position == 0 for position in range(len(pieces))]
            if len(token_ids) > start:
                clause_starts.append(start)
    token_dtype = np.min_scalar_type(max(token_ids, default=0))
    return np.asarray(token_ids, token_dtype), np.asarray(word_starts, bool), np.asarray(clause_starts, np.int64)
