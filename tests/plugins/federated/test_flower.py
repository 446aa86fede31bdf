"""Clients and the strategy, by real messages through the grid in process."""

import io
import json
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from ddcore_federated import ReplayEach, Server, TrainOnUnion
from ddcore_federated.flower import (
    ENVIRONMENT,
    Metered,
    Sampled,
    SyntheticUnion,
    arrays_of,
    averaging,
    distilling_client,
    params_of,
    simulate,
    training_client,
)
from ddcore_federated.flower.rounds import restore, state_of
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore import telemetry

import ddcore

NET = ddcore.MLP(width=8)
FIT = ddcore.Fit(steps=3, batch=4, lr=0.1, optimiser=ddcore.plugin.Sgd(momentum=0.5, weight_decay=5e-4))


class Noting(Server):
    """Keeps what sets came, and adds one to each weight."""

    def __init__(self):
        object.__setattr__(self, "sets", [])

    def next_weights(self, weights, sets, network, card, rng, device="cpu", progress=None):
        self.sets.extend(sets)
        return {name: value + 1 for name, value in weights.items()}


def union_of(card, server=None, ipc=1, **named):
    return SyntheticUnion(card, NET, ipc, server or Noting(), **named)


def one_round(strategy, grid, number=1, arrays=None, timeout=None, **config):
    asked = strategy.configure_train(number, arrays or strategy.initial(), ConfigRecord(config), grid)
    return strategy.aggregate_train(number, grid.send_and_receive(asked, timeout=timeout))


def refusal(app, in_process, strategy, change=None):
    """What the first client says that refuses what is asked of it."""

    def server(grid):
        (message, *_) = strategy.configure_train(1, strategy.initial(), ConfigRecord(), grid)
        if change:
            change(message, grid)
        (reply,) = grid.send_and_receive([message])
        assert reply.has_error()
        return reply.error.reason

    return in_process(server, app)


# --- a distilling client ---------------------------------------------------------------------------------


def test_clients_send_their_shards_distilled_at_the_global_weights(tiny, thirds, quick, in_process):
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


def test_a_recipe_may_be_a_name_with_overrides(tiny, thirds, in_process):
    overrides = {"iterations": 1, "synthetic.ipc": 1, "objective.real": 4, "network.network.name": "mlp"}
    app = distilling_client(thirds, "feddm", overrides={**overrides, "network.network.width": 8})
    strategy = union_of(tiny.card)
    in_process(lambda grid: one_round(strategy, grid), app)
    assert len(strategy.server.sets) == 3


def test_sets_go_back_to_clients_whose_recipes_begin_at_them(tiny, thirds, quick, in_process):
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


def test_the_server_keeps_sets_of_earlier_rounds_and_so_it_does_after_a_stop(tiny, thirds, quick, in_process):
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
def test_a_client_says_why_it_cannot_serve_a_message(tiny, thirds, quick, in_process, change, sentence):
    app = distilling_client(thirds, quick())
    assert sentence in refusal(app, in_process, union_of(tiny.card), change)


def test_a_client_without_items_says_so(tiny, quick, in_process):
    def nothing(partition, partitions):
        store = tiny.train.subset(torch.arange(0))
        return ddcore.RealData(replace(tiny.card, counts=store.counts), store, tiny.test)

    said = refusal(distilling_client(nothing, quick()), in_process, union_of(tiny.card))
    assert said == "Client 0 has no items."


def test_classes_with_fewer_items_than_images_are_left_out(tiny, quick, in_process):
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


def test_a_network_with_running_statistics_is_refused(tiny, thirds, quick, in_process):
    recipe = replace(quick(), network=ddcore.ConvNet(width=4, depth=1, norm="batch"))
    said = refusal(distilling_client(thirds, recipe), in_process, union_of(tiny.card))
    assert 'network.norm="instance"' in said


