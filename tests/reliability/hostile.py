"""Words and files that would run something, if anything did; drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

CALLED = (
    "os.system",
    "subprocess.getoutput",
    "subprocess.Popen",
    "shutil.copy",
    "builtins.open",
    "builtins.eval",
    "builtins.exec",
    "builtins.__import__",
    "importlib.import_module",
    "pathlib.Path.write_text",
    "pathlib.Path.unlink",
    "pickle.load",
    "torch.load",
    "torch.hub.load",
    "torch.utils.cpp_extension.load",
    "urllib.request.urlretrieve",
    "faiss.read_index",
    "logging.FileHandler",
    "hydra.utils.instantiate",
    "recsys.runs.cli.main",
    "pytorch_lightning.LightningModule.load_from_checkpoint",
)
GROUPS = ("data", "towers", "trainer", "rerank", "campaign", "evaluate", "retrieval")
NUMBERS = ("seed", "towers.dim", "towers.epochs", "rerank.slots", "evaluate.bootstrap_draws")
FLAGS = ("config-dir", "config-path", "config-name", "package", "cd", "cp", "cn", "p")
HYDRA = ("callbacks.x", "launcher", "sweeper", "job_logging.handlers.x", "hydra_logging.root")
WORDS = (
    "{group}._target_={called}",
    "+{group}._target_={called}",
    "++{group}.x={{_target_:{called},_args_:[{canary}]}}",
    "{group}={{_target_:{called},_args_:[{canary}]}}",
    "{group}={called}",
    "{group}=../../{canary}",
    "{group}.kind={called}",
    "{group}@hydra.callbacks.x={group}",
    "+{group}@hydra.callbacks.x={called}",
    "~{group}",
    "hydra.{hydra}._target_={called}",
    "+hydra.{hydra}={{_target_:{called},_args_:[{canary}]}}",
    "++hydra.{hydra}.()={called}",
    "hydra.{hydra}.class={called}",
    "hydra/{hydra}={called}",
    "hydra.searchpath=[file://{canary}]",
    "hydra.output_subdir={canary}",
    "hydra.job.env_set.LD_PRELOAD={canary}",
    "hydra.job.chdir={canary}",
    "--{flag}={canary}",
    "-{flag}={canary}",
    "--{flag}",
    "{number}=__import__('os').system('touch {canary}')",
    "{number}=!!python/object/apply:{called} [{canary}]",
    "{number}=${{oc.create:{{_target_:{called}}}}}",
    "{number}=${{oc.decode:{canary}}}",
    "{number}=${{hydra:runtime.cwd}}",
    "name=../../{canary}",
    "name='$(touch {canary})'",
    "name=;touch {canary}",
    "name='`touch {canary}`'",
    "towers.loss.kind={called}",
    "towers.loss._target_={called}",
    "evaluate.require=__import__('os').system('touch {canary}')",
    "resume.{called}={canary}",
    "trainer.logger={called}",
    "{called}={canary}",
)
"""Of the command line; every one of them must be refused."""
FILES = (
    "_target_: {called}\n_args_: [{canary}]\n",
    "kind: x\nnested:\n  - (): {called}\n    file: {canary}\n",
    "# @package hydra.callbacks.x\n_target_: {called}\npath: {canary}\n",
    "# @package hydra.{hydra}\nfile: {canary}\n",
    "# @package _global_\nhydra:\n  {hydra}:\n    file: {canary}\n",
    "# @package _global_\nhydra:\n  job:\n    env_set: {{LD_PRELOAD: {canary}}}\n",
    "# @package _global_\nhydra:\n  run:\n    dir: {canary}\n",
    "defaults:\n  - /hydra/{hydra}: {called}\n  - _self_\n",
    "defaults:\n  - override hydra/launcher: {called}\n",
    "defaults:\n  - {group}@hydra.callbacks.x: {called}\n",
    "name: !!python/object/apply:{called} [{canary}]\n",
    "name: !!python/name:{called}\n",
    "name: !!python/object/new:{called} {{args: [{canary}]}}\n",
)
"""Of a `configs` folder of a person's own."""


def filled(forms: tuple[str, ...], rng: random.Random, *, canary: Path) -> Iterator[str]:
    """Yield forms in turn, filled in by chance, no two alike."""
    given = set[str]()
    for number in count():
        text = forms[number % len(forms)].format(
            called=rng.choice(CALLED),
            group=rng.choice(GROUPS),
            number=rng.choice(NUMBERS),
            flag=rng.choice(FLAGS),
            hydra=rng.choice(HYDRA),
            canary=canary.with_name(f"{canary.name}{rng.choice(('', '-x'))}"),
        )
        if text not in given or number > 100 * len(forms):
            given.add(text)
            yield text
