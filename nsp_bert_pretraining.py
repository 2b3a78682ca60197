"""Pre-train or continue a BERT with its MLM and NSP heads on plain text.

Text in, a checkpoint in the original TensorFlow format out (`bert_config.json`, `vocab.txt`, `bert_model.ckpt.*`),
with both heads, ready for the task scripts, for bert4keras and for Hugging Face. The bundled models/nsp_bert_mini was
trained with it; its README quotes the command, the hours and the curve.

A line of a text file is a sentence or a paragraph, a blank line ends a document; plain, .xz and .gz are read. Words
are masked whole (cut by jieba, as in Chinese-BERT-wwm); NSP label 0 = next, 1 = not next. A killed run continues
with the same command, from the last saved step and with the same result as an uninterrupted one.
"""

from __future__ import annotations

import nsp_bert.start  # noqa: F401

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from nsp_bert.checkpoints.checkpoint import TRAINED, Checkpoint, open_checkpoint
from nsp_bert.checkpoints.vocabulary import load_vocabulary
from nsp_bert.cli import new_parser, number, positive, whole
from nsp_bert.errors import UserError
from nsp_bert.files import digest, locked_folder, recover_folder
from nsp_bert.pretraining.curve import METRICS, Curve
from nsp_bert.pretraining.embeddings import cooccurrence_embeddings
from nsp_bert.pretraining.pairs import Batch, PairRules, PairSampler, SpecialIds, Split, prefetch
from nsp_bert.pretraining.texts import load_frames, load_mix, load_splits, prepare_vocabulary, text_digests
from nsp_bert.results.runs import prepare_output
from nsp_bert.terminal import run_main
from nsp_bert.training.optimization import Optimization, Schedule
from nsp_bert.training.state import check_settings

if TYPE_CHECKING:
    from nsp_bert.pretraining.trainer import Pretraining

PUNCTUATION = "，。！？；：、…,.!?;:"
EVALUATION_BATCHES = 16
STATE = "state"  # below the output folder


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_data_options(parser.add_argument_group("data"))
    add_model_options(parser.add_argument_group("model"))
    add_pair_options(parser.add_argument_group("pairs and masks"))
    add_training_options(parser.add_argument_group("training"))
    return parser.parse_args(arguments)


def add_data_options(group: argparse._ArgumentGroup) -> None:
    """Add what is read, and where results go."""
    group.add_argument(
        "--text", type=Path, nargs="+", required=True, metavar="FILE", help="UTF-8 text, .xz, .gz or plain"
    )
    group.add_argument(
        "--mix",
        type=Path,
        metavar="YAML",
        help="share, document end and NSP use of each text file (default: shares by size)",
    )
    group.add_argument("--output", type=Path, required=True, metavar="DIR", help="checkpoint, curve and training state")
    group.add_argument("--name", help="of the model in results and tables (default: the output folder's)")
    group.add_argument("--cache", type=Path, metavar="DIR", help="indexed text (default: OUTPUT/cache)")
    group.add_argument("--vocab", type=Path, metavar="FILE", help="vocab.txt (default: learned from the text)")
    group.add_argument(
        "--vocab-size", type=positive, default=8000, metavar="TOKENS", help="size of a learned vocabulary"
    )
    group.add_argument(
        "--vocab-min-count", type=positive, default=5, metavar="N", help="rarer characters are left out of it"
    )
    group.add_argument(
        "--held-out", type=number(0, below=1), default=0.005, metavar="SHARE", help="of the documents, for evaluation"
    )


