r"""TCBert's prompt, fine-tuned: a sentence about a topic whose masked word the language model fills in.

A row is put into a sentence with [MASK] in the topic's place (TNEWS: 下面是一则关于[MASK][MASK]的新闻：…). Two losses
are added up, as in the makers' code: cross-entropy of the tokens of the label's word at the masks, nothing else being
masked, and cross-entropy over the labels of a new linear layer on [CLS], without the pooler. Their card does not say
how a label is predicted; ours is the one of the likeliest word. Their code takes the linear layer: --predict linear.

Published by TCBert's makers for their checkpoints, prompt 1: TNEWS 55.57, CSLDCP 58.60, IFLYTEK 49.63 (110 M,
Classification; datasets/published_results.yaml has all). Which rows these were trained and measured on is not said, so
they are never beside ours.

  python baselines/tcbert.py --model erlangshen-tcbert-110m --dataset tnews \
    --output results
  python baselines/tcbert.py --dataset iflytek --train 0 --prompt 2 \
    --predict linear

AdamW, 2e-5, decay 0.1, 1 % of the steps to warm up, 4 rows a step, 5 epochs, as in the makers' example; the README
beside it has 3 epochs of a row a step. Its linear decay reckons with more steps than there are, so that the rate hardly
falls; ours falls to 0. Texts are cut to the card's length, there to 512 tokens: --max-length 512.

Cost: each epoch passes once over the rows, forward and back.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

from dataclasses import replace
from functools import partial

from nsp_bert.cards import ClassificationCard
from nsp_bert.cli import make_parser, parse_options
from nsp_bert.method_options import add_filled_topic_options, add_training_options
from nsp_bert.method_prompts import FilledTopicPrompt, TopicChoice
from nsp_bert.methods.few_shot import few_shot_run
from nsp_bert.methods.label_words import TopicFewShot
from nsp_bert.options import Method, Options, Recipe, Recipes
from nsp_bert.runner import Runner
from nsp_bert.terminal import run_main
from utils import load_few_shot

RECIPES = Recipes(Recipe(epochs=5, learning_rate=2e-5, step_rows=4, weight_decay=0.1, warmup=0.01, decay=True))
TCBERT = Method("tcbert", ("encoder", "MLM"), "masked", RECIPES)


def main(arguments: list[str] | None) -> int:
    parser = make_parser(__doc__, ClassificationCard, add_prompt=add_filled_topic_options)
    add_training_options(parser, RECIPES)
    return run(parse_options(parser.parse_args(arguments)))


def run(options: Options) -> int:
    method = replace(TCBERT, output="classes") if options.predict == "linear" else TCBERT
    choice = TopicChoice(int(options.topic), partial(FilledTopicPrompt, predict=options.predict))
    with Runner(options, ClassificationCard, __file__, method, choice) as runner:
        for session in runner:
            runner.add(session, few_shot_run(session, TopicFewShot(), load_few_shot(session)))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
