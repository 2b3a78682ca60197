"""The loop over datasets: what is finished is kept, each result is written as it comes, the table ends it all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Generic, cast

from typing_extensions import Self

from nsp_bert.cards import CardT, Kind, cards_of
from nsp_bert.checkpoints.checkpoint import open_checkpoint
from nsp_bert.errors import UnsuitableError, UserError
from nsp_bert.files import locked_folder, remove_leftovers
from nsp_bert.methods.health import chance_note
from nsp_bert.options import ZERO_SHOT, Choices, Method, Options
from nsp_bert.results.few_shot import write_mean
from nsp_bert.results.fingerprint import take_fingerprint
from nsp_bert.results.runs import Run, prepare_output, read_summaries, write_run
from nsp_bert.results.submission import check_leaderboard, write_submission, zip_submissions
from nsp_bert.results.summary import Summary, file_stem
from nsp_bert.results.tables import print_table
from nsp_bert.rows import dev_split, train_split
from nsp_bert.scoring.exact import Engine
from nsp_bert.scoring.outputs import READS
from nsp_bert.scoring.score_files import ScoreFiles, remove_journals
from nsp_bert.scoring.scorer import Scorer
from nsp_bert.session import PromptT, Scorers, Session, choose_data
from nsp_bert.terminal import INTERRUPTED


class Runner(Generic[CardT, PromptT]):
    """Yields a session for each dataset and prompt that is to be run, and takes the runs that a script makes of it.

    with Runner(options, ClozeCard, __file__) as runner:
        for session in runner:
            runner.add(session, contrast(...))
        return runner.finish()

    The output folder is its own until the block ends.
    """

    def __init__(
        self,
        options: Options,
        kind: Kind[CardT],
        script: str,
        method: Method = ZERO_SHOT,
        choices: Choices[PromptT] | None = None,
    ):
        """Open the checkpoint. `kind` is the task's card, `script` the file that runs it.

        `choices` are the prompts, those of the options without. Raises UserError for a checkpoint that the method
        cannot use.
        """
        self._folders = ExitStack()
        self._options, self._script, self._method = options, Path(script), method
        self._choices = choices or cast(Choices[PromptT], options.prompt)
        self._checkpoint = open_checkpoint(options.model, method.heads, causal=method.causal)
        if self._checkpoint.remark:
            print(self._checkpoint.remark)
        self._cards = self._with_prompts(choose_cards(options.dataset, kind, self._checkpoint.language))
        self._scorers = Scorers(self._checkpoint, options, method.output, self._check_head)
        self._notes: tuple[str, ...] = ()
        self._summaries: list[Summary] = []

    def __enter__(self) -> Self:
        """Take the output folders. Raises UserError where one cannot be written, or another run is writing there."""
        with self._folders:
            wanted = filter(None, (self._options.output, self._options.submission))
            for folder in {folder.resolve(): folder for folder in wanted}.values():
                prepare_output(folder)
                self._folders.enter_context(locked_folder(folder))
            self._folders = self._folders.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the folders to others."""
        self._folders.close()

    @property
    def summaries(self) -> list[Summary]:
        """What has been run or kept so far."""
        return self._summaries

    def __iter__(self) -> Iterator[Session[CardT, PromptT]]:
        """Yield the sessions to run; an interrupted run is the last."""
        for session in self._sessions():
            kept = self._kept(session)
            self._summaries += kept
            if not kept:
                if self._method.trained and self._method.output in READS:
                    session.engine.load()  # the head is looked at before it is trained
                yield self._with_files(session)
            if not self._summaries[-1].complete:
                return

    def _sessions(self) -> Iterator[Session[CardT, PromptT]]:
        """Yield a session for each dataset, prompt and, of a method that is trained, training set."""
        for card in self._cards:
            for prompt in self._choices.prompts(card):
                for train in self._options.train if self._method.trained else (None,):
                    yield self._session(self._choices.card(card), prompt, train)

    def add(self, session: Session[CardT, PromptT], *runs: Run) -> None:
        """Take the runs that a session's dataset gives, one at least, and write their files."""
        parts = [replace(run, parts=len(runs), notes=(*run.notes, *self._notes)) for run in runs]
        complete = all(run.complete for run in parts)
        folder = self._folder(session)
        summaries = [write_run(run, folder) if folder else run.summary for run in parts]
        self._summaries += summaries
        if folder and complete and summaries[0].train is not None:
            write_mean(summaries[0], folder)
        if session.files and complete:
            session.files.remove()
        if session.work and complete:
            shutil.rmtree(session.work, ignore_errors=True)
        if self._options.submission and complete:
            write_submission(session.card, parts[0], self._options.submission)
        if self._options.verbose:
            for run in parts:
                print(*filter(None, [run.details.precision_check]))
            if not self._method.trained:  # trained weights have scorers of their own
                print(self._scorers.timing)

    def finish(self) -> int:
        """Print the table of all runs, and where their files are; return the exit status."""
        complete = self._summaries[-1].complete
        if not complete:
            again = "the same command with --resume continues it" if self._options.output else "--output keeps scores"
            print(f"interrupted: {self._summaries[-1].title} is not complete; {again}")
        print_table(self._summaries)
        if self._options.output:
            print(f"results: {self._options.output}")
        if self._options.submission:
            print(zip_submissions(self._options.submission))
        return 0 if complete else INTERRUPTED

    def _with_prompts(self, cards: list[CardT]) -> list[CardT]:
        """Return the cards that have what the method needs, but those that are asked for by name all."""
        if self._options.dataset:
            return cards
        missing = {card.name: self._choices.missing(card) for card in cards}
        for line in filter(None, missing.values()):
            print(f"left out: {line}")
        return [card for card in cards if not missing[card.name]]

    def _check_head(self, scorer: Scorer) -> None:
        """Say where the head that the method reads is at chance, now and in every result."""
        if note := chance_note(self._checkpoint, scorer, self._method.output):
            print(note)
            self._notes = (note,)

    def _session(self, card: CardT, prompt: PromptT, train: str | None) -> Session[CardT, PromptT]:
        """Return the session of a dataset under a prompt, not yet with files."""
        options, data = self._options, choose_data(card, self._options.data_dir)
        if options.submission:
            check_leaderboard(card, data.sample)
        engine = Engine(self._scorers.__getitem__, options.precision, self._method.output)
        session = Session(card, prompt, data, self._method, self._checkpoint, engine, options, train=train)
        if not options.output:
            return session
        settings = session.headline | session.beside
        splits = (session.split, *training_splits(session), *(() if train else (card.dev_split,)))
        fingerprint = take_fingerprint(self._script, card, splits, data.folder, self._checkpoint, settings)
        return replace(session, fingerprint=fingerprint)

    def _folder(self, session: Session[CardT, PromptT]) -> Path | None:
        """Return the folder of a session's files, None without --output."""
        options = self._options
        return options.output / self._choices.folder(session.prompt) if options.output else None

    def _kept(self, session: Session[CardT, PromptT]) -> list[Summary]:
        """Return the summaries of a session's runs where `--resume` finds all of them, complete and of the same making.

        Raises UserError where the folder holds another run of the same name.
        """
        folder = self._folder(session)
        if not folder:
            return []
        remove_leftovers(folder, f"{session.card.name}[._]*")
        own = (session.card.name, session.split, self._method.name)
        trains = (session.train,) if session.train else self._options.train or (None,)
        there = [one for train in trains for one in read_summaries(folder, *own, train)]
        if not self._options.overwrite:
            refuse_another(there, session, folder)
        kept = [one for one in there if one.complete and one.fingerprint == session.fingerprint]
        if not self._options.resume or not kept or len(kept) < kept[0].parts:
            return []
        stem = file_stem(*own, session.train)
        remove_journals(folder, stem)
        shutil.rmtree(training_folder(folder, stem), ignore_errors=True)
        if kept[0].train is not None:
            write_mean(kept[0], folder)
        print(f"{session.title}: is there already in {folder}")
        return kept

    def _with_files(self, session: Session[CardT, PromptT]) -> Session[CardT, PromptT]:
        """Return the session with the files that its scores go to as they come."""
        folder = self._folder(session)
        if not folder or not session.fingerprint:
            return session
        stem = file_stem(session.card.name, session.split, self._method.name, session.train)
        files = ScoreFiles(folder, stem, session.fingerprint.model_dump_json(), self._options.resume)
        return replace(session, files=files, work=training_folder(folder, stem) if session.train else None)


