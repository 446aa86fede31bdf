"""What is measured: pairs of a fast way and the plain one.

Images are the embedded digits, resized to the shape of MNIST where a row says so, so that nothing need be downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.nn import functional as F

from ddcore import plain
from ddcore.augment.siamese import Siamese
from ddcore.data import RealData
from ddcore.datasets.digits import Digits
from ddcore.device import all_sent
from ddcore.evaluation.accuracy import Accuracy
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.training import train
from ddcore.evaluation.training_set import Preprocessed
from ddcore.host import Host
from ddcore.networks.convnet import ConvNet
from ddcore.run import Run
from ddcore.store import Store
from ddcore.types import DataCard, Draw, Params
from ddcore.unroll import UnrollMemory, unroll


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


Rows = Callable[[str], list[Pair]]
"""The pairs of a row on a device."""
B = TypeVar("B", bound=Rows)


def benchmark(rows: B) -> B:
    """Mark a function of a device, such as ``cpu``, that returns pairs as a row of ``ddcore bench`` of a plugin."""
    rows.kind = "benchmark"  # type: ignore[attr-defined]
    return rows


def _pixels(run: Run) -> torch.Tensor:
    with torch.no_grad():
        return run.synthetic.everything()[0].clone()


def _step_pair(device: str, method: str, ipc: int, data: RealData, width: int, **overrides: Any) -> Pair:
    plain_step, host = plain.STEPS[method], Host()
    train = data.train.to(torch.device(device))
    recipe = host.recipe(method, ipc=ipc, iterations=1000, overrides={"network.width": width, **overrides})

    def begun() -> Run:
        run = host.start(recipe, data, device=device)
        run.start()
        return run

    a, b = begun(), begun()

    def apart() -> float:
        one, other = begun(), begun()
        one.update()
        plain_step(other, train)
        start, moved, should = (_pixels(run) for run in (begun(), one, other))
        moved, should = moved - start, should - start
        return float((moved - should).norm() / should.norm())

    side = data.card.shape[1]
    setting = f"{data.card.name} {side}px, ConvNet-{3 if side <= 32 else 4} width {width}, ipc {ipc}, one step"
    return Pair(a.update, lambda: plain_step(b, train), apart, setting)


def _evaluate_pair(device: str) -> Pair:
    data, host, where = Digits().load(), Host(), torch.device(device)
    preprocess = host.recipe("random").preprocess.fitted(data.card).start(data.card, dict)
    distilled = host.distill(host.recipe("random", ipc=1), data)
    network = ConvNet().fitted(data.card)
    assert isinstance(network, ConvNet)
    nets = range(5)
    test = Preprocessed(data.test, preprocess)

    def fast_of(protocol: Protocol) -> tuple[torch.Tensor, Draw]:
        draw = train(network.build(data.card), distilled, data.card, protocol, protocol.lr[0], nets, 0, where)
        return Accuracy()(draw, test, 64), draw

    def plain_of(protocol: Protocol) -> Any:
        modules = [plain.train(network, distilled, protocol, data.card, protocol.lr[0], i, 0, device) for i in nets]
        inputs, targets = test.take(torch.arange(len(test)))
        return [plain.accuracy(module, inputs, targets) for module in modules], modules

    def apart() -> float:
        short = host.protocol("dc", epochs=20)  # Adam would blow rounding up where a gradient is nearly none
        (_, draw), (_, modules) = fast_of(short), plain_of(short)
        inputs = test.take(torch.arange(len(test)))[0].to(where)
        mine = draw(inputs.expand(len(nets), *inputs.shape), training=False)
        theirs = torch.stack([module(inputs).detach() for module in modules])
        return float((mine - theirs).norm() / theirs.norm())

    protocol = host.protocol("quick")
    setting = "digits 16px, ConvNet-3 width 32, 5 nets, protocol quick on 10 images, with testing"
    return Pair(lambda: fast_of(protocol), lambda: plain_of(protocol), apart, setting)


def _unroll_pair(device: str, steps: int) -> Pair:
    """The derivative of a trajectory's end with respect to ten images, in float32, under augmentation."""
    data = Digits().load()
    generator = torch.Generator().manual_seed(0)
    network = ConvNet(width=32).build(data.card)
    where = torch.device(device)
    start = all_sent(network.init(generator)[0], where)
    draw = Draw(network, start, {})
    toward = {name: torch.randn(value.shape, generator=generator).to(where) for name, value in start.items()}
    rows = torch.cat([(data.train.targets == c).nonzero()[0] for c in range(10)])
    batch = data.train.to(where).take(rows)
    views = [Siamese(("crop", "scale", "rotate")).draw(generator, data.card.shape, 10) for _ in range(steps)]

    def derivative(memory: UnrollMemory, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        x, lr = batch.inputs.to(dtype, copy=True).requires_grad_(), torch.tensor(0.02, dtype=dtype, device=where)
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

COMPILED = {"gate.compiled": True}
PUBLISHED = {"objective.real": 256}
"""DM's items of T per class as its authors take them."""

ROWS: dict[str, Rows] = {
    "dm": lambda device: [
        *(_step_pair(device, "dm", ipc, digits_as_mnist(), 128, **PUBLISHED) for ipc in (1, 10)),
        _step_pair(device, "dm", 1, Digits().load(), 32, **PUBLISHED),
    ],
    "compiled": lambda device: [
        _step_pair(device, "dm", 1, digits_as_mnist(), 128, **COMPILED, **PUBLISHED),
        _step_pair(device, "dm", 1, Digits().load(), 32, **COMPILED, **PUBLISHED),
    ],
    "dsa": lambda device: [
        _step_pair(device, "dsa", 1, digits_as_mnist(), 128),
        _step_pair(device, "dsa", 1, Digits().load(), 32),
    ],
    "dc": lambda device: [
        _step_pair(device, "dc", 1, digits_as_mnist(), 128),
        _step_pair(device, "dc", 1, Digits().load(), 32),
    ],
    "sre2l": lambda device: [_step_pair(device, "sre2l", ipc, made(64), 32, **RECOVER) for ipc in (10, 20, 40)],
    "unroll": lambda device: [_unroll_pair(device, steps) for steps in (10, 20, 50)],
    "evaluate": lambda device: [_evaluate_pair(device)],
}
