r"""PET: a masked language model fills in the label's word; the likeliest word answers.

A row goes into a pattern with as many [MASK] as a word has tokens (TNEWS: 下面报导一则[MASK][MASK]新闻。…). All of them
are filled in one pass, and a label's score is the sum of the log-probabilities of its word's tokens. Patterns and words
are the dataset card's: FewCLUE's own, but with a word of its own for every label (--words fewclue-pet takes the
published words, of which some stand for two labels; the accuracy is then also counted with those as one).

Published by FewCLUE with RoBERTa-wwm-ext, test_public: EPRSTMT 85.2, TNEWS 25.3 or 26.1, OCNLI 40.3, ChID 57.6
(datasets/published_results.yaml has all, and what to know before a comparison). To compare:

  python baselines/pet.py --model hfl-roberta-wwm-ext --output results

--train trains on FewCLUE's training sets, a run each, at its rates (Adam, 16 rows a step, 20 epochs); the epoch is
chosen on dev_i, where FewCLUE's code looks at all five dev sets. Published, the mean of five runs with its standard
deviation: EPRSTMT 86.7 (1.0), TNEWS 54.5 (1.2), CSL 59.4 (1.3).

  python baselines/pet.py --dataset eprstmt --train 0 1 2 3 4 --output results

Cost: one sequence a row, where NSP-BERT takes one for every label: with the 15 of TNEWS 11.6 times as many rows a
second (benchmarks/README.md). The checkpoint needs an MLM head that works: models/check.py NAME tells, and where it is
at chance so does the run.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

from dataclasses import replace

from nsp_bert.cli import make_parser, parse_options
from nsp_bert.method_options import add_pattern_options, add_training_options
from nsp_bert.method_prompts import PatternChoice, PatternPrompt
from nsp_bert.methods.few_shot import few_shot_run
from nsp_bert.methods.language import LanguageCard, MaskedTask, make_task, with_shared_words
from nsp_bert.methods.masked_few_shot import MaskedFewShot
from nsp_bert.methods.scored import score_task, settled_run
from nsp_bert.options import Method, Options, Recipe, Recipes
from nsp_bert.results.published import paper_number
from nsp_bert.results.runs import Run
from nsp_bert.runner import Runner
from nsp_bert.session import Session
from nsp_bert.terminal import run_main
from utils import load_few_shot, load_rows

RECIPES = Recipes(
    Recipe(epochs=20, learning_rate=1e-5, step_rows=16),
    {
        "tnews": {"epochs": 5},
        "iflytek": {"epochs": 6},
        "ocnli": {"learning_rate": 3e-5},
        "bustm": {"learning_rate": 3e-5},
        "cluewsc": {"learning_rate": 3e-5, "step_rows": 8},
    },
)
PET = Method("pet", ("encoder", "MLM"), "masked")
FEW_SHOT = replace(PET, recipes=RECIPES)


def main(arguments: list[str] | None) -> int:
    parser = make_parser(__doc__, LanguageCard, add_prompt=add_pattern_options)
    add_training_options(parser, RECIPES, train=())
    return run(parse_options(parser.parse_args(arguments)))


def run(options: Options) -> int:
    method, choice = FEW_SHOT if options.train else PET, PatternChoice("cloze", options.words)
    with Runner[LanguageCard, PatternPrompt](options, LanguageCard, __file__, method, choice) as runner:
        for session in runner:
            runner.add(session, few_shot(session) if session.train else zero_shot(session))
        return runner.finish()


def zero_shot(session: Session[LanguageCard, PatternPrompt]) -> Run:
    task = make_task(MaskedTask, session, load_rows(session))
    published = paper_number(session.card.name, session.published_model, session.split, method="pet_zero")
    return with_shared_words(settled_run(task, session, score_task(task, session), published), session)


def few_shot(session: Session[LanguageCard, PatternPrompt]) -> Run:
    return with_shared_words(few_shot_run(session, MaskedFewShot(), load_few_shot(session)), session)


if __name__ == "__main__":
    run_main(main)
