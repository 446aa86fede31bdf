"""Clients and strategies that average weights, and the meter."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from ddcore_federated.flower import (
    ENVIRONMENT,
    Metered,
    Sampled,
    arrays_of,
    averaging,
    distilling_client,
    params_of,
    training_client,
)
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.clientapp import ClientApp
from flwr.supercore import telemetry

import ddcore

NET = ddcore.MLP(width=8)
FIT = ddcore.Fit(steps=3, batch=4, lr=0.1, optimiser=ddcore.plugin.Sgd(momentum=0.5, weight_decay=5e-4))


def test_a_training_client_walks_as_the_gates_fit_does(union_of, tiny, thirds, in_process):
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


def test_a_sampled_strategy_that_would_wait_for_ever_is_refused(union_of, tiny):
    for inner in (averaging("fedavg", 3, mu=0.1, lr=0.1), union_of(tiny.card, clients=3)):
        with pytest.raises(ddcore.RecipeRefused, match="waits for 3 nodes, and would see the 2 that take part"):
            Sampled(inner, 0.67, clients=3)
    with pytest.raises(ddcore.RecipeRefused, match="fraction = 2"):
        Sampled(union_of(tiny.card), 2, clients=3)


def test_where_no_node_says_which_client_it_is_the_round_is_empty(union_of, one_round, tiny, in_process, caplog):
    for inner in (averaging("fedavg", 1, mu=0.1, lr=0.1), union_of(tiny.card)):
        strategy, start = Sampled(inner, 0.67, clients=3), union_of(tiny.card).initial()
        arrays, _ = in_process(lambda grid, s=strategy, a=start: one_round(s, grid, arrays=a), ClientApp())
        assert arrays is None
        assert "no node says which client it is" in caplog.text


@pytest.mark.parametrize("told", [{}, {"rounds": 7}])
def test_clients_are_told_how_many_rounds_there_are(union_of, tiny, thirds, quick, in_process, told):
    heard, honest, app = [], distilling_client(thirds, quick()), ClientApp()

    @app.train()
    def train(message, context):
        heard.append(message.content["config"]["rounds"])
        return honest(message, context)

    strategy = union_of(tiny.card)
    in_process(lambda g: strategy.start(g, strategy.initial(), 1, train_config=ConfigRecord(told)), app)
    assert set(heard) == {told.get("rounds", 1)}


def test_a_client_whose_weights_diverge_is_left_out(union_of, one_round, tiny, thirds, in_process):
    honest, app = training_client(thirds, NET, FIT), ClientApp()
    wild = training_client(thirds, NET, replace(FIT, lr=1e30))

    @app.train()
    def train(message, context):
        return (wild if context.node_config["partition-id"] == 1 else honest)(message, context)

    strategy, start = averaging("fedavg", 3, mu=0.1, lr=0.1), union_of(tiny.card).initial()
    arrays, _ = in_process(lambda grid: one_round(strategy, grid, arrays=start), app)
    assert all(bool(value.isfinite().all()) for value in params_of(arrays).values())


@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox", "fedadam"])
def test_flowers_own_strategies_run_on_it(union_of, tiny, thirds, in_process, algorithm):
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


def test_the_meter_counts_as_flower_does(union_of, tiny, thirds, quick, in_process):
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


def test_the_meter_tells_of_replies_as_they_come_and_waits_no_longer_than_it_may(
    union_of, one_round, tiny, thirds, quick, in_process
):
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


def test_weights_that_came_as_float64_are_taken(union_of, tiny):
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
