"""What a GPU is given, and what it is waited for."""

import warnings
from dataclasses import replace

import pytest
import torch

from ddcore import ConvNet
from ddcore.bench import digits_as_mnist
from ddcore.chunking import CHUNK_BYTES, chunk_bytes
from ddcore.device import PAGEABLE_BYTES, sent
from ddcore.evaluation.scores import evaluate

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def mnist():
    return digits_as_mnist()


def test_a_tensor_arrives_whole(gpu):
    for numbers in (3, PAGEABLE_BYTES):
        x = torch.arange(numbers, dtype=torch.float32)
        there = sent(x, torch.device(gpu))
        assert there.is_cuda
        assert torch.equal(there.cpu(), x)


def test_a_gpu_takes_more_at_once_than_a_cpu(gpu, host, mnist):
    assert chunk_bytes(torch.device(gpu)) > 8 * CHUNK_BYTES
    run = host.start(host.recipe("dm"), mnist, device=gpu)
    run.start()
    draw = run.ctx.fresh()
    assert run.gate.source.chunk(draw, mnist.card.shape) > 8 * 16
    assert run.ctx.room == run.gate.source.chunk(draw, mnist.card.shape)


@pytest.mark.parametrize(("method", "waits"), [("dm", 2), ("dc", 2), ("dsa", 2), ("mtt", 4), ("frepo", 8)])
def test_a_step_waits_for_the_gpu_at_its_end_alone(gpu, host, mnist, method, waits):
    """For its loss, for whether all is finite, for a solver's answer; not once per class, item or inner step."""
    fit = {"epochs": "none", "steps": 10, "batch": 8, "snapshots": 10}
    overrides = {"network.width": 8, **({f"policy.fit.{k}": v for k, v in fit.items()} if method == "mtt" else {})}
    overrides |= {"objective.steps": 5} if method == "mtt" else {}
    run = host.start(host.recipe(method, ipc=2, iterations=20, overrides=overrides), mnist, device=gpu)
    run.run_until(until=3)
    with warnings.catch_warnings(record=True) as waited:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run.run_until(until=6)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    told = [str(one.filename) + f":{one.lineno}" for one in waited if "called a synchronizing" in str(one.message)]
    assert len(told) <= 3 * waits, sorted(set(told))


def test_evaluation_on_a_gpu_is_that_on_the_cpu(gpu, host, mnist):
    recipe = host.recipe("random", ipc=2, overrides={"network.width": 8})
    distilled = host.distill(recipe, mnist)
    preprocess = recipe.preprocess.fitted(mnist.card).start(mnist.card, dict)
    protocol = replace(host.protocol("quick"), steps=30, repeats=3, networks=(ConvNet(width=8),))
    here, there = (evaluate(distilled, mnist, preprocess, protocol, device=d)["accuracy"] for d in ("cpu", gpu))
    assert there["convnet"].values == pytest.approx(here["convnet"].values, abs=1.0)
