r"""GPT zero-shot: a causal language model goes on with the label's word; the likeliest word answers.

A row is followed by the beginning of a statement about it (TNEWS: …这段内容是关于), and a label's score is the sum of
the log-probabilities of its word's tokens, each after those before it. For ChID the idiom stands in its place, and all
that follows counts as well. Patterns and words are the dataset card's, FewCLUE's own. Of a row that is too long the
text is cut; FewCLUE's code cuts off the end, which is the statement: in 78 % of CSLDCP's rows and 29 % of IFLYTEK's its
model never saw the question.

The model is a BERT under a causal mask, without segments, with its MLM head one place further: NEZHA-Gen, which FewCLUE
calls GPT. Other checkpoints can be run, but were trained to see both sides; where they are at chance without what
follows, the run says so. Published by FewCLUE, test_public: TNEWS 37.0, OCNLI 34.4, CSL 50.1
(datasets/published_results.yaml has all, and what to know before a comparison).

  python baselines/gpt.py --model nezha-gen --output results

Cost: one sequence for every label, as NSP-BERT.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

from nsp_bert.cli import make_parser, parse_options
from nsp_bert.method_options import add_pattern_options
from nsp_bert.method_prompts import PatternChoice, PatternPrompt
from nsp_bert.methods.language import CausalTask, LanguageCard, make_task, with_shared_words
from nsp_bert.methods.scored import score_task, settled_run
from nsp_bert.options import Method, Options
from nsp_bert.results.published import paper_number
from nsp_bert.runner import Runner
from nsp_bert.terminal import run_main
from utils import load_rows

GPT = Method("gpt", ("encoder", "MLM"), "causal")


def main(arguments: list[str] | None) -> int:
    return run(parse_options(make_parser(__doc__, LanguageCard, add_prompt=add_pattern_options).parse_args(arguments)))


def run(options: Options) -> int:
    choice = PatternChoice("causal", options.words)
    with Runner[LanguageCard, PatternPrompt](options, LanguageCard, __file__, GPT, choice) as runner:
        for session in runner:
            task = make_task(CausalTask, session, load_rows(session))
            published = paper_number(session.card.name, session.published_model, session.split, method="gpt_zero")
            scored = settled_run(task, session, score_task(task, session), published)
            runner.add(session, with_shared_words(scored, session))
        return runner.finish()


if __name__ == "__main__":
    run_main(main)
