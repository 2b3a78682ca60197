"""README.md from its first command to its last, as a reader pastes them, in a fresh copy of the checkout.

The commands follow from each other, so this file is run as a whole. They run in a shell without the variables, the home
and the cache of whoever runs the tests, and without a network: .venv is as `make install` left it, with the packages of
the tests, and downloads come from a server on this machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import warm_python
import yaml
from conftest import ROOT, SAMPLE
from loopback import Page, Site, serving, sha256

README, CHINESE = ROOT / "README.md", ROOT / "README_zh.md"
MINI = ROOT / "models" / "nsp_bert_mini"
FEW_STEPS = "--max-steps 1 --lengths 32:1 --batch-tokens 512"

# The only commands that are not run as they are written: command -> what is run ({} is the command), and why.
NOT_AS_WRITTEN = {
    "make test": ("{} PYTEST_ARGS=--version", "the tests are running already"),
    "python nsp_bert_coreference_resolution.py --submission submission": (
        "{} --data-dir fetched",
        "the leaderboard's files take a download: ours have their form",
    ),
    "python nsp_bert_cloze_style.py --ablate --output ablation": ("{} --limit 3", "every row eight times"),
    "python nsp_bert_benchmark.py --output results": ("{} --limit 1 --models uer-mixed-bert-base", "takes minutes"),
    "python nsp_bert_pretraining.py --text corpus/*.txt --output my_model --max-steps 10000": (
        "{} --layers 1 --hidden 32 --heads 2 --vocab-size 900 " + FEW_STEPS,
        "takes hours",
    ),
    "python nsp_bert_pretraining.py --text corpus/*.txt --init-checkpoint models/nsp_bert_mini --output my_model_2"
    " --max-steps 1000": ("{} " + FEW_STEPS, "takes an hour"),
    "python nsp_bert_classification.py --dataset tnews --backend openvino --precision auto --verbose": (
        "{} --limit 3",
        "takes ten seconds",
    ),
    **{
        f"python {script}.py --dataset eprstmt --train 0 --output results": ("{} --epochs 2", "takes half a minute")
        for script in ("nsp_bert_few_shot", "baselines/fine_tuning", "baselines/efl", "baselines/p_tuning")
    },
    "python datasets/download.py fewclue": ("{} --mirror $MIRROR", "the network: a server of our own stands in"),
    "python models/convert.py SOURCE TARGET": (
        "python models/convert.py models/google-bert-zh converted",
        "SOURCE and TARGET stand for folders",
    ),
}
# What a command has to say, where an exit status of 0 says too little.
SAYS = {
    "make run": ["EPRSTMT", "TNEWS"],
    "python nsp_bert_report.py results --output report.html": ["report.html: 11 runs"],
    "OPENVINO=1 make install": ["-r requirements/openvino.txt"],
    "python models/check.py google-bert-zh": ["MLM head works", "NSP head works"],
}


def blocks(document: Path) -> list[tuple[str, str]]:
    """Return (language, text) of every block of code in a document."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(document: Path) -> list[str]:
    """Return the commands of a document in order, without their comments; a block of Python is one."""
    found: list[str] = []
    for language, text in blocks(document):
        if language == "sh":
            found += [re.sub(r"\s+# .*", "", line) for line in text.replace("\\\n", " ").splitlines()]
        else:
            found.append(text)
    return found


COMMANDS = commands(README)


@dataclass(frozen=True)
class Shell:
    """A shell in the folder of a fresh checkout."""

    checkout: Path
    environment: dict[str, str]

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line; what it prints on either stream is in `stdout`."""
        return subprocess.run(
            ["sh", "-c", line],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            check=False,
        )


@pytest.fixture(scope="module")
def shell(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("readme")
    checkout, home = folder / "checkout", folder / "home"
    copy_checkout(checkout)
    bring_along(checkout, checkpoint_dir)
    write_environment(checkout / ".venv")
    home.mkdir()
    with serving() as site, tempfile.TemporaryDirectory() as programs:  # a socket's name has to be short
        offer_downloads(site, checkout)
        environment = {
            "PATH": f"{programs}:{checkout / '.venv' / 'bin'}:{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "MIRROR": site.url,
            "https_proxy": "http://127.0.0.1:9",  # nobody listens there
            "PIP_NO_INDEX": "1",  # pip finds every locked package installed, or fails
            "PIP_DRY_RUN": "1",
        }
        with serving_python(Path(programs), checkout, environment):
            yield Shell(checkout, environment)


def copy_checkout(checkout: Path) -> None:
    """Copy the files that git knows (a new one has to be added first), as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout of git")
    for name in filter(None, listed.stdout.split("\0")):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)


