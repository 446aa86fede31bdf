"""Private distillation: a gate that clips, noises and accounts, recipes made for it, and an audit.

[plugins.private]
epsilon = 8.0            # the budget, at delta
delta = 1e-5
requests = 1000          # sigma is solved so that the budget lasts for these; by default one per update
"""

from dataclasses import replace

from ddcore import plugin as dd
from ddcore_private.audit import Audit
from ddcore_private.bench import private
from ddcore_private.dp_sgd import DpSgd
from ddcore_private.gate import PrivateGate
from ddcore_private.recipes import dosser, ndpdc, psg

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    return [PrivateGate, Audit, DpSgd, psg, ndpdc, dosser, private]


@dd.hookimpl(wrapper=True)
def ddcore_recipe(recipe, card):
    fitted = yield
    gate = fitted.options("private", PrivateGate)
    if gate.requests is None and gate.noise_multiplier is None:
        gate = replace(gate, requests=gate.signals or max(1, fitted.iterations))
    if fitted.gate not in (dd.Open(), gate):
        raise dd.RecipeRefused(
            f"The recipe's gate is {fitted.gate}, and its [plugins.private] asks for {gate}. Say it in one place:"
            " in [plugins.private]."
        )
    return replace(fitted, gate=gate)


@dd.hookimpl(wrapper=True)
def ddcore_step(run):
    gate = run.recipe.gate
    if isinstance(gate, PrivateGate) and gate.signals is not None and run.step % gate.signals == 0:
        run.rng.rewind()
    return (yield)
