"""Everything that the core, the repository's plugins and the examples bring, held to the checks that authors use."""

from dataclasses import replace

import pytest
import torch

from ddcore import Host, testing
from ddcore import plugin as dd
from ddcore.device import all_sent
from ddcore.evaluation.training_set import Preprocessed
from ddcore.experiment.reading import preprocess_of
from ddcore.testing.distribution import CHECKS, reads_files
from ddcore.testing.recipes import started
from ddcore.testing.trial import data_for, trial
from ddcore.types import Draw

HOST = Host()
PARTS = [entry.maker for entry in HOST.catalogue if isinstance(entry.maker, type)]
MADE = {
    "by_loss": lambda cls: cls(dd.GradientMatch(real=4)),
    "hallucinated": lambda cls: cls(ipc=2),
    "latents": lambda cls: cls(ipc=8),
    "private_gate": lambda cls: cls(noise_multiplier=1.0),
    **dict.fromkeys(("balanced", "distilled", "olcgm", "reservoir"), lambda cls: cls(size=9)),
}
"""Parts that are refused by their defaults."""


WITHIN = {
    "contrast": lambda: replace(testing.smaller(HOST.recipe("haba", ipc=2)), iterations=3),
    **dict.fromkeys(("kmeans", "kmedoids"), lambda: testing.smaller(HOST.recipe("random"))),
}
"""Parts that do nothing without others: the recipes in which they are tried."""


def made(maker):
    if not isinstance(maker, type):
        return maker
    own = MADE.get(maker.part_name())
    return testing.smaller(own(maker) if own else testing.sample(maker))


ELSEWHERE = {"graph_gcn", "sampled_graphs", "doscond_graphs", "trajectory", "dynafed", "pair_match"}
"""Parts for whole graphs, which no data set makes without files, for trajectories that a server hands out, and for
networks of two towers: the plugins' own tests check them."""
LONG = {"dosser", "datm", "distilled_replay"}
"""Methods whose small run takes more than ten seconds."""


def of(kind):
    return [entry.name for entry in HOST.catalogue.of(kind) if entry.name not in ELSEWHERE]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.kind}-{part.part_name()}")
def test_every_part_keeps_the_contract(part):
    testing.check_part(made(part), HOST.catalogue)


KINDS = ["carrier", "data", "gate", "measure", "network", "objective", "policy", "protocol", "view"]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in of(kind)])
def test_every_part_keeps_the_rules_of_its_kind(kind, name):
    """Of data sets whose files are not here, those of any part."""
    part = made(HOST.catalogue.find(kind, name).maker)
    if kind == "data" and reads_files(part):
        testing.check_part(part, HOST.catalogue)
    else:
        within = {"recipe": WITHIN[name]()} if name in WITHIN else {}
        CHECKS[kind](part, host=HOST, **within)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LONG else ()) for n in of("method")])
def test_every_method_keeps_the_rules(name):
    testing.check_recipe(HOST.catalogue.find("method", name).maker, host=HOST)


def test_a_private_gate_that_neither_clips_nor_noises_is_the_open_one():
    plan = HOST.catalogue.find("gate", "private_gate").maker
    quiet = plan(epsilon=float("inf"), noise_multiplier=0.0, max_gradient_norm=1e6, max_feature_norm=1e6)
    testing.check_gate(plan(noise_multiplier=1.0), identity=quiet, host=HOST)
    testing.check_gate(dd.Open(), identity=dd.Open(max_bytes=1), host=HOST)


def test_the_outside_study_keeps_the_rules():
    study = HOST.catalogue.find("study", "widths").maker
    testing.check_study(study(widths=(2, 4), seeds=(0,)), host=HOST)


