"""FewCLUE's patterns for PET and GPT, spelled out by hand, and rows in them by Hugging Face's tokenizer.

Nothing is read from the patterns of the dataset cards, nor are the words and their labels but for the long lists. As
with ours, and unlike in FewCLUE's code, PET keeps the spaces of ChID's texts and GPT cuts CSL's abstracts to the limit,
not to 300 characters; the text is cut, never the words around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hugging_face_models import causal_scores, masked_scores
from torch import Tensor
from transformers import BertForMaskedLM, BertLMHeadModel, BertTokenizer

Card = Row = dict[str, Any]
BLANK = "#idiom#"
MASK = "[MASK]"


class Prompt(NamedTuple):
    """What is before the text that may be cut at its right end, that text, what is after it."""

    before: str
    text: str = ""
    after: str = ""


class Pattern(NamedTuple):
    """`fill` puts a word into a row's pattern. `words` are those of the labels, or a set of the card's of that name.

    A row with its [CLS] and [SEP] has `max_length` tokens at most.
    """

    fill: Callable[[Row, str], Prompt]
    words: dict[str, str] | str = ""
    max_length: int = 128

    def labels(self, card: Card) -> dict[str, str]:
        """Return label -> word in the order of the scores; none for a row with candidates of its own."""
        return word_set(card, self.words) if isinstance(self.words, str) else self.words


def word_set(card: Card, name: str) -> dict[str, str]:
    """Return label -> word of a set of the card's."""
    if not name:
        return {}
    if name == "card":
        return dict(card["labels"])
    chosen = card["words"][name]
    both = word_set(card, chosen.get("like", "")) | chosen["words"]
    return {label: both[label] for label in card["labels"]}


CLOZE = {
    "eprstmt": Pattern(
        lambda row, word: Prompt(f"{word}满意。", row["sentence"]), {"Positive": "很", "Negative": "不"}
    ),
    "csldcp": Pattern(lambda row, word: Prompt(f"这篇{word}论文阐述了", row["content"]), "short"),
    "tnews": Pattern(lambda row, word: Prompt(f"下面报导一则{word}新闻。", row["sentence"]), "short"),
    "iflytek": Pattern(lambda row, word: Prompt(f"做为一款{word}应用，", row["sentence"]), "short"),
    "ocnli": Pattern(
        lambda row, word: Prompt(f"{row['sentence1']}？{word},{row['sentence2']}"),
        {"contradiction": "不是", "neutral": "并且", "entailment": "是的"},
        256,
    ),
    "bustm": Pattern(
        lambda row, word: Prompt(f"{row['sentence1']}和{row['sentence2']}意思{word}同"), {"0": "不", "1": "相"}
    ),
    "csl": Pattern(
        lambda row, word: Prompt(f"{word}用{'，'.join(row['keyword'])}概括", row["abst"]),
        {"0": "不能", "1": "可以"},
        256,
    ),
    "chid": Pattern(lambda row, word: Prompt(row["content"].replace(BLANK, word))),
    "cluewsc": Pattern(
        lambda row, word: Prompt(f"{row['target']['span2_text']}{word}{row['target']['span1_text']}，", row["text"]),
        {"false": "非", "true": "即"},
        256,
    ),
}

CAUSAL = {
    "eprstmt": Pattern(
        lambda row, word: Prompt("", row["sentence"], f"这句话的情感是{word}"),
        {"Positive": "很满意", "Negative": "不满意"},
    ),
    "csldcp": Pattern(lambda row, word: Prompt("", row["content"], f"这段描述的学科是{word}"), "fewclue-gpt"),
    "tnews": Pattern(lambda row, word: Prompt("", row["sentence"], f"这段内容是关于{word}"), "short"),
    "iflytek": Pattern(lambda row, word: Prompt("", row["sentence"], f"这段内容是关于{word}"), "short", 384),
    "ocnli": Pattern(
        lambda row, word: Prompt(f"。句子一：{row['sentence1']}；句子二：{row['sentence2']}这两句话的语义是{word}"),
        {"contradiction": "矛盾", "neutral": "中立", "entailment": "包含"},
    ),
    "bustm": Pattern(
        lambda row, word: Prompt(
            f"第一个句子是：{row['sentence1']}；另外一个句子是：{row['sentence2']}这两句话的语义是{word}"
        ),
        {"0": "反", "1": "正"},
        80,
    ),
    "csl": Pattern(
        lambda row, word: Prompt("", row["abst"], f"与下面的关键词：{','.join(row['keyword'])}，{word}"),
        {"0": "不相关", "1": "很相关"},
        384,
    ),
    "chid": Pattern(lambda row, word: Prompt(row["content"].replace(BLANK, word)), max_length=180),
    "cluewsc": Pattern(
        lambda row, word: Prompt(
            "", row["text"], f"其中{row['target']['span2_text']}是{row['target']['span1_text']},这是{word}"
        ),
        {"false": "错误", "true": "正确"},
        256,
    ),
}


def encode(tokenizer: BertTokenizer, prompt: Prompt, max_length: int) -> list[int]:
    """Return [CLS] prompt [SEP], the text cut at its right end where it is too long.

    No token ids where less than half of the limit stays of the text: others may then rightly cut something else.
    """
    token_ids = tokenizer("".join(prompt))["input_ids"]
    surplus = len(token_ids) - max_length
    if surplus <= 0:
        return token_ids
    end = len(tokenizer(prompt.before + prompt.text)["input_ids"]) - 1
    stays = end - surplus - len(tokenizer(prompt.before)["input_ids"]) + 1
    return token_ids[: end - surplus] + token_ids[end:] if stays >= max_length // 2 else []


def pet_scores(
    model: BertForMaskedLM, tokenizer: BertTokenizer, pattern: Pattern, card: Card, row: Row
) -> Tensor | None:
    """Return the scores of a row's words (C,), one pass with [MASK] in their place; none where it is too long."""
    texts = row.get("candidates") or [*pattern.labels(card).values()]
    words = tokenizer(texts, add_special_tokens=False)["input_ids"]
    token_ids = encode(tokenizer, pattern.fill(row, MASK * len(words[0])), pattern.max_length)
    return masked_scores(model, token_ids, tokenizer.mask_token_id, words) if token_ids else None


def gpt_scores(
    model: BertLMHeadModel, tokenizer: BertTokenizer, pattern: Pattern, card: Card, row: Row
) -> Tensor | None:
    """Return the scores of a row's words (C,), each after what is before it; none where the row is too long.

    A label's word is the end, without [SEP]; of a candidate for a blank all that follows counts as well, [SEP] too.
    """
    texts = row.get("candidates") or [*pattern.labels(card).values()]
    rows = [encode(tokenizer, pattern.fill(row, text), pattern.max_length) for text in texts]
    if not all(rows):
        return None
    if "candidates" in row:
        behind = row["content"].split(BLANK)[1]
        asked = len(tokenizer(texts[0] + behind)["input_ids"]) - 1
    else:
        rows = [token_ids[:-1] for token_ids in rows]
        asked = len(tokenizer(texts[0])["input_ids"]) - 2
    return causal_scores(model, rows, asked)