def add_model_options(group: argparse._ArgumentGroup) -> None:
    """Add what the model starts from, or its shape."""
    group.add_argument(
        "--init-checkpoint",
        metavar="NAME_OR_DIR",
        help="continue from there; a head that it lacks starts anew (default: a new model)",
    )
    group.add_argument("--layers", type=positive, default=4, metavar="N", help="Transformer layers")
    group.add_argument("--hidden", type=positive, default=256, metavar="N", help="width of a layer")
    group.add_argument("--heads", type=positive, metavar="N", help="attention heads (default: hidden / 64)")
    group.add_argument("--intermediate", type=positive, metavar="N", help="feed-forward width (default: 4 x hidden)")
    group.add_argument("--activation", default="gelu", choices=("gelu", "relu"), help="of the feed-forward layers")
    group.add_argument(
        "--max-position", type=positive, default=256, metavar="TOKENS", help="longest pair that the model can read"
    )
    group.add_argument(
        "--dropout",
        type=number(0, below=1),
        default=0.1,
        metavar="SHARE",
        help="of activations and attention left out in training",
    )
    group.add_argument(
        "--initializer-range", type=number(above=0), default=0.02, metavar="X", help="deviation of first weights"
    )
    group.add_argument(
        "--embeddings",
        choices=("random", "cooccurrence"),
        default="random",
        help="what token embeddings start from; cooccurrence factorises which tokens are near each other",
    )


def add_pair_options(group: argparse._ArgumentGroup) -> None:
    """Add how pairs are drawn and masked."""
    group.add_argument(
        "--lengths",
        type=parse_lengths,
        default="32:0.4,64:0.35,128:0.2,256:0.05",
        help="tokens of a pair with the share of batches that long",
    )
    group.add_argument("--batch-tokens", type=positive, default=8192, metavar="TOKENS", help="tokens of a batch")
    group.add_argument(
        "--same-source", type=number(0, 1), default=0.8, metavar="SHARE", help="of false pairs within one source"
    )
    group.add_argument(
        "--keyword-share",
        type=number(0, 1),
        default=0.0,
        metavar="SHARE",
        help="of pairs with one segment cut down to a word",
    )
    group.add_argument(
        "--keyword-frames",
        type=Path,
        metavar="FILE",
        help="phrases with {} that the word may be put into, a line each (default: none)",
    )
    group.add_argument(
        "--masking", choices=("whole-word", "token"), default="whole-word", help="what is masked at once"
    )


def add_training_options(group: argparse._ArgumentGroup) -> None:
    """Add how long and how the model is trained."""
    group.add_argument("--learning-rate", type=number(0), default=1e-3, metavar="X", help="highest, after warm-up")
    group.add_argument(
        "--warmup-steps", type=whole, default=500, metavar="STEPS", help="in which the learning rate rises from 0"
    )
    group.add_argument(
        "--decay-steps",
        type=whole,
        metavar="STEPS",
        help="last steps, in which the learning rate falls to 0 (default: all after warm-up)",
    )
    group.add_argument("--max-steps", type=positive, default=10000, metavar="STEPS", help="at which the training ends")
    group.add_argument(
        "--max-minutes",
        type=number(above=0),
        metavar="MINUTES",
        help="stop then; the same command continues (default: no limit)",
    )
    group.add_argument("--weight-decay", type=number(0), default=0.01, metavar="X", help="of AdamW")
    group.add_argument(
        "--nsp-weight", type=number(0), default=1.0, metavar="X", help="of the NSP loss beside the MLM loss"
    )
    group.add_argument(
        "--clip-norm", type=number(0), default=1.0, metavar="X", help="largest norm of a gradient, 0 for any"
    )
    group.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="numbers that the model is trained with",
    )
    group.add_argument(
        "--evaluate-every", type=positive, default=250, metavar="STEPS", help="between two points of the curve"
    )
    group.add_argument(
        "--save-every",
        type=positive,
        default=250,
        metavar="STEPS",
        help="between two saved states; a killed run continues from the last",
    )
    group.add_argument("--seed", type=whole, default=1, metavar="N", help="of weights, pairs and masks")


