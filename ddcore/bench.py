"""Speed as ratios: each fast path against the plain one, which it must agree with first.

Images are the embedded digits, resized to the shape of MNIST where a row says so, so that nothing need be
downloaded. Rounds alternate A B A B in one process; the peak memory of each side is a fresh process's.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar, cast

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ddcore import plain
from ddcore.augment.siamese import Siamese
from ddcore.data import RealData
from ddcore.datasets.digits import Digits
from ddcore.device import peak_mib
from ddcore.errors import DdcoreError, UnknownName
from ddcore.evaluation.accuracy import Accuracy
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.training import train
from ddcore.evaluation.training_set import Preprocessed
from ddcore.files import check_target, write_whole
from ddcore.host import Host
from ddcore.networks.convnet import ConvNet
from ddcore.run import Run
from ddcore.store import Store
from ddcore.types import DataCard, Draw, Params
from ddcore.unroll import UnrollMemory, unroll

TOLERANCE = 1e-5
"""Largest relative difference of one step's gradient, in float32."""


def digits_as_mnist() -> RealData:
    """The digits at 28x28, each class repeated to 256 items."""
    small = Digits().load()
    splits = (255 * split.take(torch.arange(len(split))).inputs for split in (small.train, small.test))
    train_inputs, test_inputs = (F.interpolate(x, (28, 28), mode="bilinear").round().to(torch.uint8) for x in splits)
    rows = torch.cat([(small.train.targets == c).nonzero().flatten().repeat(3)[:256] for c in range(10)])
    train_split = Store.of(train_inputs[rows], small.train.targets[rows], 10)
    test = Store.of(test_inputs, small.test.targets, 10)
    card = DataCard("digits28", (1, 28, 28), 10, (256,) * 10, flips=False, mean=(0.3,), std=(0.37,))
    return RealData(card, train_split, test)


