"""Pairs: the contrastive loss, towers, the objective that matches its gradients, recall."""

import math
from dataclasses import replace

import pytest
import torch
from ddcore_pairs import Contrastive, PairMatch, PairScore, Recall, Similarities, TwoTowers
from ddcore_pairs.contrast import TEMPERATURE, contrastive, similarities

from ddcore import Host, RecipeRefused
from ddcore import plugin as dd
from ddcore.testing import check_network, check_objective, check_part, tiny_vectors

TOWERS = TwoTowers(hidden=8)


def two_views(n=60):
    """Halves of 5 and 3 numbers that follow from the same two, one pair after another."""
    generator = torch.Generator().manual_seed(0)
    shared, ways = torch.randn(n, 2, generator=generator), torch.randn(2, 8, generator=generator)
    items = shared @ ways, torch.zeros(n, 8)
    return dd.RealData.of("two views", items, items, kind="vector")


@pytest.mark.parametrize("alone", [True, False])
def test_the_contrastive_loss_is_its_formula(alone):
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    targets = torch.zeros(5, 4).double() if alone else torch.randn(5, 4, generator=generator, dtype=torch.float64)
    halves = [[row / row.norm() for row in half] for half in outputs.split(3, 1)]
    found = contrastive(outputs, targets)
    for i in range(5):
        ways = []
        for one, other, first in ((*halves, True), (*halves[::-1], False)):
            shares = [math.exp(float(one[i] @ other[j]) / TEMPERATURE) for j in range(5)]
            for j in range(5):
                row, column = (i, j) if first else (j, i)
                weight = (i == j) + float(targets[row, :2] @ targets[column, 2:])
                ways.append(-weight * math.log(shares[j] / sum(shares)))
        assert float(found[i]) == pytest.approx(sum(ways) / 2)


@pytest.mark.parametrize("plan", [PairScore(hidden=8, width=4), PairScore(first=1, hidden=8)])
def test_scores_keep_the_contract(plan):
    check_network(plan, data=tiny_vectors())


def test_towers_keep_the_contract_where_the_data_have_two_embeddings():
    check_network(TOWERS, data=two_views())
    with pytest.raises(RecipeRefused, match="tiny vectors has 3 values per item, and two embeddings take an even"):
        TOWERS.ready(tiny_vectors(values=3).card)
    with pytest.raises(RecipeRefused, match="tiny vectors has 3 values per item, and two embeddings take an even"):
        Similarities().check(None, tiny_vectors(values=3).card, None)
    with pytest.raises(RecipeRefused, match="recall is for values, and the targets of tiny vectors are classes"):
        dd.Protocol(networks=(dd.MLP(),), measures=(Recall(),), augment=None).check(tiny_vectors())


def test_a_half_without_numbers_is_refused():
    for first in (8, 9):
        with pytest.raises(RecipeRefused, match=f"first = {first}: the items of two views have 8 numbers"):
            replace(TOWERS, first=first).ready(two_views().card)


def test_the_score_is_linear_in_the_product_of_both_embeddings():
    network = PairScore(first=5, hidden=8, width=4).ready(two_views().card)
    params, buffers = network.init(torch.Generator().manual_seed(0))
    x = torch.randn(6, 8)
    both = [x[:, :5], x[:, 5:]]
    for i in range(2):
        name = f"inner.towers.{i}"
        both[i] = (both[i] @ params[f"{name}.0.weight"].T + params[f"{name}.0.bias"]).relu()
        both[i] = both[i] @ params[f"{name}.2.weight"].T + params[f"{name}.2.bias"]
    torch.testing.assert_close(network(params, buffers, x, features=True), both[0] * both[1])