def parse_lengths(text: str) -> dict[int, float]:
    try:
        lengths = {int(length): float(share) for length, share in (part.split(":") for part in text.split(","))}
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not LENGTH:SHARE,LENGTH:SHARE") from error
    if min(lengths) < 8 or min(lengths.values()) <= 0:
        raise argparse.ArgumentTypeError("a length is at least 8 tokens, a share above 0")
    return lengths


def main(arguments: list[str] | None) -> int:
    options = parse_arguments(arguments)
    prepare_output(options.output)
    with locked_folder(options.output):
        return pretrain(options)


def pretrain(options: argparse.Namespace) -> int:
    mix = load_mix(options.mix, options.text)
    initial = open_checkpoint(options.init_checkpoint, needs=("encoder",)) if options.init_checkpoint else None
    vocab_path = choose_vocabulary(options, initial)
    vocabulary = load_vocabulary(vocab_path)
    config = initial.config if initial else model_config(options, len(vocabulary))
    config |= {"checkpoint_name": options.name or options.output.resolve().name}
    if max(options.lengths) > config["max_position_embeddings"]:
        raise UserError(f"--lengths {max(options.lengths)} is beyond the {config['max_position_embeddings']} positions")
    frames, settings = load_frames(options.keyword_frames, vocab_path), run_settings(options, vocab_path)
    state = options.output / STATE
    recover_folder(state)
    if state.exists():
        check_settings(state, settings)
    cache = options.cache or options.output / "cache"
    training, held_out = load_splits(options.text, mix, vocab_path, cache, options.held_out, options.seed)
    rules = PairRules(options.same_source, options.keyword_share, frames)
    sampler = make_sampler(options, training, vocabulary, rules, options.seed)
    evaluation = make_sampler(options, held_out, vocabulary, rules, options.seed + 1)
    trainer = prepare_trainer(options, config, initial, training)
    print(
        f"pre-training {config['num_hidden_layers']} x {config['hidden_size']} ({trainer.parameters / 1e6:.1f} M"
        f" parameters, {len(vocabulary)} tokens) on {len(training)} text files, step {trainer.step}"
        f" of {options.max_steps}, {options.precision}"
    )
    batches = [evaluation.batch(step) for step in range(EVALUATION_BATCHES)] if held_out else []
    train(options, trainer, sampler, batches, settings)
    trainer.export(options.output / TRAINED, vocab_path)
    print(f"checkpoint: {options.output / TRAINED}; use it with --model {options.output}")
    return 0


def choose_vocabulary(options: argparse.Namespace, initial: Checkpoint | None) -> Path:
    """Return the path of the vocabulary: the checkpoint's to continue from, the given one, or one learned here."""
    if initial:
        return initial.vocab_path
    if options.vocab:
        return options.vocab
    return prepare_vocabulary(options.text, options.output, options.vocab_size, options.vocab_min_count)


