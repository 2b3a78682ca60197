r"""Few-shot NSP-BERT: the NSP head goes on training on a few rows, which the paper leaves to future work.

The prompts are those of the zero-shot scripts. Every candidate's pair is told to be next or not (--loss bce; softmax:
the candidates of a row compete), all of them or --negatives N wrong ones a row. The training sets train_0 to train_4
give a run each: the epoch is chosen on dev_i, the best one reports the split, and the table ends with the mean and
the standard deviation of the five.

Prompts4Keras trains the four classification sets like that (its rates: Adam, 1e-5, 10 epochs, 8 rows a step, one for
CSLDCP and IFLYTEK). Sentence pairs, coreference and ChID are ours: OCNLI, BUSTM, CSL and CLUEWSC train one pair a row
towards the place of its label and fit thresholds on the training rows, ChID trains its seven pairs. No published number
is known for this checkpoint and protocol.

  python nsp_bert_few_shot.py --dataset eprstmt --output results
  python nsp_bert_few_shot.py --dataset tnews --train 0 --save trained

Cost: each epoch passes over rows x labels, forward and back: TNEWS 36,000 pairs a training set, IFLYTEK 1.1 million.
"""

from __future__ import annotations

import nsp_bert.start  # noqa: F401

from nsp_bert.cli import add_prompt_choice, make_parser, parse_options, positive
from nsp_bert.method_options import add_training_options
from nsp_bert.methods.few_shot import few_shot_run
from nsp_bert.methods.nsp_few_shot import FewShotCard, NspFewShot
from nsp_bert.options import Method, Options, Recipe, Recipes
from nsp_bert.prompts import Prompt
from nsp_bert.results.summary import NSP_FEW_SHOT
from nsp_bert.runner import Runner
from nsp_bert.terminal import run_main
from utils import load_few_shot

RECIPES = Recipes(Recipe(loss="bce"))
FEW_SHOT = Method(NSP_FEW_SHOT, ("encoder", "pooler", "NSP"), "next-sentence", RECIPES)


def main(arguments: list[str] | None) -> int:
    parser = make_parser(__doc__, FewShotCard, add_prompt=add_prompt_choice)
    group = add_training_options(parser, RECIPES)
    group.add_argument(
        "--loss", choices=("bce", "softmax"), help="of each pair, or of a row's candidates together (default: bce)"
    )
    group.add_argument(
        "--negatives",
        type=positive,
        metavar="N",
        help="wrong candidates of a row, drawn anew each epoch (default: all)",
    )
    return run(parse_options(parser.parse_args(arguments)))


def run(options: Options) -> int:
    with Runner[FewShotCard, Prompt](options, FewShotCard, __file__, FEW_SHOT) as runner:
        for session in runner:
            runner.add(session, few_shot_run(session, NspFewShot(), load_few_shot(session)))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