@pytest.mark.parametrize("back", [False, True])
def test_recall_counts_the_right_halves_among_the_nearest(back):
    """Outputs are the items themselves: pairs in galleries of four, of which one half looks like another pair's."""

    class Same(dd.Network):
        per_sample = True

        def init(self, generator):
            return {}, {}

        def apply(self, call, x):
            return x

    own = torch.eye(4)
    strange = own.clone()
    strange[0] = own[1] + 0.1 * own[0]
    halves = [own, strange] if back else [strange, own]
    items = torch.cat([torch.cat([own, own], 1), torch.cat(halves, 1), torch.rand(3, 8)])
    data = dd.RealData.of("galleries", (items, torch.zeros(11, 8)), (items, torch.zeros(11, 8)), kind="vector")
    shown = dd.Preprocessed(data.test, dd.Identity().start(data.card, dict))
    draw = dd.Draw(Same(), {"none": torch.zeros(1)}, {}, ensemble=1)
    assert float(Recall(1, back, gallery=4)(draw, shown, 3)) == pytest.approx(100 * 7 / 8)
    assert float(Recall(2, back, gallery=4)(draw, shown, 3)) == pytest.approx(100)
    assert float(Recall(1, not back, gallery=4)(draw, shown, 3)) == pytest.approx(100)


def matching(host, **fields):
    """Four pairs, two steps of gradient matching."""
    usual = {"synthetic": dd.Pixels(4), "network": TOWERS, "objective": PairMatch(8, rounds=2), "iterations": 2}
    usual["update"] = dd.Update(lr={"inputs": 0.1}, optimiser=dd.Adam())
    return replace(host.recipe("random", kind="vector", ipc=4), **{**usual, **fields})


def test_the_objective_wants_towers_and_an_open_gate():
    data, host = two_views(), Host()
    recipe = matching(host)
    run = host.start(recipe, data)
    run.run_until(0)
    before = run.synthetic.everything()[0].detach().clone()
    run.run_until(2)
    assert not torch.equal(before, run.synthetic.everything()[0])
    check_objective(recipe.objective, recipe=recipe, data=data, host=host)
    with pytest.raises(RecipeRefused, match="which mlp does not tell apart: take network.name = two_towers"):
        host.start(replace(recipe, network=dd.MLP()), data)


def test_similarities_start_from_the_identity_and_are_learned_with_the_pairs(distilled_twice):
    data, host, plan = two_views(), Host(), Similarities(rank=2, alpha=0.5)
    check_part(plan)
    update = dd.Update(lr={"inputs": 0.1, "labels": 0.1}, optimiser=dd.Adam())
    recipe = matching(host, labels=plan, update=update, iterations=3)
    run = host.start(recipe, data)
    run.start()
    _, targets = run.synthetic.everything()
    assert targets.shape == (4, 8) and torch.equal(similarities(targets), torch.eye(4))
    distilled = distilled_twice(recipe, data)
    left, right = distilled.targets.split(4, 1)
    assert left[:, :2].all() and right[:, :2].all() and not left[:, 2:].any() and not right[:, 2:].any()
    assert distilled.nbytes == distilled.inputs.nbytes + 4 * 2 * 2 * 4
    run.run_until(3)
    L, R = run.synthetic.labels.left, run.synthetic.labels.right
    torch.testing.assert_close(similarities(distilled.targets), torch.eye(4) + 0.5 / 2 * L @ R.T)


def test_similarities_of_more_numbers_than_an_embedding_has_are_refused():
    host = Host()
    with pytest.raises(RecipeRefused, match=r"labels.rank = 5: the targets of two views have 8 values, .* rank 4"):
        host.start(matching(host, labels=Similarities(rank=5)), two_views())


def test_towers_learn_which_halves_belong_together():
    data = two_views(200)
    learner = Contrastive(TOWERS, steps=60)
    shown = dd.Preprocessed(data.train, dd.Identity().start(data.card, dict))
    draw = learner.fitted_to(shown, data.card, range(2), 0)
    outputs = draw(shown.take(torch.arange(64))[0].expand(2, -1, -1), training=False)
    start = learner.network.ready(data.card)
    fresh = start(*start.init(torch.Generator().manual_seed(0)), shown.take(torch.arange(64))[0])
    alone = torch.zeros(64, 8)
    assert all(contrastive(net, alone).mean() < contrastive(fresh, alone).mean() for net in outputs)
