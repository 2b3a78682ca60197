"""What a task scores -> encoded pairs: prompt and text, in the order of the candidates (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from nsp_bert.cards import Position
from nsp_bert.checkpoints.checkpoint import SPECIALS_PER_PAIR
from nsp_bert.contents import Cloze, Mention, Question, SentencePair
from nsp_bert.tokenization import EncodedPair, PairEncoder, Part


def encode_label_pairs(
    encoder: PairEncoder, texts: Iterable[str], prompts: Sequence[str], position: Position
) -> Iterator[EncodedPair]:
    """Yield len(texts) * len(prompts) pairs, all prompts of a text in turn; each text and prompt is tokenised once.

    `prefix` puts the prompt first, `suffix` the text (paper, section 3). A text may be cut at its right end.
    """
    prompt_parts = [[encoder.part(prompt)] for prompt in prompts]
    for text in texts:
        text_part = [encoder.part(text, "right")]
        for prompt_part in prompt_parts:
            yield encoder.encode(*_in_order(prompt_part, text_part, position))


def encode_sentence_pairs(
    encoder: PairEncoder, pairs: Iterable[SentencePair], position: Position, protect_prompt: bool
) -> Iterator[EncodedPair]:
    """Yield a pair each; both sentences may be cut at their right end, the longer first, a protected prompt never."""
    for pair in pairs:
        prompt = [encoder.part(pair.prompt, None if protect_prompt else "right")]
        yield encoder.encode(*_in_order(prompt, [encoder.part(pair.text, "right")], position))


def encode_mentions(
    encoder: PairEncoder, mentions: Iterable[Mention], template: str, position: Position, stages: int
) -> Iterator[EncodedPair]:
    """Yield a pair each: does the pronoun mean the span (paper, section 3.2.2)?

    Two stages: the text with the first prompt about the pronoun is one segment, the span the other. One stage: the
    text is one segment, prompt and span the other. Of a long text the stretch between pronoun and span stays longest.
    """
    for mention in mentions:
        question, span = encoder.part(template.replace("{}", mention.pronoun)), encoder.part(mention.span)
        start = min(mention.span_offset, mention.pronoun_offset)
        end = max(mention.span_offset + len(mention.span), mention.pronoun_offset + len(mention.pronoun))
        room = encoder.max_length - SPECIALS_PER_PAIR - len(question.token_ids) - len(span.token_ids)
        text = _around(encoder, mention.text, start, end, room)
        first, second = ([*text, question], [span]) if stages == 2 else (text, [question, span])
        yield encoder.encode(*_in_order(second, first, position))


def _around(encoder: PairEncoder, text: str, start: int, end: int, room: int) -> list[Part]:
    """Return a text whole where it fits into `room` tokens; else what stands before, between and after two offsets.

    The middle is protected unless it alone takes more than half of the room.
    """
    whole = encoder.part(text)
    if len(whole.token_ids) <= room:
        return [whole]
    middle = encoder.part(text[start:end])
    cut = Part(middle.token_ids, "left") if len(middle.token_ids) > room // 2 else middle
    return [encoder.part(text[:start], "left"), cut, encoder.part(text[end:], "right")]


def encode_entity_mentions(
    encoder: PairEncoder, questions: Iterable[Question], template: str, position: Position, stages: int
) -> Iterator[EncodedPair]:
    """Yield a pair per candidate, all candidates of a mention in turn (paper, section 3.2.2).

    A description is a prompt with `{}` and what stands in it, which may be cut at its right end. Two stages: the
    text with the first prompt about the mention is one segment, the description the other. One stage leaves that
    prompt out, as the authors' release does.
    """
    for question in questions:
        mention = question.mention
        end = mention.offset + len(mention.name)
        text = _around(encoder, mention.text, mention.offset, end, encoder.max_length // 2)
        if stages == 2:
            text = [*text, encoder.part(template.replace("{}", mention.name))]
        for prompt, filler in question.descriptions:
            head, tail = prompt.split("{}")
            description = [encoder.part(head), encoder.part(filler, "right"), encoder.part(tail)]
            yield encoder.encode(*_in_order(description, text, position))


def encode_clozes(
    encoder: PairEncoder, clozes: Iterable[Cloze], blank: str, position: Position, soft: bool
) -> Iterator[EncodedPair]:
    """Yield a pair per candidate, all candidates of a text in turn; a long text keeps a window around the blank.

    Soft positions: the blank leaves the text and the candidate takes its position ids (paper, section 3.2.3). Hard
    positions: the blank stays as the data spell it and positions count on.
    """
    mark = encoder.part(blank)
    for cloze in clozes:
        before, after = encoder.part(cloze.before, "left"), encoder.part(cloze.after, "right")
        for word in cloze.candidates:
            candidate = encoder.part(word)
            if soft:
                yield _soft_cloze(encoder, before, after, candidate, position)
            else:
                yield encoder.encode(*_in_order([candidate], [before, mark, after], position))


def _soft_cloze(encoder: PairEncoder, before: Part, after: Part, candidate: Part, position: Position) -> EncodedPair:
    """Return the pair whose candidate has the position ids that the blank would have had.

    For the text a _ b (one token each), the candidate c and a suffix: the tokens [CLS] a b [SEP] c [SEP] have the
    positions 0 1 3 4 2 5; c reads as if it stood between a and b. With a prefix, [CLS] c [SEP] a b [SEP] have
    0 3 1 2 4 5: the first [SEP] takes position 1, and the text goes on from there.
    """
    left, word, right = encoder.fit([before, candidate, after])
    start = 1 if position == "suffix" else 2  # with a prefix, the candidate's [SEP] has position 1
    places = range(start, start + len(left) + len(word) + len(right))
    blank = places[len(left) : len(left) + len(word)]
    text_places = [*places[: len(left)], *places[len(left) + len(word) :]]
    end = places.stop
    if position == "suffix":
        token_ids = [encoder.cls_id, *left, *right, encoder.sep_id, *word, encoder.sep_id]
        return EncodedPair(token_ids, len(left) + len(right) + 2, [0, *text_places, end, *blank, end + 1])
    token_ids = [encoder.cls_id, *word, encoder.sep_id, *left, *right, encoder.sep_id]
    return EncodedPair(token_ids, len(word) + 2, [0, *blank, 1, *text_places, end])


def _in_order(prompt: list[Part], text: list[Part], position: Position) -> tuple[list[Part], list[Part]]:
    return (prompt, text) if position == "prefix" else (text, prompt)
