"""The view pgd: whom it attacks, by which loss, when, and how it stops and goes on."""

from dataclasses import replace

import pytest
import torch
from ddcore_robust import Attacked, Curvature, Fgsm, Linf, Pgd

from ddcore import Group, RealData, RecipeRefused
from ddcore import plugin as dd

VIEW = Attacked(Pgd(Linf(0.1), 3))


@pytest.fixture
def begun(host, small):
    def begin(data, view=VIEW, method="dm", **fields):
        run = host.start(small(host.recipe(method), views=(view,), iterations=3, **fields), data)
        run.start()
        run.gate.source.follow(run.ctx.fresh())
        return run

    return begin


def raw(run, group):
    """The items of ``group`` as they came."""
    return run.gate.source.store.take(run.gate.source.store.draw(torch.Generator(), group.classes, None)).inputs


def seen(run, draw, group, loss=None):
    """The items of ``group`` as a request about ``draw`` sees them, raw."""
    rows = run.gate.source.store.draw(torch.Generator(), group.classes, None)
    asked = draw if loss is None else replace(draw, loss=loss)
    return run.gate.source.raw(run.gate.source.store.take(rows), asked).inputs


def test_the_network_of_the_request_is_attacked(begun, tiny):
    run, group = begun(tiny), Group((1,))
    draw, clean = run.ctx.fresh(), raw(begun(tiny), Group((1,)))
    moved = seen(run, draw, group)
    assert float((moved - clean).abs().max()) <= 0.1 + 1e-6
    shown = replace(draw, before=run.preprocess)
    targets = torch.ones(len(clean), dtype=torch.long)
    before, after = (dd.cross_entropy(shown(x, training=False), targets).mean() for x in (clean, moved))
    assert after > before


def test_the_loss_that_is_asked_about_is_attacked(begun, tiny):
    """A gate tells it: the attack on the opposite loss moves items the other way."""
    run, group = begun(tiny, Attacked(Fgsm(Linf(0.1)))), Group((1,))
    draw, clean = run.ctx.fresh(), raw(run, group)
    told = []

    def loss(outputs, targets):
        told.append(len(outputs))
        return -dd.cross_entropy(outputs, targets)

    run.gate.gradient(draw, [group], loss)
    assert len(told) == 2, "once by the attack, once by the gate"
    up, down = seen(run, draw, group), seen(run, draw, group, loss)
    free = (clean > 0.1) & (clean < 0.9)
    assert free.any()
    assert torch.allclose((up - clean)[free], -(down - clean)[free], atol=1e-5)


def test_ridge_predictors_are_attacked(begun, tiny, host):
    """The predictor that a kernel regression fits to S is the network of its request."""
    for method in ("frepo", "kip"):
        run = begun(tiny, method=method)
        clean = Group(size=8)
        asked = []
        gradient = run.gate.gradient

        def watched(draw, groups, loss, gradient=gradient, asked=asked):
            asked.append(draw)
            return gradient(draw, groups, loss)

        run.gate.gradient = watched
        run.update()
        (predictor,) = asked
        moved = seen(run, predictor, Group((0,)))
        assert float((moved - raw(run, Group((0,)))).abs().max()) > 0.05, clean


def test_clean_steps_come_first(begun, tiny):
    run, group = begun(tiny, replace(VIEW, clean=2)), Group((2,))
    draw = run.ctx.fresh()
    assert torch.equal(seen(run, draw, group), raw(run, group))
    for _ in range(2):
        run.gate.source.follow(draw)
    assert not torch.equal(seen(run, draw, group), raw(run, group))


def test_a_share_stays_clean(begun, tiny):
    run, group = begun(tiny, replace(VIEW, share=0.5)), Group()
    moved = (seen(run, run.ctx.fresh(), group) != raw(run, group)).flatten(1).any(1).float().mean()
    assert 0.2 < float(moved) < 0.8


def test_without_a_network_items_are_as_they_are(begun, tiny):
    run = begun(tiny)
    (batch,) = run.gate.examples([Group((0,))])
    assert torch.allclose(run.preprocess.inverse(batch.inputs), raw(run, Group((0,))), atol=1e-5)


@pytest.mark.parametrize("method", ["adv_dm", "adv_kip", "robust_ridge", "tri_level", "guard"])
def test_methods_run_stop_and_go_on(method, host, small, tiny, distilled_twice):
    recipe = small(host.recipe(method, ipc=2, iterations=3))
    if method == "tri_level":
        recipe = replace(recipe, objective=replace(recipe.objective, steps=3))
    if recipe.views:
        recipe = replace(recipe, views=(replace(VIEW, clean=1),))
    found = distilled_twice(recipe, tiny)
    assert ("attacked" in found.facts) == bool(recipe.views)


def test_it_passes_a_guard(host, small, tiny):
    """It declares that it is itemwise, and a private gate checks that."""
    recipe = host.recipe("dm", overrides={"synthetic.init": "noise", "plugins.private.epsilon": 50})
    found = host.distill(small(recipe, views=(VIEW,), iterations=2), tiny)
    assert found.facts["privacy"]["requests"] == 2


def test_refusals(host, small, tiny):
    floats = RealData.of("floats", (torch.rand(30, 1, 8, 8), torch.arange(30) % 3), None, mean=(0.4,), std=(0.3,))
    with pytest.raises(RecipeRefused, match="pgd moves items within .0, 1., but those of floats came as floats"):
        host.start(small(host.recipe("adv_dm", ipc=1)), floats)
    late = small(host.recipe("adv_dm", ipc=1, iterations=2), views=(replace(VIEW, clean=2),))
    with pytest.raises(RecipeRefused, match="leaves the first 2 steps clean, and adv_dm makes 2"):
        host.start(late, tiny)


def test_curvature_is_its_formula(host, small, tiny):
    """By finite differences of a loss that is quadratic in the item: the gradient bends by 2 A h z."""
    term, a = Curvature(weight=0.5, h=0.3), torch.tensor([1.0, 2.0, 0.5])

    class Labels:
        @staticmethod
        def loss(outputs, targets):
            return outputs

    class Set:
        labels = Labels()
        x = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.1, 1.0]], requires_grad=True)

        def everything(self):
            return self.x, None

    loss = term.loss(lambda x: (a * x.square()).sum(1), Set(), None)
    gradient = 2 * a * Set.x.detach()
    z = gradient / gradient.norm(dim=1, keepdim=True)
    assert torch.allclose(loss, 0.5 * (2 * a * 0.3 * z).square().sum(1).mean())
