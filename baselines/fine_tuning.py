r"""Plain fine-tuning: a classifier on the pooled [CLS], and the whole encoder with it, trained on a few rows.

The baseline that every prompt has to beat (BERT, section 4.1). A row is read as it is: the text alone, the two
sentences of a pair, of CSL the keywords and then the abstract, of CLUEWSC the text with _span_ and [pronoun] marked.
FewCLUE has no code for ChID; ours puts each idiom in the blank's place, gives each of these texts one logit, and lets
the seven compete. The training sets train_0 to train_4 give a run each: the epoch is chosen on dev_i, the best one
reports the split, and the table ends with the mean and the standard deviation of the five.

Optimiser and rates are those of FewCLUE's script: AdamW, 2e-5, decay 0.01, a tenth of the steps to warm up, then
linear decay, 32 rows a step, 128 tokens a row; gradients are clipped to 1, as BERT's own code does. Its 3 epochs are 3
steps on a set of 32 rows. Ours are 10 epochs, on these sets with 8 rows a step as Prompts4Keras has it: 40 steps.
The second command below trains as FewCLUE's script does.

Published by FewCLUE with Google's BERT, a single run: EPRSTMT 61.9, TNEWS 40.5, OCNLI 33.6, CSL 50.5
(datasets/published_results.yaml has all). How long these were trained is not said, so they are never beside ours.

  python baselines/fine_tuning.py --dataset eprstmt --output results
  python baselines/fine_tuning.py --dataset ocnli --train 0 --epochs 3 \
    --step-rows 32 --save trained

Cost: each epoch passes once over the rows, forward and back; ChID seven times.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

from nsp_bert.cli import make_parser, parse_options
from nsp_bert.method_options import add_training_options
from nsp_bert.method_prompts import PlainChoice
from nsp_bert.methods.classifier import FineTuning
from nsp_bert.methods.few_shot import few_shot_run
from nsp_bert.methods.language import LanguageCard
from nsp_bert.options import Method, Options, Recipe, Recipes
from nsp_bert.prompts import PlainPrompt
from nsp_bert.runner import Runner
from nsp_bert.terminal import run_main
from utils import load_few_shot

FEWCLUE = Recipe(
    learning_rate=2e-5, step_rows=32, step_pairs=256, weight_decay=0.01, warmup=0.1, decay=True, clip_norm=1.0
)
SMALL = ("eprstmt", "ocnli", "bustm", "csl", "chid", "cluewsc")  # 32 training rows, ChID 42
RECIPES = Recipes(FEWCLUE, {name: {"step_rows": 8} for name in SMALL})
FINE_TUNING = Method("fine_tuning", ("encoder", "pooler"), "classes", RECIPES)


def main(arguments: list[str] | None) -> int:
    parser = make_parser(__doc__, LanguageCard)
    add_training_options(parser, RECIPES)
    return run(parse_options(parser.parse_args(arguments)))


def run(options: Options) -> int:
    with Runner[LanguageCard, PlainPrompt](options, LanguageCard, __file__, FINE_TUNING, PlainChoice()) as runner:
        for session in runner:
            runner.add(session, few_shot_run(session, FineTuning(), load_few_shot(session)))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
