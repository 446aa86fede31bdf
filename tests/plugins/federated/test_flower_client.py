"""A distilling client, by real messages through the grid in process."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from ddcore_federated.flower import (
    distilling_client,
    params_of,
)
from ddcore_federated.flower.rounds import restore, state_of
from flwr.app import Array

import ddcore


def test_clients_send_their_shards_distilled_at_the_global_weights(
    union_of, one_round, tiny, thirds, quick, in_process
):
    strategy = union_of(tiny.card)
    app = distilling_client(thirds, quick(), encoding="float32", seed=3)
    arrays, metrics = in_process(lambda grid: one_round(strategy, grid), app)
    first, second, third = strategy.server.sets
    assert [s.targets.tolist() for s in (first, second, third)] == [[0, 1], [0, 1, 2], [0, 1, 2]]
    assert [s.items for s in (first, second, third)] == [14, 20, 20]
    assert dict(metrics) == {"sets": 3, "refused": 0, "images": 8}
    before = params_of(strategy.initial(), strategy.network.init(torch.Generator())[0])
    after = params_of(arrays, before)
    assert all(torch.equal(after[name], before[name] + 1) for name in before)
    again = union_of(tiny.card)
    in_process(lambda grid: one_round(again, grid), app)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(strategy.server.sets, again.server.sets, strict=True))
    other = union_of(tiny.card)
    in_process(lambda grid: one_round(other, grid, number=2), app)
    assert not torch.equal(strategy.server.sets[0].inputs, other.server.sets[0].inputs)
    moved = union_of(tiny.card)
    in_process(lambda grid: one_round(moved, grid, arrays=arrays), app)
    assert not torch.equal(strategy.server.sets[0].inputs, moved.server.sets[0].inputs)


def test_a_recipe_may_be_a_name_with_overrides(union_of, one_round, tiny, thirds, in_process):
    overrides = {"iterations": 1, "synthetic.ipc": 1, "objective.real": 4, "network.network.name": "mlp"}
    app = distilling_client(thirds, "feddm", overrides={**overrides, "network.network.width": 8})
    strategy = union_of(tiny.card)
    in_process(lambda grid: one_round(strategy, grid), app)
    assert len(strategy.server.sets) == 3


def test_sets_go_back_to_clients_whose_recipes_begin_at_them(union_of, one_round, tiny, thirds, quick, in_process):
    recipe = quick("meta_knowledge")
    recipe = replace(recipe, objective=replace(recipe.objective, objective=ddcore.plugin.Bptt(steps=1, lr=0.1, real=4)))
    recipe = replace(recipe, update=ddcore.Update(lr={"inputs": 1e-9}))
    strategy = union_of(tiny.card, sends_back=True)

    def server(grid):
        one_round(strategy, grid)
        one_round(strategy, grid, number=2)

    in_process(server, distilling_client(thirds, recipe, encoding="float32"))
    sets = strategy.server.sets
    lows = torch.cat([s.inputs for s in sets[:3]]).movedim(1, 0).flatten(1)
    step = float(lows.max() - lows.min()) / 255
    for after in sets[3:]:
        for x in after.inputs:
            assert min(float((x - y).abs().max()) for s in sets[:3] for y in s.inputs) <= step


def test_the_server_keeps_sets_of_earlier_rounds_and_so_it_does_after_a_stop(
    union_of, one_round, tiny, thirds, quick, in_process
):
    app = distilling_client(thirds, quick("dm"), encoding="float32")
    strategy, gone_on, forgetful = (union_of(tiny.card, keeps=keeps) for keeps in (2, 2, 0))
    came = []

    def sets_of(one, grid, number):
        one.server.sets.clear()
        one_round(one, grid, number=number)
        return list(one.server.sets)

    def server(grid):
        for number in (1, 2, 3, 4):
            assert len(sets_of(forgetful, grid, number)) == 3
            came.append(sets_of(strategy, grid, number))
            if number == 2:
                restore(gone_on, *state_of(strategy))
        came.append(sets_of(gone_on, grid, 3))

    in_process(server, app)
    assert [len(sets) for sets in came] == [3, 6, 9, 9, 9]
    assert state_of(forgetful) == ({}, {})
    for mine, theirs in zip(came[4], came[2], strict=True):
        assert torch.equal(mine.inputs, theirs.inputs) and torch.equal(mine.targets, theirs.targets)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(came[3][:3], came[1][3:], strict=True))


def drop(record, key=None):
    def change(message, grid):
        if key is None:
            del message.content[record]
        else:
            del message.content[record][key]

    return change


def weights_as(value):
    def change(message, grid):
        name = next(iter(message.content["arrays"]))
        message.content["arrays"][name] = Array(value)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (drop("arrays"), "lacks the global weights (arrays) or the config"),
        (drop("config"), "lacks the global weights (arrays) or the config"),
        (drop("config", "server-round"), "lacks server-round, the number of the round"),
        (weights_as(np.zeros(3, np.float32)), "These weights are not of this network"),
        (weights_as(np.zeros((8, 64), np.int64)), "is int64"),
        (weights_as(np.full((8, 64), np.nan, np.float32)), "are not finite: the global model has diverged"),
        (lambda message, grid: grid.contexts[1].node_config.pop("partition-id"), "lacks 'partition-id'"),
        (lambda message, grid: message.content["arrays"].pop("head.bias"), "head.bias stands in one of them only"),
    ],
)
def test_a_client_says_why_it_cannot_serve_a_message(
    union_of, refusal, tiny, thirds, quick, in_process, change, sentence
):
    app = distilling_client(thirds, quick())
    assert sentence in refusal(app, in_process, union_of(tiny.card), change)


def test_a_client_without_items_says_so(union_of, refusal, tiny, quick, in_process):
    def nothing(partition, partitions):
        store = tiny.train.subset(torch.arange(0))
        return ddcore.RealData(replace(tiny.card, counts=store.counts), store, tiny.test)

    said = refusal(distilling_client(nothing, quick()), in_process, union_of(tiny.card))
    assert said == "Client 0 has no items."


def test_classes_with_fewer_items_than_images_are_left_out(union_of, one_round, refusal, tiny, quick, in_process):
    def few(partition, partitions):
        store = tiny.train.subset(torch.tensor([0, 1, 2, 20, 40, 41]))
        return ddcore.RealData(replace(tiny.card, counts=store.counts), store, tiny.test)

    recipe = quick()
    recipe = replace(recipe, synthetic=replace(recipe.synthetic, ipc=2))
    strategy = union_of(tiny.card, ipc=2)
    in_process(lambda grid: one_round(strategy, grid), distilling_client(few, recipe))
    assert {tuple(s.targets.tolist()) for s in strategy.server.sets} == {(0, 0, 2, 2)}
    recipe = replace(recipe, synthetic=replace(recipe.synthetic, ipc=9))
    assert "no class with at least 9" in refusal(distilling_client(few, recipe), in_process, union_of(tiny.card))


def test_a_network_with_running_statistics_is_refused(union_of, refusal, tiny, thirds, quick, in_process):
    recipe = replace(quick(), network=ddcore.ConvNet(width=4, depth=1, norm="batch"))
    said = refusal(distilling_client(thirds, recipe), in_process, union_of(tiny.card))
    assert 'network.norm="instance"' in said


def test_data_without_public_numbers_are_refused(union_of, refusal, tiny, quick, in_process):
    def bare(partition, partitions):
        return ddcore.RealData(replace(tiny.card, mean=None, std=None), tiny.train, tiny.test)

    said = refusal(distilling_client(bare, quick()), in_process, union_of(tiny.card))
    assert "Give preprocess.mean and preprocess.std" in said


def test_a_client_of_another_mean_and_std_is_left_out_with_the_reason(
    union_of, one_round, tiny, thirds, quick, in_process
):
    def bent(partition, partitions):
        data = thirds(partition, partitions)
        return replace(data, card=replace(data.card, mean=(0.6,))) if partition == 1 else data

    strategy = union_of(tiny.card)
    _, metrics = in_process(lambda grid: one_round(strategy, grid), distilling_client(bent, quick()))
    assert (metrics["sets"], metrics["refused"]) == (2, 1)
    assert "client 1 is left out: inputs here go through standardise (mean 0.4; std 0.3)" in strategy.refused[0]


@dataclass(frozen=True)
class Doubtful(ddcore.View):
    """Changes nothing, and has the set say that something was changed."""

    def build(self, store, rng):
        return LiveDoubtful()


class LiveDoubtful(ddcore.LiveView):
    def facts(self):
        return {"warnings": ["This set is doubtful."]}


def test_what_a_card_warns_of_reaches_the_server(
    union_of, one_round, tiny, thirds, quick, in_process, caplog, tmp_path
):
    strategy = union_of(tiny.card, keeps=1)
    app = distilling_client(thirds, replace(quick(), views=(Doubtful(),)))
    in_process(lambda grid: one_round(strategy, grid), app)
    said = [f"client {i}: This set is doubtful." for i in range(3)]
    assert strategy.warned == said
    assert all(f"Round 1: {sentence}" in caplog.text for sentence in said)
    again = union_of(tiny.card, keeps=1)
    restore(again, *state_of(strategy))
    assert [shared.warnings for shared in again.past[0]] == [("This set is doubtful.",)] * 3
    in_process(lambda grid: one_round(strategy, grid, number=2), distilling_client(thirds, quick()))
    assert strategy.warned == []
