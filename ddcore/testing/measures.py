"""What a measure is held to."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ddcore.data import RealData
from ddcore.evaluation.measures import Measure
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.training_set import Preprocessed
from ddcore.experiment.reading import preprocess_of
from ddcore.host import Host
from ddcore.testing.base import Check
from ddcore.testing.contract import check_part
from ddcore.testing.shrinking import smaller
from ddcore.testing.trial import data_for, global_numbers, tiny_run
from ddcore.types import Draw

NETS = 3


@Check
def check_measure(part: Measure, *, data: RealData | None = None, host: Host | None = None) -> Iterator[str]:
    """It keeps the contract of parts; it gives one finite number per net, the same whatever the chunk and whichever
    nets stand beside it, draws nothing from the global generator, and leaves the nets as they are."""
    name, host = part.part_name(), host or Host()
    yield from check_part.faults(part, host.catalogue)
    data = data or data_for((part,), host)
    plan = smaller(host.kind(data.card.kind).network)
    Protocol(networks=(plan,), measures=(part,), augment=None).check(data, host.catalogue)
    network = plan.ready(data.card)
    distilled = tiny_run(method="random", data=data, host=host)
    measure = part.of(distilled)
    test = Preprocessed(data.test, preprocess_of(distilled, host.catalogue))
    starts = [network.init(torch.Generator().manual_seed(seed)) for seed in range(NETS)]

    def nets(*which: int) -> Draw:
        params, buffers = (
            {key: torch.stack([starts[i][s][key] for i in which]) for key in starts[0][s]} for s in (0, 1)
        )
        return Draw(network, params, buffers, ensemble=len(which))

    draw = nets(*range(NETS))
    held = {key: value.clone() for key, value in (draw.params | draw.buffers).items()}
    with global_numbers() as drawn:
        values = measure(draw, test, len(test)).detach().cpu()
        if drawn():
            yield f"{name} draws from torch's global generator: use a torch.Generator of a fixed seed."
    if values.shape != (NETS,):
        yield (
            f"{name} answers {tuple(values.shape)} for {NETS} nets: answer one number per net, (e,), as by a mean over"
            " the last axis."
        )
        return
    if not bool(values.isfinite().all()):
        yield f"{name} is {values.tolist()} of new networks: guard logarithms and divisions by zero."
    if any(not torch.equal(value, held[key]) for key, value in (draw.params | draw.buffers).items()):
        yield f"{name} changes the nets that it measures: call them with training=False, and work on copies."
    if not _close(measure(nets(*range(NETS)), test, 7).detach().cpu(), values):
        yield (
            f"{name} depends on the chunk, which only says how many items fit in memory: sum over the chunks, and"
            " divide by the number of all items at the end."
        )
    alone = torch.cat([measure(nets(i), test, len(test)).detach().cpu() for i in range(NETS)])
    if not _close(alone, values):
        yield f"{name} of a net depends on the nets beside it: reduce over items alone, never over axis 0."


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-4, equal_nan=True)
