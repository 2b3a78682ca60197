"""The vocabulary of a checkpoint: `vocab.txt`, or what Hugging Face's `tokenizer.json` holds in its place."""

from __future__ import annotations

from pathlib import Path

from nsp_bert.errors import UserError
from nsp_bert.files import parse_json

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FETCH_AGAIN = "fetch the model again"


def load_vocabulary(vocab_path: Path) -> dict[str, int]:
    """Return token -> id of a `vocab.txt`, one token a line (LF or CRLF), the id being the line's index."""
    try:
        lines = vocab_path.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{vocab_path}: cannot be read ({error.strerror}); a checkpoint folder needs it") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{vocab_path}: not UTF-8 ({error.reason}); fetch the vocabulary again") from error
    if lines[-1] == "":
        lines.pop()
    vocabulary = {line.strip(): index for index, line in enumerate(lines)}
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise UserError(f"{vocab_path}: no {', '.join(missing)} among its {len(lines)} lines; is it a BERT vocabulary?")
    return vocabulary


def tokens_of_tokenizer(folder: Path) -> list[str]:
    """Return the tokens of a folder's `tokenizer.json`, by their ids: what Transformers saves without a vocab.txt.

    Raises UserError where it is not there, or is not the WordPiece tokenizer of a BERT.
    """
    path = folder / "tokenizer.json"
    try:
        tokenizer = parse_json(path.read_text(encoding="utf-8"), str(path), FETCH_AGAIN)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{folder}: no vocab.txt, and no tokenizer.json that can be read; give --vocab FILE") from error
    model = tokenizer.get("model") if isinstance(tokenizer, dict) else None
    ids = model.get("vocab") if isinstance(model, dict) and model.get("type") == "WordPiece" else None
    if not isinstance(ids, dict) or set(ids.values()) != set(range(len(ids))):
        raise UserError(f"{path}: not the WordPiece tokenizer of a BERT; give --vocab FILE")
    return sorted(ids, key=ids.__getitem__)
