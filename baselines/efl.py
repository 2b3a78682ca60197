r"""EFL: does a text entail the description of a label? A classifier on the pooled [CLS] learns to tell.

A row goes in as its text and, for each label, what is said of it (TNEWS: 下面报道一条体育新闻); the label whose
description has the best logit answers. OCNLI, BUSTM, CSL and CLUEWSC are two texts already and have a class a label;
ChID's idioms have a description each. Descriptions and words are the dataset card's: FewCLUE's own, with a word of its
own for every label.

--ratio: how many wrong pairs of each description there are for a right one, drawn once; a set with few labels may not
have as many. Optimiser and rates are those of FewCLUE's code: AdamW, 2e-5, decay 0.01, a tenth of the steps to warm up,
then linear decay, clipping to 1, 4 pairs a step. Its layer has two classes, of which the logit of one answers; ours
has one logit, the difference of the two, by which labels may rank otherwise.

Published by FewCLUE, the mean of five runs, from an encoder that was first trained on all of OCNLI or CMNLI: EPRSTMT
84.9, TNEWS 52.1, OCNLI 66.2, BUSTM 71.8; without that training, 1:8: TNEWS 53.0, OCNLI 33.4, BUSTM 62.9. Ours starts
from the checkpoint as it is. docs/results.md says how to train one on your NLI file first.

  python baselines/efl.py --dataset eprstmt --output results
  python baselines/efl.py --dataset tnews --train 0 --ratio 1

Cost: an epoch passes over rows x (1 + ratio), forward and back; scoring over rows x labels, as NSP-BERT's.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

from nsp_bert.cli import make_parser, parse_options
from nsp_bert.method_options import add_pattern_options, add_training_options
from nsp_bert.method_prompts import PatternChoice, PatternPrompt
from nsp_bert.methods.entailment import Entailment
from nsp_bert.methods.few_shot import few_shot_run
from nsp_bert.methods.language import LanguageCard
from nsp_bert.options import Method, Options, Recipe, Recipes
from nsp_bert.runner import Runner
from nsp_bert.terminal import run_main
from utils import load_few_shot

RECIPES = Recipes(
    Recipe(
        learning_rate=2e-5, step_rows=4, weight_decay=0.01, warmup=0.1, decay=True, clip_norm=1.0, ratio="8", epochs=10
    ),
    {"csldcp": {"epochs": 8}, "tnews": {"epochs": 5}, "iflytek": {"epochs": 5, "step_rows": 16}},
)
EFL = Method("efl", ("encoder", "pooler"), "classes", RECIPES)


def main(arguments: list[str] | None) -> int:
    parser = make_parser(__doc__, LanguageCard, add_prompt=add_pattern_options)
    group = add_training_options(parser, RECIPES)
    group.add_argument(
        "--ratio",
        choices=("1", "8", "all"),
        help=f"wrong pairs of a label's description for each right one (default: {RECIPES.base.ratio})",
    )
    return run(parse_options(parser.parse_args(arguments)))


def run(options: Options) -> int:
    choice = PatternChoice("entailment", options.words)
    with Runner[LanguageCard, PatternPrompt](options, LanguageCard, __file__, EFL, choice) as runner:
        for session in runner:
            runner.add(session, few_shot_run(session, Entailment(), load_few_shot(session)))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