def made(side: int) -> RealData:
    """Ten classes of colour images of noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (80, 3, side, side), generator=generator, dtype=torch.uint8)
    split = images, torch.arange(80) % 10
    return RealData.of("made", split, split, mean=(0.5,) * 3, std=(0.29,) * 3)


@dataclass(frozen=True)
class Pair:
    """Two ways to do one piece of work, and how far their results are apart (relative)."""

    fast: Callable[[], Any]
    plain: Callable[[], Any]
    apart: Callable[[], float]
    setting: str
    also: Callable[[], dict[str, float]] = dict
    """Other numbers to tell beside, by name."""


Rows = Callable[[], list[Pair]]
B = TypeVar("B", bound=Rows)


def benchmark(rows: B) -> B:
    """Mark a function that returns pairs as a row of ``ddcore bench`` that a plugin brings."""
    rows.kind = "benchmark"  # type: ignore[attr-defined]
    return rows


def _pixels(run: Run) -> torch.Tensor:
    with torch.no_grad():
        return run.synthetic.everything()[0].clone()


def _step_pair(method: str, ipc: int, data: RealData, width: int, **overrides: Any) -> Pair:
    plain_step = plain.STEPS[method]
    host = Host()
    recipe = host.recipe(method, ipc=ipc, iterations=1000, overrides={"network.width": width, **overrides})

    def begun() -> Run:
        run = host.start(recipe, data)
        run.start()
        return run

    a, b = begun(), begun()

    def apart() -> float:
        one, other = begun(), begun()
        one.update()
        plain_step(other, data.train)
        start, moved, should = (_pixels(run) for run in (begun(), one, other))
        moved, should = moved - start, should - start
        return float((moved - should).norm() / should.norm())

    side = data.card.shape[1]
    setting = f"{data.card.name} {side}px, ConvNet-{3 if side <= 32 else 4} width {width}, ipc {ipc}, one step"
    return Pair(a.update, lambda: plain_step(b, data.train), apart, setting)


def _evaluate_pair() -> Pair:
    data = Digits().load()
    host = Host()
    preprocess = host.recipe("random").preprocess.fitted(data.card).start(data.card, dict)
    distilled = host.distill(host.recipe("random", ipc=1), data)
    network = ConvNet().fitted(data.card)
    assert isinstance(network, ConvNet)
    nets = range(5)
    test = Preprocessed(data.test, preprocess)

    def fast_of(protocol: Protocol) -> tuple[torch.Tensor, Draw]:
        draw = train(
            network.build(data.card), distilled, data.card, protocol, protocol.lr[0], nets, 0, torch.device("cpu")
        )
        return Accuracy()(draw, test, 64), draw

    def plain_of(protocol: Protocol) -> Any:
        modules = [plain.train(network, distilled, protocol, data.card, protocol.lr[0], i, 0) for i in nets]
        inputs, targets = test.take(torch.arange(len(test)))
        return [plain.accuracy(module, inputs, targets) for module in modules], modules

    def apart() -> float:
        short = host.protocol("dc", epochs=20)  # Adam would blow rounding up where a gradient is nearly none
        (_, draw), (_, modules) = fast_of(short), plain_of(short)
        inputs, _ = test.take(torch.arange(len(test)))
        mine = draw(inputs.expand(len(nets), *inputs.shape), training=False)
        theirs = torch.stack([module(inputs).detach() for module in modules])
        return float((mine - theirs).norm() / theirs.norm())

    protocol = host.protocol("quick")
    setting = "digits 16px, ConvNet-3 width 32, 5 nets, protocol quick on 10 images, with testing"
    return Pair(lambda: fast_of(protocol), lambda: plain_of(protocol), apart, setting)


def _unroll_pair(steps: int) -> Pair:
    """The derivative of a trajectory's end with respect to ten images, in float32, under augmentation."""
    data = Digits().load()
    generator = torch.Generator().manual_seed(0)
    network = ConvNet(width=32).build(data.card)
    start = network.init(generator)[0]
    draw = Draw(network, start, {})
    toward = {name: torch.randn(value.shape, generator=generator) for name, value in start.items()}
    rows = torch.cat([(data.train.targets == c).nonzero()[0] for c in range(10)])
    batch = data.train.take(rows)
    views = [Siamese(("crop", "scale", "rotate")).draw(generator, data.card.shape, 10) for _ in range(steps)]

    def derivative(memory: UnrollMemory, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        x, lr = batch.inputs.to(dtype, copy=True).requires_grad_(), torch.tensor(0.02, dtype=dtype)
        begin, end = ({name: value.to(dtype) for name, value in at.items()} for at in (start, toward))

        def loss(i: int, params: Params) -> torch.Tensor:
            return F.cross_entropy(draw(views[i](x), params), batch.targets)

        unroll(loss, begin, steps, lr, [x], memory=memory).backward(end)
        assert x.grad is not None
        return x.grad

    def apart() -> float:
        """In float64: long trainings blow up what float32 rounds."""
        exact, full = derivative("exact", torch.float64), derivative("full", torch.float64)
        return float((exact - full).norm() / full.norm())

    def also() -> dict[str, float]:
        tesla, exact = derivative("tesla"), derivative("exact")
        return {"tesla's cosine": float(F.cosine_similarity(tesla.flatten(), exact.flatten(), dim=0))}

    setting = f"digits 16px, ConvNet-3 width 32, 10 images, {steps} student steps, exact memory against full"
    return Pair(lambda: derivative("exact"), lambda: derivative("full"), apart, setting, also)


RECOVER = {
    **{"policy.fit.steps": 1, "policy.fit.batch": 16, "objective.batch": 50},
    # SGD: Adam would blow rounding up where a gradient is nearly none
    **{"update.optimiser": "sgd", "update.optimiser.momentum": 0.5, "update.lr.inputs": 100.0, "update.clamp": False},
}
"""SRe2L's recovery at any size: a teacher of one step, batches of 50."""

ROWS: dict[str, Rows] = {
    "dm": lambda: (
        [_step_pair("dm", ipc, digits_as_mnist(), 128) for ipc in (1, 10)] + [_step_pair("dm", 1, Digits().load(), 32)]
    ),
    "dsa": lambda: [_step_pair("dsa", 1, digits_as_mnist(), 128), _step_pair("dsa", 1, Digits().load(), 32)],
    "dc": lambda: [_step_pair("dc", 1, digits_as_mnist(), 128), _step_pair("dc", 1, Digits().load(), 32)],
    "sre2l": lambda: [_step_pair("sre2l", ipc, made(64), 32, **RECOVER) for ipc in (10, 20, 40)],
    "unroll": lambda: [_unroll_pair(steps) for steps in (10, 20, 50)],
    "evaluate": lambda: [_evaluate_pair()],
}


def _rows() -> dict[str, Rows]:
    """The core's rows and those that plugins bring."""
    return {**ROWS, **{entry.name: cast(Rows, entry.maker) for entry in Host().catalogue.of("benchmark")}}


def _timed(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds, and the pages that the kernel had to clear."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    faults = after.ru_minflt - before.ru_minflt
    return {"wall": wall, "user": user, "system": system, "cpu": user + system, "faults": faults}


class Launches(TorchDispatchMode):
    """Counts the operations that are not views: each is at least one kernel that a GPU would launch."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def launches(work: Callable[[], Any]) -> int:
    """Operations that are not views in ``work``, forward and backward."""
    with Launches() as seen:
        work()
    return seen.count


KINDS = ("wall", "user", "system", "cpu", "faults")


def peaks(rounds: int = 5) -> dict[str, float]:
    """The most GFLOP/s that products (1024 x 1024) and convolutions (128 to 128 channels, 16 x 16) reach here."""
    a, x = torch.randn(1024, 1024), torch.randn(16, 128, 16, 16)
    weight = torch.randn(128, 128, 3, 3)
    works = {
        "product": (lambda: a @ a, 2 * 1024**3),
        "convolution": (lambda: F.conv2d(x, weight, padding=1), 2 * 16 * 256 * 9 * 128**2),
    }
    return {
        name: flops / min(_timed(work)["wall"] for _ in range(rounds)) / 1e9 for name, (work, flops) in works.items()
    }


def _peak(row: str, number: int, side: str, threads: int) -> tuple[float, float]:
    """Peak MiB of a fresh process that does the work once, and how much of that the work added."""
    command = [sys.executable, "-m", "ddcore.bench", row, str(number), side, str(threads)]
    before, after = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(after), float(after) - float(before)


def measure(row: str, number: int, pair: Pair, rounds: int, threads: int) -> dict[str, Any]:
    """One row: agreement, then ``rounds`` of plain and fast in turn.

    Raises:
        DdcoreError: the fast path does not agree with the plain one; nothing is timed then.
    """
    apart = pair.apart()
    if not apart <= TOLERANCE:
        raise DdcoreError(f"{row} ({pair.setting}): fast and plain differ by {apart:.1e}, more than {TOLERANCE:.0e}.")
    pair.plain()
    pair.fast()
    counted = {"plain": launches(pair.plain), "fast": launches(pair.fast)}
    times = [(_timed(pair.plain), _timed(pair.fast)) for _ in range(rounds)]
    ratios = sorted(plain["cpu"] / fast["cpu"] for plain, fast in times)
    peaks = {side: _peak(row, number, side, threads) for side in ("plain", "fast")}
    return {
        "row": row,
        "setting": pair.setting,
        "apart": apart,
        "rounds": rounds,
        "plain": {kind: median(plain[kind] for plain, _ in times) for kind in KINDS},
        "fast": {kind: median(fast[kind] for _, fast in times) for kind in KINDS},
        "ratio": {"median": median(ratios), "min": ratios[0], "max": ratios[-1]},
        "peak_mib": {side: peak for side, (peak, _) in peaks.items()},
        "added_mib": {side: added for side, (_, added) in peaks.items()},
        "launches": counted,
        "also": pair.also(),
    }


def main(rows: list[str], path: Path | None = None, rounds: int = 7, threads: int = 1) -> list[dict[str, Any]]:
    """Measure ``rows``, print a table, and write it as JSON to ``path``.

    Raises:
        UnknownName: no such row.
    """
    known = _rows()
    for row in rows:
        if row not in known:
            raise UnknownName("benchmark", row, known)
    if path:
        check_target(path)
    torch.set_num_threads(threads)
    allocator = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    console = Console(width=max(150, Console().width))
    reached = peaks()
    console.print(
        f"torch {torch.__version__}, {threads} thread(s), {platform.machine()}, allocator {allocator or 'default'}, at"
        f" most {reached['product']:.0f} GFLOP/s in products and {reached['convolution']:.0f} in convolutions"
    )
    table = Table(
        "row",
        "setting",
        "wall s plain/fast",
        "user s",
        "system s",
        "page faults",
        "launches",
        "peak MiB",
        "of it the work's",
        "CPU ratio (min-max)",
        "apart",
    )
    found = []
    for row in rows:
        for number, pair in enumerate(known[row]()):
            result = measure(row, number, pair, max(rounds, 7), threads)
            found.append(result)
            p, f, ratio = result["plain"], result["fast"], result["ratio"]
            table.add_row(
                row,
                "; ".join([pair.setting, *(f"{name} {value:.3f}" for name, value in result["also"].items())]),
                *(f"{p[kind]:.3f} / {f[kind]:.3f}" for kind in ("wall", "user", "system")),
                f"{p['faults']:.0f} / {f['faults']:.0f}",
                f"{result['launches']['plain']} / {result['launches']['fast']}",
                f"{result['peak_mib']['plain']:.0f} / {result['peak_mib']['fast']:.0f}",
                f"{result['added_mib']['plain']:.0f} / {result['added_mib']['fast']:.0f}",
                f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})",
                f"{result['apart']:.0e}",
            )
    console.print(table)
    if path:
        machine = {
            "torch": torch.__version__,
            "threads": threads,
            "machine": platform.machine(),
            "allocator": allocator,
            "peak_gflops": reached,
        }
        write_whole(path, (json.dumps({"machine": machine, "rows": found}, indent=2) + "\n").encode())
    return found


if __name__ == "__main__":
    _row, _number, _side, _threads = sys.argv[1:]
    torch.set_num_threads(int(_threads))
    _work = getattr(_rows()[_row]()[int(_number)], _side)
    _before = peak_mib()
    _work()
    print(_before, peak_mib())
