"""OLCGM: its formula, its room, and that items may come in any order."""

import pytest
import torch
from ddcore_replay import Olcgm, Stream
from ddcore_replay.olcgm import mixed
from ddcore_replay.stream import joined, taken
from torch.nn import functional as F

import ddcore
from ddcore import RecipeRefused

QUICK = {"outer": 1, "inner": 1, "network": ddcore.MLP(width=6)}


def built(data, seed=0, **fields):
    return Olcgm(**{**QUICK, **fields}).build(data.card, seed, "cpu", ddcore.Host())


def only(store, c):
    return taken(store, (store.targets == c).nonzero().flatten())


def test_an_output_mixes_its_own_inputs_by_weights_that_sum_to_one():
    images, weights = torch.rand(5, 1, 2, 2), torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0])
    place = torch.tensor([0, 1, 0, 1, 0])
    found = mixed(images, weights, place, 2)
    slowly = [(1 * images[0] + 3 * images[2] + 1 * images[4]) / 5, (2 * images[1] + 2 * images[3]) / 4]
    assert torch.allclose(found, torch.stack(slowly))
    assert torch.allclose(mixed(torch.ones(5, 3), torch.randn(5), place, 2), torch.ones(2, 3), atol=1e-5)


@pytest.mark.parametrize(("outer", "inner"), [(1, 2), (2, 1)])
def test_the_weights_go_down_the_distance_of_gradients(tiny, outer, inner):
    """W' = W - a d/dW D( grad l(x'), grad l(x) ), written slowly in float64."""
    data, rate = tiny, 30.0
    memory, twin = (built(data, size=6, lr=rate, outer=outer, inner=inner) for _ in range(2))
    items = taken(only(data.train, 1), torch.arange(5))
    memory._preprocess = ddcore.Standardise().fitted(data.card).start(data.card, dict)
    found = memory._condensed(items, 2)
    network = memory.plan.network.fitted(data.card).build(data.card)
    raw, place = items.inputs.double() / 255, [0, 1, 0, 1, 0]
    images = (raw - 0.4) / 0.3
    weights = torch.ones(5, dtype=torch.float64, requires_grad=True)

    def rows(x):
        sums = [sum(weights[j] for j in range(5) if place[j] == i) for i in range(2)]
        return torch.stack([sum(weights[j] / sums[i] * x[j] for j in range(5) if place[j] == i) for i in range(2)])

    def gradient(params, x):
        loss = F.cross_entropy(network(params, {}, x), torch.ones(len(x), dtype=torch.long))
        return torch.autograd.grad(loss, list(params.values()), create_graph=True)

    for _ in range(outer):
        params = {n: v.double().requires_grad_() for n, v in network.init(twin.rng["nets"])[0].items()}
        goal = [g.detach() for g in gradient(params, images)]
        for _ in range(inner):
            made, distance = gradient(params, rows(images)), 0.0
            for s, t in zip(made, goal, strict=True):
                if s.ndim >= 2:
                    norms = s.flatten(1).norm(dim=1) * t.flatten(1).norm(dim=1)
                    distance = distance + (1 - (s * t).flatten(1).sum(1) / (norms + 1e-6)).sum()
            (slope,) = torch.autograd.grad(distance, weights)
            weights = (weights - rate * slope).detach().requires_grad_()
    slowly = (255 * rows(raw)).clamp(0, 255).detach()
    assert float((weights.detach() - 1).abs().max()) > 0.1, "the weights have moved"
    assert float((found.inputs.double() - slowly).abs().max()) <= 0.51
    assert found.inputs.dtype == torch.uint8
    assert found.targets.tolist() == [1, 1]


def test_items_are_kept_while_there_is_room_and_mixed_where_a_class_loses_it(tiny):
    memory = built(tiny, size=7, every=1000)
    memory.learn(only(tiny.train, 2))
    assert memory.store.counts == (0, 0, 7)
    real = only(tiny.train, 2).inputs
    assert all((real == image).flatten(1).all(1).any() for image in memory.store.inputs), "no item was mixed yet"
    memory.learn(only(tiny.train, 0))
    assert memory.store.counts == (3, 0, 3)
    new = only(memory.store, 2).inputs
    assert not any((real == image).flatten(1).all(1).any() for image in new)
    memory.learn(only(tiny.train, 1))
    assert memory.store.counts == (2, 2, 2)
    assert memory.nbytes == 6 * 65
    for c in range(3):
        image = only(memory.store, c).inputs.float().mean(0)[0]
        assert image.sum(1).topk(2).indices.sort().values.tolist() == [2 * c, 2 * c + 1], "its class's bar"
    memory.resize(3)
    assert memory.store.counts == (1, 1, 1)


def test_after_every_few_batches_without_a_new_class_what_is_stored_meets_what_comes(tiny):
    for every in (3, 1000):
        memory = built(tiny, size=6, every=every, batch=10)
        memory.learn(tiny.train)
        before = memory.store.inputs
        memory.learn(tiny.train)  # six batches
        assert memory.store.counts == (2, 2, 2)
        assert torch.equal(memory.store.inputs, before) is (every == 1000)
    straight, parts = built(tiny, size=6), built(tiny, size=6)
    straight.learn(tiny.train)
    for _ in range(3):
        parts.learn(taken(tiny.train, torch.randperm(60)[:20]))
    assert parts.store.counts == straight.store.counts == (2, 2, 2)


def test_the_same_seed_keeps_the_same_and_it_goes_through_a_stream(digits):
    stores = []
    for seed in (0, 0, 1):
        memory = built(digits, seed, size=20, batch=50)
        for experience in Stream.of(digits, 5).experiences:
            memory.learn(experience.train)
        stores.append(memory.store)
    assert torch.equal(stores[0].inputs, stores[1].inputs)
    assert not torch.equal(stores[0].inputs, stores[2].inputs)
    assert stores[0].counts == (2,) * 10


def test_what_cannot_be_is_refused(tiny):
    for said in ({"batch": 0}, {"every": 0}, {"outer": 0}, {"inner": 0}, {"lr": 0.0}, {"lr": float("inf")}):
        with pytest.raises(RecipeRefused, match="= .*: it must be .*(at least 1|above 0)"):
            Olcgm(size=10, **said)
    memory = built(tiny, size=2)
    with pytest.raises(RecipeRefused, match="memory of 2 images cannot hold one of each of 3"):
        memory.learn(joined([tiny.train]))