def choose_cards(names: Sequence[str] | None, kind: Kind[CardT], language: str) -> list[CardT]:
    """Return the cards of these names, or without names those of the task in the model's language.

    Raises UserError when there are none, UnsuitableError when those that are named are of other tasks.
    """
    cards = [card for card in cards_of(kind) if (card.name in names if names else card.language == language)]
    if names and not cards:
        raise UnsuitableError("another task than those that this method takes")
    if not cards:
        raise UserError(f"no dataset of this script is in the model's language {language!r}; name one with --dataset")
    return sorted(cards, key=lambda card: names.index(card.name)) if names else cards


def training_folder(folder: Path, stem: str) -> Path:
    """Return where the training of a run is until its result is written."""
    return folder / f"{stem}.training.unfinished"


def training_splits(session: Session[CardT, PromptT]) -> list[str]:
    """Return the splits that a session's method learns from: training sets, and where it is trained dev sets."""
    if session.train:
        return [train_split(session.train), dev_split(session.train)]
    return [train_split(train) for train in session.options.train]


def refuse_another(there: Iterable[Summary], session: Session[CardT, PromptT], folder: Path) -> None:
    """Raise UserError where a folder holds the result of another run under the name of the session's."""
    now = session.headline | {"model": session.model, "method": session.method.name}
    for one in there:
        settings = one.fingerprint.settings if one.fingerprint else {}
        then = settings | {"model": one.model, "method": one.method}
        differing = [f"{key} {then[key]}, now {value}" for key, value in now.items() if then.get(key, value) != value]
        if differing:
            name = file_stem(one.dataset, one.split, one.method, one.train)
            raise UserError(
                f"{folder / name}.json is the result of another run ({'; '.join(differing)}): choose another --output,"
                " or replace it with --overwrite"
            )