def test_data_without_public_numbers_are_refused(tiny, quick, in_process):
    def bare(partition, partitions):
        return ddcore.RealData(replace(tiny.card, mean=None, std=None), tiny.train, tiny.test)

    said = refusal(distilling_client(bare, quick()), in_process, union_of(tiny.card))
    assert "Give preprocess.mean and preprocess.std" in said


def test_a_client_of_another_mean_and_std_is_left_out_with_the_reason(tiny, thirds, quick, in_process):
    def bent(partition, partitions):
        data = thirds(partition, partitions)
        return replace(data, card=replace(data.card, mean=(0.6,))) if partition == 1 else data

    strategy = union_of(tiny.card)
    _, metrics = in_process(lambda grid: one_round(strategy, grid), distilling_client(bent, quick()))
    assert (metrics["sets"], metrics["refused"]) == (2, 1)
    assert "client 1 is left out: inputs here go through standardise (mean 0.4; std 0.3)" in strategy.refused[0]


# --- what a client remembers -----------------------------------------------------------------------------


PRIVATE = {"epsilon": 20.0, "delta": 1e-3}


def private(quick, **options):
    """All items in each request, so that one calculation serves all clients."""
    recipe = quick(**{"synthetic.init": "noise"})
    objective = replace(recipe.objective, real=64)
    return replace(recipe, objective=objective, plugins={"private": {**PRIVATE, **options}})


def test_a_private_client_keeps_one_budget_over_all_rounds(tiny, thirds, quick, in_process, tmp_path):
    app = distilling_client(thirds, private(quick), keep=tmp_path)
    strategy = union_of(tiny.card)
    spent, ledgers = [], []

    def server(grid):
        for number in (1, 2):
            spent.append(one_round(strategy, grid, number=number, rounds=2)[1]["epsilon"])
            carried = json.loads(grid.contexts[2].state["ddcore"]["carried"])
            ledgers.append(sum(count for _, _, count in carried["ledger"]["history"]))
        return one_round(strategy, grid, number=3, rounds=2)

    arrays, metrics = in_process(server, app)
    assert ledgers == [2, 4]
    assert 0 < spent[0] < spent[1] <= 20
    assert arrays is None
    assert dict(metrics) == {"sets": 0, "refused": 3, "images": 0}
    assert all("Nothing was distilled: the privacy budget" in sentence for sentence in strategy.refused)


def test_asked_again_for_a_round_a_client_answers_the_same_and_spends_nothing(
    tiny, thirds, quick, in_process, tmp_path
):
    app = distilling_client(thirds, private(quick, noise_multiplier=2.0), keep=tmp_path)
    first, again, later = (union_of(tiny.card) for _ in range(3))
    spent = [in_process(lambda grid, s=s: one_round(s, grid, rounds=9), app)[1]["epsilon"] for s in (first, again)]
    assert spent[0] == spent[1]
    assert torch.equal(first.server.sets[0].inputs, again.server.sets[0].inputs)
    after = in_process(lambda grid: one_round(later, grid, number=2, rounds=9), app)[1]["epsilon"]
    assert after > spent[0]


def test_what_a_failed_run_asked_of_the_data_is_spent(tiny, thirds, quick, in_process, tmp_path):
    recipe = private(quick, noise_multiplier=2.0)
    broken = replace(recipe, update=ddcore.Update(lr={"inputs": 1e20}))
    app = distilling_client(thirds, broken, encoding="float16", keep=tmp_path)
    assert "inputs hold values that are not finite as float16" in refusal(app, in_process, union_of(tiny.card))
    strategy = union_of(tiny.card)
    app = distilling_client(thirds, recipe, keep=tmp_path)

    def server(grid):
        one_round(strategy, grid)
        histories = (json.loads(grid.contexts[i].state["ddcore"]["carried"])["ledger"]["history"] for i in (1, 2))
        return [sum(count for _, _, count in history) for history in histories]

    assert in_process(server, app) == [4, 2]


