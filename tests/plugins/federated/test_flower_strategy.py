"""The strategy that joins sets, among clients of every kind."""

import io
import time
from dataclasses import replace

import numpy as np
import pytest
from ddcore_federated import ReplayEach, Server, TrainOnUnion
from ddcore_federated.flower import (
    Metered,
    Sampled,
    averaging,
    distilling_client,
)
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import ddcore


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
    "another shape": (with_arrays(inputs=lambda old: Array(old[:, :, :4])), "and items here are (1, 8, 8)"),
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
    union_of, one_round, tiny, thirds, quick, in_process, caplog, behave, sentence
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
def test_where_two_nodes_are_the_same_client_neither_is_believed(
    union_of, one_round, tiny, thirds, quick, in_process, liar
):
    strategy = union_of(tiny.card)
    lies = saying("client", **{"partition-id": 1 - liar})
    _, metrics = in_process(lambda grid: one_round(strategy, grid), hostile(thirds, quick(), liar, lies))
    assert (metrics["sets"], metrics["refused"]) == (1, 2)
    assert set(strategy.refused) == {f"client {1 - liar} is left out: 2 nodes say that they are client {1 - liar}."}


def test_a_set_that_the_server_cannot_use_does_not_take_the_round_from_the_others(
    union_of, one_round, tiny, thirds, quick, in_process
):
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


def test_kept_sets_of_another_form_are_left_aside(union_of, one_round, tiny, thirds, quick, in_process):
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


def test_a_client_that_is_late_is_not_waited_for(union_of, one_round, tiny, thirds, quick, in_process):
    strategy = union_of(tiny.card)
    honest = distilling_client(thirds, quick())
    in_process(lambda grid: one_round(union_of(tiny.card), grid), honest)  # so that what follows is quick

    def server(grid):
        return one_round(strategy, grid, timeout=2.5)

    _, metrics = in_process(server, hostile(thirds, quick(), 2, sleep))
    assert metrics["sets"] == 2
    assert strategy.refused == ["node 3 is left out: it did not answer in time."]


def test_where_no_set_can_be_used_the_weights_stay(union_of, one_round, tiny, in_process):
    app = ClientApp()

    @app.train()
    def train(message, context):
        return crash(message, None)

    strategy = union_of(tiny.card)
    arrays, metrics = in_process(lambda grid: one_round(strategy, grid), app)
    assert arrays is None
    assert metrics["refused"] == 3


class Diverging(Server):
    def next_weights(self, weights, sets, network, card, rng, device="cpu", progress=None):
        return {name: value * float("nan") for name, value in weights.items()}


def test_where_the_server_diverges_the_weights_stay(union_of, one_round, tiny, thirds, quick, in_process):
    strategy = union_of(tiny.card, Diverging())
    arrays, _ = in_process(lambda grid: one_round(strategy, grid), distilling_client(thirds, quick()))
    assert arrays is None
    assert strategy.refused == []
    assert strategy.failed.startswith("The weights before are kept: ") and "not finite" in strategy.failed


def test_a_union_on_which_training_diverges_leaves_the_weights(union_of, one_round, tiny, thirds, quick, in_process):
    strategy = union_of(tiny.card, TrainOnUnion(ddcore.Protocol(steps=3, lr=(1e30,), repeats=1, augment=None)))
    arrays, _ = in_process(lambda grid: one_round(strategy, grid), distilling_client(thirds, quick()))
    assert arrays is None
    assert "Training on the union led to weights that are not finite" in strategy.failed


def test_it_is_a_flower_strategy_that_starts(union_of, tiny, thirds, quick, in_process):
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


def test_some_of_the_clients_take_part_and_the_seed_says_which(union_of, tiny, thirds, quick, in_process):
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
def test_a_node_that_does_not_say_which_client_it_is_has_no_part(union_of, tiny, thirds, quick, in_process, behave):
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


def test_images_are_never_averaged(union_of, tiny, thirds, quick, in_process):
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
