r"""P-tuning: the prompt is soft tokens, whose embeddings are trained; a language model fills in the label.

A row goes into the card's pattern with {soft:N} (TNEWS: [MASK][MASK], eight soft tokens, the text), which is the place
and the number of tokens that no vocabulary has. Their embeddings come out of a two-layer LSTM in both directions and a
two-layer MLP (--encoder none: out of a plain table) and take the place of word embeddings, as in the paper (--insert
after: they overwrite what is there after position, segment and normalisation, as in FewCLUE's code). Once trained, the
encoder is thrown away. The model is trained with them (--freeze: it is not). The loss is PET's, but soft tokens are
never masked, replaced or asked for. The epoch is chosen on dev_i; the report shows the words nearest to each token.

Rates are FewCLUE's (Adam, 3e-5) and so is the number of steps, but dev is looked at after each pass over the rows.
Published by FewCLUE with RoBERTa-wwm-ext and --insert after, the mean of five runs: EPRSTMT 88.3, OCNLI 41.9, BUSTM
60.9, CSL 62.9 (datasets/published_results.yaml has all; TNEWS and IFLYTEK leave out labels, so they compare with none).
FewCLUE's older variant with plain embeddings is the second command, but for its tied output layer: EPRSTMT 88.5.

  python baselines/p_tuning.py --dataset eprstmt --insert after --output results
  python baselines/p_tuning.py --dataset eprstmt --encoder none --freeze \
    --learning-rate 6e-4 --save prompts

--save DIR keeps the soft tokens as DIR/DATASET.train_I.prompt.npz, a small file for --prompt, and the checkpoint unless
it is frozen: --model is then DIR/DATASET.train_I.

--head causal is for a causal language model (baselines/gpt.py), or any BERT under a causal mask and without segments,
and what is kept of one is a causal model. The row with its true word is read from left to right; the loss is the mean
of -log p of the word's tokens (ChID: and of all that follows), and nothing is masked. Rates and steps are those above.
FewCLUE, with the plain embeddings of NEZHA-Gen, the model frozen and all tokens asked for: TNEWS 45.3, CSL 53.5.
--head nsp has soft tokens in an NSP prompt of the four classification sets, by few-shot NSP-BERT's loss; no one has
published that.

Cost: as PET, one pass a row and epoch, forward and back; predicting takes one for every label under --head causal, and
training too under --head nsp.
"""

from __future__ import annotations

import _root  # noqa: F401
import nsp_bert.start  # noqa: F401

from dataclasses import replace

from nsp_bert.cli import make_parser, parse_options
from nsp_bert.errors import UserError
from nsp_bert.method_options import add_pattern_options, add_soft_prompt_options, add_training_options
from nsp_bert.method_prompts import PatternPrompt, SoftHead
from nsp_bert.methods.few_shot import FewShotMethod
from nsp_bert.methods.language import LanguageCard
from nsp_bert.methods.masked_few_shot import CausalFewShot, MaskedFewShot
from nsp_bert.methods.soft_prompt import SoftChoice, SoftPairs, prompted_run, trained_run
from nsp_bert.options import Method, Options, Recipe, Recipes
from nsp_bert.patterns import PatternKind
from nsp_bert.results.runs import Run
from nsp_bert.runner import Runner
from nsp_bert.session import Session
from nsp_bert.terminal import run_main
from utils import load_few_shot, load_rows

RECIPES = Recipes(
    Recipe(epochs=20, learning_rate=3e-5, step_rows=16, encoder="lstm", insert="before"),
    {
        "eprstmt": {"epochs": 25, "step_rows": 32},
        "ocnli": {"epochs": 40},
        "bustm": {"epochs": 100, "step_rows": 32},
        "csl": {"epochs": 50},
        "chid": {"epochs": 25, "step_rows": 8},
        "cluewsc": {"epochs": 100, "step_rows": 8},
    },
)
NSP_RECIPES = Recipes(Recipe(loss="bce", encoder="lstm", insert="before"))
MASKED = Method("p_tuning", ("encoder", "MLM"), "masked", RECIPES)
CAUSAL = Method("p_tuning_causal", ("encoder", "MLM"), "causal", RECIPES)
NSP = Method("p_tuning_nsp", ("encoder", "pooler", "NSP"), "next-sentence", NSP_RECIPES)
HEADS: dict[SoftHead, tuple[Method, FewShotMethod, PatternKind]] = {
    "masked": (MASKED, MaskedFewShot(), "soft_cloze"),
    "causal": (CAUSAL, CausalFewShot(), "soft_causal"),
    "nsp": (NSP, SoftPairs(), "soft_nsp"),
}


def main(arguments: list[str] | None) -> int:
    parser = make_parser(__doc__, LanguageCard, add_prompt=add_pattern_options)
    add_soft_prompt_options(parser, add_training_options(parser, RECIPES))
    return run(parse_options(parser.parse_args(arguments)))


def run(options: Options) -> int:
    method, few_shot, kind = HEADS[options.head]
    choice = SoftChoice(kind, options.words, options.soft_prompt)
    if options.soft_prompt:
        check_nothing_is_trained(options)
        method, options = replace(method, recipes=None), options.model_copy(update={"train": ()})
    with Runner[LanguageCard, PatternPrompt](options, LanguageCard, __file__, method, choice) as runner:
        for session in runner:
            runner.add(session, one_run(session, few_shot))
        return runner.finish()


def one_run(session: Session[LanguageCard, PatternPrompt], method: FewShotMethod) -> Run:
    file = session.options.soft_prompt
    if file:
        return prompted_run(session, method, load_rows(session), file)
    return trained_run(session, method, load_few_shot(session))


def check_nothing_is_trained(options: Options) -> None:
    given = [*options.recipe, *(["save"] if options.save else [])]
    if given:
        raise UserError(f"--prompt trains nothing: leave out --{given[0].replace('_', '-')}")


if __name__ == "__main__":
    run_main(main)
