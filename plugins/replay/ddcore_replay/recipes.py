"""Recipes made for memories."""

from __future__ import annotations

import ddcore

ROSASCO = ddcore.Citation(
    "rosasco2021distilled",
    "Rosasco, Andrea and Carta, Antonio and Cossu, Andrea and Lomonaco, Vincenzo and Bacciu, Davide",
    "Distilled Replay: Overcoming Forgetting through Synthetic Samples",
    "International Workshop on Continual Semi-Supervised Learning",
    2021,
)


@ddcore.method(ROSASCO)
def distilled_replay(ipc: int = 1, iterations: int = 200, steps: int = 30) -> ddcore.Recipe:
    """Distilled replay: min_S sum_{j=1..J} l_T( w_j ), where w_{j+1} = w_j - a grad l_S( w_j ) from a fresh w_0.

    The loss on T is summed over all J = ``steps`` of training on S, not taken at the last alone; S starts from real
    images and moves by plain SGD, the step size a = 0.05 stands still (Rosasco et al., 2021, Eq. 3). From the authors'
    code: J = 30, 128 items of T, S at 0.1; LeNet.

    Differs: each w_j meets its own items of T. The core's objective is the mean over the steps, so the rate of S is J
    times theirs. Networks start as torch's layers do, not as Xavier says. Published are 70 epochs on the items of a
    task, about 6 500 iterations; 200 suit a small machine.
    """
    return ddcore.Recipe(
        "distilled_replay",
        synthetic=ddcore.Pixels(ipc, init="real"),
        objective=ddcore.Bptt(steps=steps, lr=0.05, checks=steps, real=128),
        network=ddcore.LeNet(),
        update=ddcore.Update(lr={"inputs": 0.1 * steps}, momentum=0.0),
        iterations=iterations,
    )
