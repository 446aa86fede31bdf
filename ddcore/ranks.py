"""One run over several processes, as torchrun starts them: each computes a share of T's side of every step.

All of them hold the same recipe, seeds, S and optimiser, and make the same steps. The gate divides the items of a
request among them and adds up what they found, so that each receives the answer that one process would have. The first
one writes the files.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from ddcore.errors import RankLost, RecipeRefused
from ddcore.types import Params

V = TypeVar("V")

PATIENCE = timedelta(hours=6)
"""How long a process waits for another one that lives: one that ends is noticed at once."""


@dataclass(frozen=True)
class Ranks:
    """The processes that share a run's work, as one of them sees them; by default there is no other.

    Each method that exchanges something is called by all of them, in the same order, and raises RankLost where one of
    them has ended.
    """

    number: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """This process is the one that writes files and speaks for all."""
        return self.number == 0

    def share(self, n: int) -> slice:
        """Which of n items this process computes, maybe none; no item is another one's too."""
        return slice(self.number * n // self.count, (self.number + 1) * n // self.count)

    def summed(self, each: Sequence[Params]) -> list[Params]:
        """Each of these tensors added up over the processes, the same to the last bit in all of them."""
        return self._exchanged(dist.all_reduce, each)

    def of_first(self, params: Params) -> Params:
        """The first process's tensors, which have the names and shapes of this one's."""
        (found,) = self._exchanged(lambda flat: dist.broadcast(flat, 0), [params])
        return found

    def _exchanged(self, exchange: Callable[[Tensor], Any], each: Sequence[Params]) -> list[Params]:
        """What ``exchange``, which works in place, makes of copies of the tensors: all those of one type at a time."""
        if self.count == 1:
            return list(each)
        answers = [dict(params) for params in each]
        kinds: dict[Any, list[tuple[Params, str]]] = defaultdict(list)
        for answer in answers:
            for name, value in answer.items():
                kinds[value.dtype, value.device].append((answer, name))
        for places in kinds.values():
            tensors = [answer[name].detach() for answer, name in places]
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            with _living():
                exchange(flat)
            parts = flat.split([tensor.numel() for tensor in tensors])
            for (answer, name), tensor, part in zip(places, tensors, parts, strict=True):
                answer[name] = part.view(tensor.shape)
        return answers

    def told(self, value: V) -> V:
        """The first process's ``value``: numbers, texts, bytes, and lists of them."""
        if self.count == 1:
            return value
        said: list[Any] = [value]
        with _living():
            dist.broadcast_object_list(said, 0)
        return said[0]

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is true in one of the processes."""
        (found,) = self.summed([{"flags": torch.tensor(int(flag))}])
        return bool(found["flags"])

    def wait(self) -> None:
        """Until all processes have come here."""
        self.any(False)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """What stands within is done by the first process, and once that is done by the others."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


ALONE = Ranks()
_ranks = ContextVar("ranks", default=ALONE)


def ranks() -> Ranks:
    """The processes that share the work here: this one alone, but within :func:`joined`."""
    return _ranks.get()


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Within it this process and those that torchrun has started with it share one run; the device that it works on.

    Of ``cuda`` each process takes the GPU of its number on its machine. Nothing changes without torchrun.

    Raises:
        RecipeRefused: several processes are to share one GPU.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.startswith("cuda:"):
        raise RecipeRefused(
            f"--device {device} would have all processes share one GPU. Write --device cuda: each then takes its own."
        )
    cuda, local, ours = device == "cuda", os.environ["LOCAL_RANK"], not dist.is_initialized()
    if os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):  # nothing need leave this machine
            os.environ.setdefault(name, "lo0" if sys.platform == "darwin" else "lo")
    if cuda and int(local) < torch.cuda.device_count():
        torch.cuda.set_device(int(local))
    with _living():
        if ours:
            dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    here = Ranks(dist.get_rank(), dist.get_world_size())
    before = _ranks.set(here)
    try:
        yield f"cuda:{local}" if cuda else device
        here.wait()
    except BaseException as error:
        error.add_note(f"(Process {here.number + 1} of {here.count}.)")
        raise
    finally:
        _ranks.reset(before)
        if ours:
            with suppress(RuntimeError):
                dist.destroy_process_group()


@contextmanager
def _living() -> Iterator[None]:
    """What torch says of an exchange that failed, in a sentence."""
    try:
        yield
    except RuntimeError as error:
        raise RankLost(
            "Another process of this run has ended, so this one ends too. If that one said nothing, it was killed."
        ) from error
