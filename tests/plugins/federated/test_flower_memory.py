"""What a client remembers from round to round: its budget, its answers, its ledger."""

import json
import time
from dataclasses import replace

import torch
from ddcore_federated.flower import (
    distilling_client,
    simulate,
)
from flwr.app import ConfigRecord
from flwr.clientapp import ClientApp

import ddcore

PRIVATE = {"epsilon": 20.0, "delta": 1e-3}


def private(quick, **options):
    """All items in each request, so that one calculation serves all clients."""
    recipe = quick(**{"synthetic.init": "noise"})
    objective = replace(recipe.objective, real=64)
    return replace(recipe, objective=objective, plugins={"private": {**PRIVATE, **options}})


def test_a_private_client_keeps_one_budget_over_all_rounds(
    union_of, one_round, tiny, thirds, quick, in_process, tmp_path
):
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
    union_of, one_round, tiny, thirds, quick, in_process, tmp_path
):
    app = distilling_client(thirds, private(quick, noise_multiplier=2.0), keep=tmp_path)
    first, again, later = (union_of(tiny.card) for _ in range(3))
    spent = [in_process(lambda grid, s=s: one_round(s, grid, rounds=9), app)[1]["epsilon"] for s in (first, again)]
    assert spent[0] == spent[1]
    assert torch.equal(first.server.sets[0].inputs, again.server.sets[0].inputs)
    after = in_process(lambda grid: one_round(later, grid, number=2, rounds=9), app)[1]["epsilon"]
    assert after > spent[0]


def test_what_a_failed_run_asked_of_the_data_is_spent(
    union_of, one_round, refusal, tiny, thirds, quick, in_process, tmp_path
):
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


def test_an_open_round_between_two_private_ones_forgets_nothing(
    union_of, one_round, tiny, thirds, quick, in_process, tmp_path
):
    secret = distilling_client(thirds, private(quick, noise_multiplier=2.0), keep=tmp_path)
    plain = distilling_client(thirds, quick(), keep=tmp_path)
    strategy = union_of(tiny.card)
    rounds = [(number, app) for number, app in enumerate((secret, plain, secret), 1)]
    told = [in_process(lambda grid, n=n: one_round(strategy, grid, number=n)[1], app) for n, app in rounds]
    assert "epsilon" not in told[1]
    assert told[2]["epsilon"] > told[0]["epsilon"]


def test_what_is_kept_is_the_answer_for_this_shard_and_these_sets_alone(
    union_of, one_round, tiny, thirds, quick, in_process, tmp_path
):
    def items(clients):
        strategy = union_of(tiny.card)
        in_process(lambda grid: one_round(strategy, grid), app, clients=clients)
        return [shared.items for shared in strategy.server.sets]

    app = distilling_client(thirds, quick(), keep=tmp_path)
    assert (items(3), items(2), items(3)) == ([14, 20, 20], [20, 30], [14, 20, 20])


def test_overrides_count_for_a_recipe_as_for_a_name(union_of, one_round, refusal, tiny, thirds, quick, in_process):
    app = distilling_client(thirds, quick(), overrides={"synthetic.ipc": 2})
    strategy = union_of(tiny.card, ipc=2)
    in_process(lambda grid: one_round(strategy, grid), app)
    assert [len(shared) for shared in strategy.server.sets] == [4, 6, 6]
    broken = distilling_client(thirds, quick(), overrides={"no.such": 1})
    assert "no" in refusal(broken, in_process, union_of(tiny.card))


def test_a_damaged_memory_is_not_taken_for_none(union_of, refusal, tiny, thirds, quick, in_process, tmp_path):
    (tmp_path / "client-0.safetensors").write_bytes(b"torn")
    said = refusal(distilling_client(thirds, quick(), keep=tmp_path), in_process, union_of(tiny.card))
    assert "is not a whole safetensors file" in said
    assert "no budget can be kept" in said


def test_a_late_client_has_one_message_at_a_time_and_its_ledger_forgets_nothing(
    union_of, tiny, thirds, quick, tmp_path
):
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
    union_of, tiny, thirds, quick, in_process, tmp_path
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