def test_an_open_round_between_two_private_ones_forgets_nothing(tiny, thirds, quick, in_process, tmp_path):
    secret = distilling_client(thirds, private(quick, noise_multiplier=2.0), keep=tmp_path)
    plain = distilling_client(thirds, quick(), keep=tmp_path)
    strategy = union_of(tiny.card)
    rounds = [(number, app) for number, app in enumerate((secret, plain, secret), 1)]
    told = [in_process(lambda grid, n=n: one_round(strategy, grid, number=n)[1], app) for n, app in rounds]
    assert "epsilon" not in told[1]
    assert told[2]["epsilon"] > told[0]["epsilon"]


def test_what_is_kept_is_the_answer_for_this_shard_and_these_sets_alone(tiny, thirds, quick, in_process, tmp_path):
    def items(clients):
        strategy = union_of(tiny.card)
        in_process(lambda grid: one_round(strategy, grid), app, clients=clients)
        return [shared.items for shared in strategy.server.sets]

    app = distilling_client(thirds, quick(), keep=tmp_path)
    assert (items(3), items(2), items(3)) == ([14, 20, 20], [20, 30], [14, 20, 20])


def test_overrides_count_for_a_recipe_as_for_a_name(tiny, thirds, quick, in_process):
    app = distilling_client(thirds, quick(), overrides={"synthetic.ipc": 2})
    strategy = union_of(tiny.card, ipc=2)
    in_process(lambda grid: one_round(strategy, grid), app)
    assert [len(shared) for shared in strategy.server.sets] == [4, 6, 6]
    broken = distilling_client(thirds, quick(), overrides={"no.such": 1})
    assert "no" in refusal(broken, in_process, union_of(tiny.card))


def test_a_damaged_memory_is_not_taken_for_none(tiny, thirds, quick, in_process, tmp_path):
    (tmp_path / "client-0.safetensors").write_bytes(b"torn")
    said = refusal(distilling_client(thirds, quick(), keep=tmp_path), in_process, union_of(tiny.card))
    assert "is not a whole safetensors file" in said
    assert "no budget can be kept" in said


# --- the strategy ----------------------------------------------------------------------------------------


def hostile(thirds, recipe, at, behave):
    """The distilling client, but client ``at`` behaves as it likes with its honest reply."""
    honest, app = distilling_client(thirds, recipe), ClientApp()

    @app.train()
    def train(message, context):
        reply = honest(message, context)
        return behave(message, reply) if context.node_config["partition-id"] == at else reply

    return app


def crash(message, reply):
    raise ZeroDivisionError("out of battery")


def sleep(message, reply):
    time.sleep(3)
    return reply


def with_arrays(**changes):
    def behave(message, reply):
        for name, value in changes.items():
            reply.content["synthetic"][name] = value(reply.content["synthetic"][name].numpy())
        return reply

    return behave


def objects(old):
    file = io.BytesIO()
    np.save(file, np.array([{"a": print}], dtype=object), allow_pickle=True)
    return Array("object", (1,), "numpy.ndarray", file.getvalue())


def saying(record, **fields):
    def behave(message, reply):
        reply.content[record] = ConfigRecord({**reply.content[record], **fields})
        return reply

    return behave


def only(**records):
    return lambda message, reply: Message(RecordDict(records), reply_to=message)


def metric(value):
    def behave(message, reply):
        reply.content["metrics"]["epsilon"] = value
        return reply

    return behave


