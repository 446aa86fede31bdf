"""A private run in processes that are killed: ``lives.py FOLDER LOG LIFE...``, each life in a process of its own.

A life is ``moment:number``: the process kills itself with SIGKILL when that moment comes for the number-th time; or
``seconds:number``: it is killed after so many; or ``end``: it lives on. Each answer that leaves the gate is noted in
LOG.
"""

import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import ddcore_private  # noqa: F401
import opacus.accountants  # noqa: F401
import torch
from ddcore_private.gate import LivePrivateGate

import ddcore
from ddcore.experiment.folder import Folder
from ddcore.gate.record import SpendRecord, digest
from ddcore.gate.recorded import RecordedGate

OPTIONS = {"plugins.private.noise_multiplier": 2.0, "plugins.private.epsilon": 1e3}
SMALL = {"network.width": 4, "network.depth": 2, "objective.real": 8, "policy.epochs": 1, "policy.steps": 2}


def experiment():
    recipe = ddcore.recipe("psg", ipc=2, iterations=8, overrides={**SMALL, **OPTIONS})
    protocol = ddcore.Protocol(steps=1, repeats=1, networks=(ddcore.MLP(width=4),))
    return ddcore.Experiment(
        recipe, ddcore.Settings(ddcore.plugin.data_set(ddcore.Host().catalogue, "digits"), protocol, ())
    )


def dies(cls, name, before, wanted):
    """Let the process die at the ``wanted``-th call of ``cls.name``, before or after it has done its work."""
    plain, calls = getattr(cls, name), []

    def dying(self, *arguments):
        calls.append(1)
        if before and len(calls) == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = plain(self, *arguments)
        if not before and len(calls) == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(cls, name, dying)


MOMENTS = {
    "unrecorded": (SpendRecord, "append", True),
    "recorded": (SpendRecord, "append", False),
    "told": (RecordedGate, "gradient", False),
    "asked": (LivePrivateGate, "gradient", True),
    "begun": (SpendRecord, "begin", False),
    "kept": (Folder, "checkpoint", False),
}


def listen(log):
    """Note each answer that leaves the gate, with its number."""
    plain = RecordedGate.gradient

    def noted(self, *request):
        answer = plain(self, *request)
        with log.open("a") as file:
            file.write(f"{self.state_dict()['told']} {digest(answer)}\n")
        return answer

    RecordedGate.gradient = noted


def live(folder, log, moment, number, keeps):
    torch.set_num_threads(1)
    ddcore.rng.os = SimpleNamespace(urandom=lambda n: b"\7" * n)  # each run has the same secrets, so that they compare
    listen(log)
    if moment in MOMENTS:
        dies(*MOMENTS[moment], int(number))
    if (folder / "recipe.toml").exists():
        ddcore.resume(folder, checkpoint_seconds=keeps)
    else:
        ddcore.run_experiment(experiment(), folder, checkpoint_seconds=keeps)


def main(folder, log, *lives):
    for n, (moment, _, number) in enumerate(life.partition(":") for life in lives):
        child = os.fork()
        if not child:
            live(Path(folder), Path(log), moment, number or 0, keeps=(1e9, 0.0)[n % 2])
            os._exit(0)
        if moment == "seconds":
            time.sleep(float(number))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