def bring_along(checkout: Path, checkpoint: Path) -> None:
    """Write what README.md takes for granted: texts, a corpus, a model fetched by hand, files to be predicted."""
    (checkout / "texts.txt").write_text("主场取胜\n央行降息\n", encoding="utf-8")
    (checkout / "texts.csv").write_text("text,label\n主场取胜,体育\n央行降息,财经\n", encoding="utf-8")
    (checkout / "corpus").mkdir()
    documents = ["春天来了，花开了，鸟也叫。\n出门去，看风景。", "秋天到了，叶落了。\n天凉，加衣服。"] * 20
    (checkout / "corpus" / "a.txt").write_text("\n\n".join(documents), encoding="utf-8")
    shutil.copytree(checkpoint, checkout / "models" / "uer-mixed-bert-base")
    shutil.copytree(SAMPLE / "cluewsc", checkout / "fetched" / "cluewsc")


def write_environment(folder: Path) -> None:
    """Write a .venv that `make install` has made: its interpreter is the one of the tests."""
    write_program(folder / "bin" / "python", sys.executable)
    write_program(folder / "bin" / "pip", sys.executable, "-m", "pip")
    for stamp in ("installed", "installed-dev"):
        (folder / stamp).touch()


def write_program(path: Path, *command: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


def offer_downloads(site: Site, checkout: Path) -> None:
    """Offer the sample as the files of FewCLUE, and the bundled checkpoint as that of google-bert-zh."""
    files = [path for path in SAMPLE.rglob("*.json") if path.parent.name != "duel"]
    contents = {path.relative_to(SAMPLE).as_posix(): path.read_bytes() for path in files}
    site.pages |= {f"/{name}": Page(content) for name, content in contents.items()}
    lines = [f"{sha256(content)}  {name}\n" for name, content in contents.items()]
    (checkout / "datasets" / "fewclue_files.txt").write_text("".join(lines), encoding="utf-8")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as stream:
        for path in (*MINI.glob("bert_*"), MINI / "vocab.txt"):
            stream.write(path, f"chinese/{path.name}")
    site.pages["/chinese.zip"] = Page(archive.getvalue())
    path = checkout / "models" / "cards.yaml"
    cards = yaml.safe_load(path.read_text(encoding="utf-8"))
    card = cards["google-bert-zh"]
    card |= {key: cards["nsp_bert_mini"][key] for key in ("layers", "hidden", "heads_count")}
    card["sources"][0]["url"] = f"{site.url}/chinese.zip"
    path.write_text(yaml.safe_dump(cards, allow_unicode=True), encoding="utf-8")


@contextlib.contextmanager
def serving_python(programs: Path, checkout: Path, environment: dict[str, str]) -> Iterator[None]:
    """Write the `python` of a shell, which starts at once; make starts the interpreter of .venv itself."""
    address = str(programs / "socket")
    write_program(programs / "python", sys.executable, "-IS", warm_python.__file__, "run", address)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        command = [sys.executable, warm_python.__file__, "serve"]
        server = subprocess.Popen(command, cwd=checkout, env=environment, stdin=listening)
    yield
    server.kill()
    server.wait()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, shell: Shell) -> None:
    line, _why = NOT_AS_WRITTEN.get(command, ("{}", ""))
    if "\n" in command:
        (shell.checkout / "pasted.py").write_text(command, encoding="utf-8")
        line = "python pasted.py"
    done = shell.run(line.format(command))
    assert done.returncode == 0, done.stdout
    assert "Warning" not in done.stdout
    for words in SAYS.get(command, []):
        assert words in done.stdout


def test_every_block_is_run() -> None:
    assert {language for language, _ in blocks(README)} == {"sh", "python"}
    assert NOT_AS_WRITTEN.keys() | SAYS.keys() <= set(COMMANDS)


def test_both_readmes_have_the_same_commands() -> None:
    assert commands(CHINESE) == COMMANDS