HOSTILE = {
    "crashes": (crash, "ZeroDivisionError: out of battery"),
    "NaN": (with_arrays(**{"inputs.low": lambda old: Array(old * np.nan)}), "inputs.low hold NaN"),
    "another shape": (with_arrays(inputs=lambda old: Array(old[:, :, :4])), "and one item here is (1, 8, 8)"),
    "an empty class": (with_arrays(inputs=lambda old: Array(old[:0])), "they hold nothing"),
    "fewer targets": (with_arrays(targets=lambda old: Array(old[:1])), "wanted are 3 classes"),
    "another dtype": (
        with_arrays(inputs=lambda old: Array(old.astype(np.int64))),
        "a range for inputs that are not bytes",
    ),
    "a huge array": (with_arrays(inputs=lambda old: Array(np.zeros(10**6, np.uint8))), "bytes, and"),
    "objects": (with_arrays(inputs=objects), "of dtype object"),
    "another serialisation": (
        with_arrays(inputs=lambda old: Array("uint8", (1,), "pickle", b"\x80\x04.")),
        "serialised as 'pickle'",
    ),
    "no set": (only(client=ConfigRecord({"partition-id": 1})), "lacks the arrays 'synthetic'"),
    "a set that is a config": (
        only(client=ConfigRecord({"partition-id": 1}), synthetic=ConfigRecord({})),
        "lacks the arrays 'synthetic'",
    ),
    "weights": (only(arrays=ArrayRecord({"w": Array(np.zeros(3))})), "does not say which client it is"),
    "nobody": (saying("client", **{"partition-id": -3}), "does not say which client it is"),
    "another training": (saying("said", momentum=0.5), "most are for the loss cross_entropy at momentum 0"),
    "another preprocessing": (
        saying("said", preprocess="standardise (mean 0.5; std 0.3)"),
        "inputs here go through standardise (mean 0.4; std 0.3), and its inputs went through standardise (mean 0.5",
    ),
    "no preprocessing": (saying("said", preprocess=""), "it does not say what its went through"),
    "all items of the world": (saying("said", items=10**15), "real items are behind it"),
    "a negative epsilon": (metric(-1.0), "it has spent epsilon -1.0"),
    "NaN for epsilon": (metric(float("nan")), "it has spent epsilon nan"),
}


