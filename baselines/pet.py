r"""PET zero-shot: a masked language model fills in the label's word; the likeliest word answers.

A row goes into a pattern with as many [MASK] as a word has tokens (TNEWS: 下面报导一则[MASK][MASK]新闻。…). All of them
are filled in one pass, and a label's score is the sum of the log-probabilities of its word's tokens. Patterns and words
are the dataset card's: FewCLUE's own, but with a word of its own for every label (--words fewclue-pet takes the
published words, of which some stand for two labels; the accuracy is then also counted with those as one).

Published by FewCLUE with RoBERTa-wwm-ext, test_public: EPRSTMT 85.2, TNEWS 25.3 or 26.1, OCNLI 40.3, ChID 57.6
(datasets/published_results.yaml has all, and what to know before a comparison). To compare:

  python baselines/pet.py --model hfl-roberta-wwm-ext --output results

Cost: one sequence a row, where NSP-BERT takes one for every label: with the 15 of TNEWS 11.6 times as many rows a
second (benchmarks/README.md). The checkpoint needs an MLM head that works: models/check.py NAME tells, and where it is
at chance so does the run.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

from nsp_bert.cli import make_parser, parse_options
from nsp_bert.method_options import add_pattern_options
from nsp_bert.methods.language import LanguageCard, MaskedTask, make_task, with_shared_words
from nsp_bert.methods.scored import score_task, settled_run
from nsp_bert.options import Method, Options
from nsp_bert.patterns import PatternChoice, PatternPrompt
from nsp_bert.results.published import paper_number
from nsp_bert.runner import Runner
from nsp_bert.terminal import run_main
from utils import load_examples

PET = Method("pet", ("encoder", "MLM"), "masked")


def main(arguments: list[str] | None) -> int:
    return run(parse_options(make_parser(__doc__, LanguageCard, add_prompt=add_pattern_options).parse_args(arguments)))


def run(options: Options) -> int:
    choice = PatternChoice("cloze", options.words)
    with Runner[LanguageCard, PatternPrompt](options, LanguageCard, __file__, PET, choice) as runner:
        for session in runner:
            rows = session.selection.choose(load_examples(session.card, session.folder, session.split))
            task = make_task(MaskedTask, session, rows)
            published = paper_number(session.card.name, session.published_model, session.split, method="pet_zero")
            scored = settled_run(task, session, score_task(task, session), published)
            runner.add(session, with_shared_words(scored, task))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
