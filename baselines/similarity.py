r"""Similarity of sentences, as TCBert's card compares checkpoints: the label of the nearest training rows.

A row is put into a sentence with [MASK] in the topic's place (TNEWS: 下面是一则关于[MASK][MASK]的新闻：…), a training
row is taken as it is. The vectors of both are means of the last layer over all tokens, and the label whose training row
has the largest cosine answers. Nothing is trained, but labelled rows are needed: those of train_0.json to train_4.json,
a run each, and the mean of the five is what to report. --whitening fits principal components on the texts of both,
without labels.

Published by TCBert's makers for their checkpoints, prompt 1: TNEWS 48.61, whitened 51.99; CSLDCP 43.31, 45.15;
IFLYTEK 33.45, 37.28 (110 M, Classification). Their card does not say which training rows these were made with, nor
whether the nearest row or a mean of rows answers; so they are shown below our table as context, never as a comparison.

  python baselines/similarity.py --model erlangshen-tcbert-110m --whitening \
    --output results

Cost: one sequence for every row and every training row. Any BERT will do: only the encoder is needed.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

from functools import partial

from nsp_bert.cards import ClassificationCard
from nsp_bert.cli import make_parser, parse_options
from nsp_bert.method_options import add_topic_options
from nsp_bert.method_prompts import SimilarityPrompt, TopicChoice
from nsp_bert.methods.similarity import compare_runs, make_task
from nsp_bert.options import Method, Options
from nsp_bert.runner import Runner
from nsp_bert.terminal import run_main
from utils import load_rows, load_training

SIMILARITY = Method("similarity", ("encoder",), "mean")


def main(arguments: list[str] | None) -> int:
    parser = make_parser(__doc__, ClassificationCard, add_prompt=add_topic_options)
    return run(parse_options(parser.parse_args(arguments)))


def run(options: Options) -> int:
    number = None if options.topic == "none" else int(options.topic)
    make = partial(SimilarityPrompt, reference=options.reference, whitening=options.whitening)
    choice = TopicChoice(number, make)
    with Runner(options, ClassificationCard, __file__, SIMILARITY, choice) as runner:
        for session in runner:
            training = {train: load_training(session.card, session.folder, train) for train in options.train}
            runner.add(session, *compare_runs(make_task(session, load_rows(session), training), session))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