@pytest.mark.parametrize(("behave", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_a_bad_reply_is_left_out_with_a_sentence_and_the_round_goes_on(
    tiny, thirds, quick, in_process, caplog, behave, sentence
):
    strategy = union_of(tiny.card)
    arrays, metrics = in_process(lambda grid: one_round(strategy, grid), hostile(thirds, quick(), 1, behave))
    assert (metrics["sets"], metrics["refused"]) == (2, 1)
    assert [s.items for s in strategy.server.sets] == [14, 20]
    assert arrays is not None
    (refused,) = strategy.refused
    assert sentence in refused
    assert " is left out: " in refused
    assert f"Round 1: {refused}" in caplog.text


@pytest.mark.parametrize("liar", [0, 1])
def test_where_two_nodes_are_the_same_client_neither_is_believed(tiny, thirds, quick, in_process, liar):
    strategy = union_of(tiny.card)
    lies = saying("client", **{"partition-id": 1 - liar})
    _, metrics = in_process(lambda grid: one_round(strategy, grid), hostile(thirds, quick(), liar, lies))
    assert (metrics["sets"], metrics["refused"]) == (1, 2)
    assert set(strategy.refused) == {f"client {1 - liar} is left out: 2 nodes say that they are client {1 - liar}."}


def test_a_set_that_the_server_cannot_use_does_not_take_the_round_from_the_others(tiny, thirds, quick, in_process):
    strategy = union_of(tiny.card, ReplayEach())
    recipe = quick("dosfl")
    stepless = distilling_client(thirds, quick())
    honest, app = distilling_client(thirds, recipe), ClientApp()

    @app.train()
    def train(message, context):
        return (stepless if context.node_config["partition-id"] == 0 else honest)(message, context)

    arrays, metrics = in_process(lambda grid: one_round(strategy, grid), app, clients=2)
    assert (arrays is not None, metrics["sets"], strategy.failed) == (True, 1, None)
    assert "client 0 is left out: The set brings no steps to replay" in strategy.refused[0]


def test_kept_sets_of_another_form_are_left_aside(tiny, thirds, quick, in_process):
    strategy = union_of(tiny.card, keeps=1)

    def server(grid):
        one_round(strategy, grid)
        strategy.past = [
            [replace(shared, tensors=replace(shared.tensors, momentum=0.5)) for shared in strategy.past[0]]
        ]
        strategy.server.sets.clear()
        arrays, _ = one_round(strategy, grid, number=2)
        return arrays

    assert in_process(server, distilling_client(thirds, quick())) is not None
    assert [shared.momentum for shared in strategy.server.sets] == [0.0] * 3
    with pytest.raises(ddcore.RecipeRefused, match="keeps = 1, but the steps of a set hold from"):
        union_of(tiny.card, ReplayEach(), keeps=1)


def test_a_late_client_has_one_message_at_a_time_and_its_ledger_forgets_nothing(tiny, thirds, quick, tmp_path):
    slow = distilling_client(thirds, private(quick, noise_multiplier=2.0), keep=tmp_path)
    app, at_work, most = ClientApp(), [], []

    @app.train()
    def train(message, context):
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.3)
        reply = slow(message, context)
        at_work.pop()
        return reply

    strategy = union_of(tiny.card)

    def server(grid):
        for number, timeout in ((1, 0.05), (2, 0.05), (3, 60)):
            (message, *_) = strategy.configure_train(number, strategy.initial(), ConfigRecord({"rounds": 9}), grid)
            replies = grid.send_and_receive([message], timeout=timeout)
        assert grid.replies == {}
        return len(replies), json.loads(grid.contexts[1].state["ddcore"]["carried"])["ledger"]["history"]

    answered, history = simulate(server, app, 3)
    assert (answered, max(most)) == (1, 1)
    assert sum(count for _, _, count in history) == 2 * len(most)


def test_a_client_that_is_told_to_end_does_so_between_steps_and_what_it_asked_is_spent(
    tiny, thirds, quick, in_process, tmp_path
):
    recipe = replace(private(quick, noise_multiplier=500.0), iterations=10**5)
    app = distilling_client(thirds, recipe, keep=tmp_path)
    strategy = union_of(tiny.card)

    def server(grid):
        (message, *_) = strategy.configure_train(1, strategy.initial(), ConfigRecord(), grid)
        assert grid.send_and_receive([message], timeout=0.0) == []
        return grid

    grid = in_process(server, app)
    state = json.loads(grid.contexts[1].state["ddcore"]["carried"])
    assert 0 < sum(count for _, _, count in state["ledger"]["history"]) < 10**5
    assert (tmp_path / "client-0.safetensors").exists()
    assert grid.replies == {}


def test_a_client_that_is_late_is_not_waited_for(tiny, thirds, quick, in_process):
    strategy = union_of(tiny.card)
    honest = distilling_client(thirds, quick())
    in_process(lambda grid: one_round(union_of(tiny.card), grid), honest)  # so that what follows is quick

    def server(grid):
        return one_round(strategy, grid, timeout=2.5)

    _, metrics = in_process(server, hostile(thirds, quick(), 2, sleep))
    assert metrics["sets"] == 2
    assert strategy.refused == ["node 3 is left out: it did not answer in time."]


def test_where_no_set_can_be_used_the_weights_stay(tiny, in_process):
    app = ClientApp()

    @app.train()
    def train(message, context):
        return crash(message, None)

    strategy = union_of(tiny.card)
    arrays, metrics = in_process(lambda grid: one_round(strategy, grid), app)
    assert arrays is None
    assert metrics["refused"] == 3


class Diverging(Noting):
    def next_weights(self, weights, sets, network, card, rng, device="cpu", progress=None):
        return {name: value * float("nan") for name, value in weights.items()}


def test_where_the_server_diverges_the_weights_stay(tiny, thirds, quick, in_process):
    strategy = union_of(tiny.card, Diverging())
    arrays, _ = in_process(lambda grid: one_round(strategy, grid), distilling_client(thirds, quick()))
    assert arrays is None
    assert strategy.refused == []
    assert strategy.failed.startswith("The weights before are kept: ") and "not finite" in strategy.failed


def test_a_union_on_which_training_diverges_leaves_the_weights(tiny, thirds, quick, in_process):
    strategy = union_of(tiny.card, TrainOnUnion(ddcore.Protocol(steps=3, lr=(1e30,), repeats=1, augment=None)))
    arrays, _ = in_process(lambda grid: one_round(strategy, grid), distilling_client(thirds, quick()))
    assert arrays is None
    assert "Training on the union led to weights that are not finite" in strategy.failed


def test_it_is_a_flower_strategy_that_starts(tiny, thirds, quick, in_process):
    training = ddcore.Protocol(steps=5, repeats=1, augment=None)
    strategy = union_of(tiny.card, TrainOnUnion(training))
    rounds = []

    def scored(number, arrays):
        rounds.append(number)
        return MetricRecord({"round": number})

    def server(grid):
        return strategy.start(grid, strategy.initial(), num_rounds=2, evaluate_fn=scored)

    result = in_process(server, distilling_client(thirds, quick()))
    assert rounds == [0, 1, 2]
    assert result.train_metrics_clientapp[2]["sets"] == 3
    assert set(result.arrays) == set(strategy.initial())


def test_some_of_the_clients_take_part_and_the_seed_says_which(tiny, thirds, quick, in_process):
    app = distilling_client(thirds, quick(), encoding="float32")
    strategy = Sampled(union_of(tiny.card), 0.67, clients=3, seed=4)
    images = {}  # the first client has two images, the others three

    def server(grid):
        for number in range(1, 13):
            asked = list(strategy.configure_train(number, strategy.inner.initial(), ConfigRecord(), grid))
            assert len(asked) == 2
            images[number] = dict(strategy.aggregate_train(number, grid.send_and_receive(asked))[1])["images"]
            assert strategy.refused == []
        return strategy.start(Metered(grid), strategy.inner.initial(), num_rounds=1).train_metrics_clientapp

    again = in_process(server, app)
    assert set(images.values()) <= {5, 6}
    assert again[1]["images"] == images[1]


@pytest.mark.parametrize("behave", ["silent", "fails"])
def test_a_node_that_does_not_say_which_client_it_is_has_no_part(tiny, thirds, quick, in_process, behave):
    told = distilling_client(thirds, quick())
    app = ClientApp()

    @app.train()
    def train(message, context):
        assert context.node_config["partition-id"] != 1
        return told(message, context)

    @app.query()
    def query(message, context):
        if context.node_config["partition-id"] != 1:
            return told(message, context)
        if behave == "fails":
            raise ValueError("no")
        return Message(RecordDict(), reply_to=message)

    for inner in (union_of(tiny.card), averaging("fedavg", 1, mu=0.1, lr=0.1)):
        strategy = Sampled(inner, 0.99, clients=3)
        arrays = union_of(tiny.card).initial()
        asked = in_process(lambda grid: list(strategy.configure_train(1, arrays, ConfigRecord(), grid)), app)  # noqa: B023
        assert sorted(message.metadata.dst_node_id for message in asked) == [1, 3]


def test_images_are_never_averaged(tiny, thirds, quick, in_process):
    """What comes in goes to the server part as it came, each set by itself."""
    strategy = union_of(tiny.card)
    replies = []

    def server(grid):
        asked = strategy.configure_train(1, strategy.initial(), ConfigRecord(), grid)
        replies.extend(grid.send_and_receive(asked))
        return strategy.aggregate_train(1, reversed(replies))

    in_process(server, distilling_client(thirds, quick(), encoding="float32"))
    sent = [reply.content["synthetic"]["inputs"].numpy() for reply in replies]
    assert [s.inputs.numpy().tobytes() for s in strategy.server.sets] == [array.tobytes() for array in sent]


# --- averaging, the meter --------------------------------------------------------------------------------


def test_a_training_client_walks_as_the_gates_fit_does(tiny, thirds, in_process):
    app = training_client(thirds, NET, FIT, seed=1)
    strategy = union_of(tiny.card)

    def server(grid):
        asked = list(strategy.configure_train(1, strategy.initial(), ConfigRecord(), grid))
        for message in asked:
            message.content["config"]["proximal-mu"] = mu
        return {r.content["client"]["partition-id"]: r for r in grid.send_and_receive(asked)}

    mu = 0.0
    reply = in_process(server, app)[1]
    assert reply.content["metrics"]["num-examples"] == 20
    network = strategy.network
    like = network.init(torch.Generator())[0]
    came = params_of(reply.content["arrays"], like)
    start = params_of(strategy.initial(), like)
    rng = ddcore.Streams(int(torch.randint(2**62, (), generator=ddcore.Streams(1)["client/1/1"])))
    own = thirds(1, 3)
    source = ddcore.plugin.Source(own.train, (), rng, torch.device("cpu"))
    source.preprocess = ddcore.Standardise().fitted(own.card).start(own.card, dict)
    gate = ddcore.plugin.Open().build(source, rng)
    slowly = {name: value.clone() for name, value in start.items()}
    speed = {name: torch.zeros_like(value) for name, value in start.items()}
    for _ in range(3):
        (g,) = gate.gradient(ddcore.Draw(network, slowly, {}), [ddcore.Group(size=4)], ddcore.plugin.cross_entropy)
        for name in slowly:
            speed[name] = 0.5 * speed[name] + g[name] + 5e-4 * slowly[name]
            slowly[name] = slowly[name] - 0.1 * speed[name]
    assert all(torch.allclose(came[name], slowly[name], atol=1e-6) for name in came)
    mu = 5.0
    held = params_of(in_process(server, app)[1].content["arrays"], like)
    far, near = (sum(float((w[n] - start[n]).square().sum()) for n in start) for w in (came, held))
    assert near < far


def test_a_sampled_strategy_that_would_wait_for_ever_is_refused(tiny):
    for inner in (averaging("fedavg", 3, mu=0.1, lr=0.1), union_of(tiny.card, clients=3)):
        with pytest.raises(ddcore.RecipeRefused, match="waits for 3 nodes, and would see the 2 that take part"):
            Sampled(inner, 0.67, clients=3)
    with pytest.raises(ddcore.RecipeRefused, match="fraction = 2"):
        Sampled(union_of(tiny.card), 2, clients=3)


def test_where_no_node_says_which_client_it_is_the_round_is_empty(tiny, in_process, caplog):
    for inner in (averaging("fedavg", 1, mu=0.1, lr=0.1), union_of(tiny.card)):
        strategy, start = Sampled(inner, 0.67, clients=3), union_of(tiny.card).initial()
        arrays, _ = in_process(lambda grid, s=strategy, a=start: one_round(s, grid, arrays=a), ClientApp())
        assert arrays is None
        assert "no node says which client it is" in caplog.text


@pytest.mark.parametrize("told", [{}, {"rounds": 7}])
def test_clients_are_told_how_many_rounds_there_are(tiny, thirds, quick, in_process, told):
    heard, honest, app = [], distilling_client(thirds, quick()), ClientApp()

    @app.train()
    def train(message, context):
        heard.append(message.content["config"]["rounds"])
        return honest(message, context)

    strategy = union_of(tiny.card)
    in_process(lambda g: strategy.start(g, strategy.initial(), 1, train_config=ConfigRecord(told)), app)
    assert set(heard) == {told.get("rounds", 1)}


def test_a_client_whose_weights_diverge_is_left_out(tiny, thirds, in_process):
    honest, app = training_client(thirds, NET, FIT), ClientApp()
    wild = training_client(thirds, NET, replace(FIT, lr=1e30))

    @app.train()
    def train(message, context):
        return (wild if context.node_config["partition-id"] == 1 else honest)(message, context)

    strategy, start = averaging("fedavg", 3, mu=0.1, lr=0.1), union_of(tiny.card).initial()
    arrays, _ = in_process(lambda grid: one_round(strategy, grid, arrays=start), app)
    assert all(bool(value.isfinite().all()) for value in params_of(arrays).values())


@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox", "fedadam"])
def test_flowers_own_strategies_run_on_it(tiny, thirds, in_process, algorithm):
    strategy = averaging(algorithm, 3, mu=0.1, lr=0.01)
    start = union_of(tiny.card).initial()

    def server(grid):
        meter = Metered(grid)
        asked = strategy.configure_train(1, start, ConfigRecord(), meter)
        replies = list(meter.send_and_receive(asked))
        order = [reply.content["client"]["partition-id"] for reply in replies]
        return strategy.aggregate_train(1, replies)[0], replies, order

    found, replies, order = in_process(server, training_client(thirds, NET, FIT))
    assert order == [0, 1, 2]
    if algorithm == "fedavg":
        shares = [reply.content["metrics"]["num-examples"] / 54 for reply in replies]
        for name in found:
            parts = (share * r.content["arrays"][name].numpy() for share, r in zip(shares, replies, strict=True))
            np.testing.assert_allclose(found[name].numpy(), sum(parts), atol=1e-6)


def test_the_meter_counts_as_flower_does(tiny, thirds, quick, in_process):
    strategy = union_of(tiny.card)

    def server(grid):
        meter = Metered(grid)
        asked = list(strategy.configure_train(1, strategy.initial(), ConfigRecord(), meter))
        replies = list(meter.send_and_receive(asked))
        down = sum(record.count_bytes() for message in asked for record in message.content.values())
        up = sum(record.count_bytes() for reply in replies for record in reply.content.values())
        return (meter.down, meter.up), (down, up), replies

    counted, by_hand, replies = in_process(server, distilling_client(thirds, quick()))
    assert counted == by_hand
    images = sum(reply.content["synthetic"]["inputs"].numpy().size for reply in replies)
    assert images == 8 * 64
    assert images < counted[1] < images + 3 * 1500


def test_the_meter_tells_of_replies_as_they_come_and_waits_no_longer_than_it_may(tiny, thirds, quick, in_process):
    strategy, told = union_of(tiny.card), []

    def server(grid):
        meter = Metered(Metered(grid), lambda *x: told.append(x))
        return one_round(strategy, meter)[1]["sets"]

    assert in_process(server, distilling_client(thirds, quick())) == 3
    assert told == [("clients", 3, 3)]

    class Deaf(Metered):
        def pull_messages(self, message_ids):
            return []

    def silent(grid):
        return one_round(strategy, Metered(Deaf(grid), lambda *x: None), timeout=0.3)[1]["refused"]

    assert in_process(silent, distilling_client(thirds, quick())) == 3


def test_weights_that_came_as_float64_are_taken(tiny):
    like = union_of(tiny.card).network.init(torch.Generator())[0]
    record = ArrayRecord({name: Array(value.double().numpy()) for name, value in like.items()})
    assert all(value.dtype == torch.float32 for value in params_of(record, like).values())
    assert all(array.dtype == "float32" for array in arrays_of(like).values())


def test_weights_that_are_none_are_refused():
    with pytest.raises(ddcore.RecipeRefused, match="no round had an effect"):
        params_of(ArrayRecord())


def test_telemetry_is_off_unless_asked_for():
    assert ENVIRONMENT["FLWR_TELEMETRY_ENABLED"] == "0"
    assert all(os.environ[name] for name in ENVIRONMENT)
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == telemetry.FLWR_TELEMETRY_ENABLED