def test_nodes_and_values_go_the_same_way():
    from ddcore.testing import vertices

    host = Host({"vertices": vertices})
    testing.check_network(vertices.Propagate(), host=host)
    testing.check_objective(dd.FeatureMatch(real=4), data=testing.tiny_nodes(), host=host)
    testing.check_objective(dd.GradientMatch(real=4), data=testing.tiny_vectors(), host=host)
    recipe = testing.tiny_recipe(method="dc", data=testing.tiny_signals(), host=host)
    assert replace(recipe, seed=0) != recipe


@pytest.fixture
def exact_gpu(gpu):
    """The GPU, without TF32."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield gpu


LEARNING = ["carrier", "labels", "objective", "policy", "preprocess", "view"]


@pytest.mark.gpu
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in LEARNING for name in of(kind)])
def test_every_part_makes_on_a_gpu_what_it_makes_on_the_cpu(kind, name, exact_gpu):
    part = made(HOST.catalogue.find(kind, name).maker)
    found = trial(part, WITHIN[name]() if name in WITHIN else None, None, HOST)
    same_on_both(found.recipe, found.data, exact_gpu)


@pytest.mark.gpu
@pytest.mark.parametrize("name", of("method"))
def test_every_method_makes_on_a_gpu_what_it_makes_on_the_cpu(name, exact_gpu):
    recipe = HOST.catalogue.find("method", name).maker()
    data = data_for(tuple(part for where, part in recipe.within() if where), HOST)
    found, run = started(testing.smaller(HOST.kind(data.card.kind).adapted(recipe)), data, HOST)
    if run.recipe.gate.guards:  # its noise is never the same
        assert HOST.distill(found.recipe, data, device=exact_gpu).inputs.isfinite().all()
    else:
        same_on_both(found.recipe, data, exact_gpu)


def same_on_both(recipe, data, gpu):
    here, there = HOST.distill(recipe, data), HOST.distill(recipe, data, device=gpu)
    assert {key: value.shape for key, value in there.latent.items()} == {k: v.shape for k, v in here.latent.items()}
    assert all(not value.is_cuda for value in (there.inputs, there.targets, *there.latent.values()))
    for a, b in ((here.inputs, there.inputs), (here.targets.float(), there.targets.float())):
        assert (b - a).norm() <= 3e-2 * a.norm() + 1e-6  # Adam blows rounding up where a gradient is nearly none


@pytest.mark.gpu
@pytest.mark.parametrize("name", of("network"))
def test_every_network_answers_on_a_gpu_as_on_the_cpu(name, exact_gpu):
    part = made(HOST.catalogue.find("network", name).maker)
    data = data_for((part,), HOST)
    network, device = part.ready(data.card), torch.device(exact_gpu)
    params, buffers = network.init(torch.Generator().manual_seed(0))
    here = Draw(network, params, buffers)
    there = Draw(network, all_sent(params, device), all_sent(buffers, device))
    inputs = data.test.take(torch.arange(6)).inputs
    with torch.no_grad():
        a, b = here(inputs, training=False), there(inputs.to(device), training=False)
    assert b.is_cuda
    assert (b.cpu() - a).norm() <= 1e-3 * a.norm() + 1e-6


@pytest.mark.gpu
@pytest.mark.parametrize("name", of("measure"))
def test_every_measure_says_of_a_gpu_what_it_says_of_the_cpu(name, exact_gpu):
    part = made(HOST.catalogue.find("measure", name).maker)
    data = data_for((part,), HOST)
    distilled = testing.tiny_run(method="random", data=data, host=HOST)
    network = testing.smaller(HOST.kind(data.card.kind).network).ready(data.card)
    params, buffers = network.init(torch.Generator().manual_seed(0))
    here, there = (
        Draw(network, *({k: v[None].to(device) for k, v in each.items()} for each in (params, buffers)), ensemble=1)
        for device in ("cpu", exact_gpu)
    )
    test = Preprocessed(data.test, preprocess_of(distilled, HOST.catalogue))
    a, b = (part.of(distilled)(draw, test, 7).detach().cpu() for draw in (here, there))
    assert torch.allclose(a.float(), b.float(), rtol=1e-2, atol=1e-2)