def model_config(options: argparse.Namespace, vocab_size: int) -> dict[str, Any]:
    """Return the contents of `bert_config.json`."""
    return {
        "attention_probs_dropout_prob": options.dropout,
        "hidden_act": options.activation,
        "hidden_dropout_prob": options.dropout,
        "hidden_size": options.hidden,
        "initializer_range": options.initializer_range,
        "intermediate_size": options.intermediate or 4 * options.hidden,
        "max_position_embeddings": options.max_position,
        "num_attention_heads": options.heads or max(options.hidden // 64, 1),
        "num_hidden_layers": options.layers,
        "type_vocab_size": 2,
        "vocab_size": vocab_size,
    }


def make_sampler(
    options: argparse.Namespace, splits: list[Split], vocabulary: dict[str, int], rules: PairRules, seed: int
) -> PairSampler:
    special = SpecialIds(
        pad=vocabulary["[PAD]"],
        cls=vocabulary["[CLS]"],
        sep=vocabulary["[SEP]"],
        mask=vocabulary["[MASK]"],
        vocab_size=len(vocabulary),
        punctuation=tuple(vocabulary[mark] for mark in PUNCTUATION if mark in vocabulary),
    )
    return PairSampler(
        splits=splits,
        special=special,
        batch_tokens=options.batch_tokens,
        lengths=options.lengths,
        rules=rules,
        whole_word=options.masking == "whole-word",
        seed=seed,
    )


def prepare_trainer(
    options: argparse.Namespace,
    config: dict[str, Any],
    initial: Checkpoint | None,
    training: list[Split],
) -> Pretraining:
    """Return the trainer, continued from the output folder's state, from a checkpoint, or new."""
    from nsp_bert.pretraining.trainer import Pretraining

    optimization = Optimization(options.weight_decay, options.clip_norm)
    trainer = Pretraining(config, optimization, options.precision, options.seed, options.nsp_weight)
    state = options.output / STATE
    if state.exists():
        trainer.restore_state(state)
    elif initial:
        trainer.load_weights(initial)
        new = [head for head in ("pooler", "MLM", "NSP") if head not in initial.heads]
        print(f"starting from {initial.name}" + (f", its missing {', '.join(new)} head drawn anew" if new else ""))
    elif options.embeddings == "cooccurrence":
        shape = config["vocab_size"], config["hidden_size"]
        trainer.set_token_embeddings(cooccurrence_embeddings(training, *shape, options.seed))
    return trainer


def run_settings(options: argparse.Namespace, vocab_path: Path) -> dict[str, str]:
    """What must be the same for a run to be resumed: all but its stages, its end and its reports; files by checksum."""
    free = (
        "lengths",
        "masking",
        "keyword_share",
        "keyword_frames",
        "max_steps",
        "max_minutes",
        "decay_steps",
        "evaluate_every",
        "save_every",
        "cache",
        "output",
        "name",
        "text",
        "vocab",
        "mix",
    )
    files = text_digests(options.text) | {"vocabulary": digest(vocab_path)}
    if options.mix:
        files["mix"] = digest(options.mix)
    return {key: str(value) for key, value in vars(options).items() if key not in free} | files


def train(
    options: argparse.Namespace,
    trainer: Pretraining,
    sampler: PairSampler,
    evaluation: list[Batch],
    settings: dict[str, str],
) -> None:
    """Train to `--max-steps` or `--max-minutes`, saving state and curve on the way and on Ctrl-C."""
    decay_steps = options.decay_steps or max(options.max_steps - options.warmup_steps, 1)
    schedule = Schedule(options.learning_rate, options.warmup_steps, decay_steps, options.max_steps)
    deadline = time.monotonic() + 60 * options.max_minutes if options.max_minutes else float("inf")
    curve = Curve(options.output, trainer.step)
    window: list[Any] = []
    started, tokens = time.monotonic(), 0
    batches = prefetch(sampler, trainer.step, options.max_steps)
    try:
        with tqdm(total=options.max_steps, initial=trainer.step, unit=" steps", dynamic_ncols=True) as bar:
            for batch in batches:
                window.append(trainer.train(batch.arrays, learning_rate=schedule.learning_rate(trainer.step)))
                tokens += batch.token_ids.size
                bar.update()
                last = trainer.step == options.max_steps or time.monotonic() > deadline
                if last or trainer.step % options.evaluate_every == 0:
                    means = dict(zip(METRICS, np.mean([row.numpy() for row in window], axis=0).tolist(), strict=True))
                    rate = tokens / (time.monotonic() - started)
                    curve.add(
                        trainer.step,
                        schedule.learning_rate(trainer.step - 1),
                        rate,
                        means,
                        trainer.held_out(evaluation),
                    )
                    bar.write(curve.last_line())
                    window, started, tokens = [], time.monotonic(), 0
                if last or trainer.step % options.save_every == 0:
                    trainer.save_state(options.output / STATE, settings)
                if last:
                    break
    except KeyboardInterrupt:
        trainer.save_state(options.output / STATE, settings)
        raise
    curve.plot()


if __name__ == "__main__":
    run_main(main)
