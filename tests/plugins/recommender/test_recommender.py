"""Recommender data: interactions, held-out items, models in closed form, ranking measures, synthetic users."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ddcore_recommender import (
    ALS,
    EASE,
    HitRate,
    InfiniteAutoencoder,
    Interactions,
    Itself,
    Ndcg,
    Popular,
    Propensity,
    Tastes,
    histories,
)
from ddcore_recommender.measures import inverse_propensity

import ddcore
from ddcore import BadData, DistilledSet, Host
from ddcore import plugin as dd


@pytest.fixture(scope="module")
def tastes():
    return Tastes(users=80).load()


@pytest.fixture(scope="module")
def host():
    return Host()


def protocol(*estimators, measures=(Ndcg(),)):
    return ddcore.Protocol(
        networks=(dd.MLP(width=4, depth=2),),
        estimators=estimators,
        measures=measures,
        augment=None,
        steps=1,
        repeats=1,
    )


# --- data


@pytest.mark.parametrize("lines", ["{}::{}::5::{}", "{},{},5,{}", "{}\t{}\t5\t{}", "{} {} 5 {}"])
@pytest.mark.parametrize("holding", ["shares", "leave_one_out"])
def test_what_is_held_out_is_apart_from_what_is_seen(tmp_path, lines, holding):
    random = np.random.default_rng(0)
    pairs = sorted({(int(u), int(i)) for u, i in random.integers(0, 20, (240, 2))})
    path = tmp_path / "likes.csv"
    path.write_text("user,item,rating,time\n" + "\n".join(lines.format(u, i, i) for u, i in pairs))
    data = Interactions(str(path), holding=holding, least=3).load()
    seen, held = data.test.inputs, data.test.targets
    chosen = data.validation.targets
    assert float((seen * held).sum() + (seen * chosen).sum() + (held * chosen).sum()) == 0
    assert torch.equal(data.train.inputs, data.train.targets)
    assert int(seen.sum() + held.sum() + chosen.sum()) == len(pairs)
    if holding == "leave_one_out":
        assert bool((held.sum(1) == 1).all()) and bool((chosen.sum(1) == 1).all())
        items = sorted({str(i) for _, i in pairs})
        when = torch.tensor([float(i) for i in items])
        last = (held * when).sum(1)
        assert bool((last >= (seen * when).amax(1)).all()), "the last in time is held out"


def test_only_users_and_items_with_enough_interactions_stay(tmp_path):
    dense = [(f"u{u}", f"i{i}") for u in range(6) for i in range(6)]
    path = tmp_path / "likes.csv"
    path.write_text("\n".join(f"{u},{i}" for u, i in [*dense, ("lonely", "i0"), ("u0", "rare")]))
    assert Interactions(str(path), least=5).load().card.shape == (6,)
    with pytest.raises(BadData, match="no user and no item has 9 interactions"):
        Interactions(str(path), least=9).load()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("1,2\n3\n", "interaction 2 is '3'"), ("1,2,good\n", r"interaction 1 is '1\|2\|good'"), (None, "cannot be read")],
)
def test_what_is_no_table_of_interactions_is_refused(tmp_path, text, sentence):
    path = tmp_path / "likes.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadData, match=sentence):
        Interactions(str(path)).load()


def test_users_with_too_little_to_hold_out_are_only_trained_on():
    pairs = [("a", "1"), ("a", "2"), *(("b", str(i)) for i in range(4))]
    data = histories("few", pairs, {})
    assert (len(data.train), len(data.test)) == (2, 1)
    with pytest.raises(BadData, match="no user has three interactions"):
        histories("few", pairs[:2], {})


# --- measures


class Fixed(dd.Network):
    """Scores that are given."""

    per_sample = True

    def __init__(self, scores):
        self.scores = scores

    def init(self, generator):
        raise NotImplementedError

    def apply(self, call, x):
        return self.scores.expand(*x.shape[:2], -1)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_measures_are_their_formulas_written_slowly(tastes, k):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(tastes.card.shape[0], generator=generator)
    draw = dd.Draw(Fixed(scores), {"nets": torch.zeros(1)}, {}, ensemble=1)
    data = dd.Preprocessed(tastes.test, dd.Identity().load({}))
    hit, gain, psp = [], [], []
    each = inverse_propensity(tastes.test.inputs).tolist()
    for seen, held in zip(tastes.test.inputs, tastes.test.targets, strict=True):
        ranking = [i for i in scores.argsort(descending=True).tolist() if not seen[i]][:k]
        right = [float(held[i]) for i in ranking]
        hit.append(max(right))
        best = sum(1 / np.log2(r + 2) for r in range(min(k, int(held.sum()))))
        gain.append(sum(h / np.log2(r + 2) for r, h in enumerate(right)) / best)
        most = sorted((w for w, h in zip(each, held, strict=True) if h), reverse=True)[:k]
        psp.append(sum(each[i] * h for i, h in zip(ranking, right, strict=True)) / sum(most))
    for measure, expected in ((HitRate(k), hit), (Ndcg(k), gain), (Propensity(k), psp)):
        assert float(measure(draw, data, 100)) == pytest.approx(100 * np.mean(expected), rel=1e-6)


def test_items_seen_often_weigh_less():
    seen = torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, 0, 1]]).repeat(4, 1)
    one, two, three = inverse_propensity(seen).tolist()
    assert one < two == three


# --- models


def test_ease_is_its_formula(tastes):
    x = tastes.train.inputs.double()
    scorer = EASE(ridge=0.2).fit(x, 0)
    gram = x.T @ x
    p = torch.linalg.inv(gram + 0.2 * gram.diagonal().mean() * x.sum(1).mean() * torch.eye(len(gram)))
    expected = torch.zeros_like(p)
    for i in range(len(p)):
        for j in range(len(p)):
            expected[i, j] = 0 if i == j else -p[i, j] / p[j, j]
    torch.testing.assert_close(scorer(x), x @ expected)


def test_the_infinite_autoencoder_is_kernel_ridge_regression(tastes):
    from sklearn.kernel_ridge import KernelRidge

    x, kernel = tastes.train.inputs.double(), dd.DenseTangent()
    of_each = kernel(x, x)
    own = KernelRidge(alpha=2.0 * float(of_each.diagonal().mean()), kernel="precomputed").fit(of_each, x)
    shown = tastes.test.inputs.double()[:7]
    expected = torch.from_numpy(own.predict(kernel(shown, x).numpy()))
    torch.testing.assert_close(InfiniteAutoencoder(ridge=2.0).fit(x, 0)(shown), expected)


def test_models_go_through_evaluation_and_learn_tastes(tastes):
    models = (Popular(), EASE(), InfiniteAutoencoder(ridge=1.0))
    scores = ddcore.evaluate(tastes.train, tastes, protocol(*models), preprocess=dd.Identity())["ndcg"]
    assert scores.keys() == {"mlp", "popular", "ease", "infinite_autoencoder"}
    assert scores["ease"].mean > scores["popular"].mean


def test_als_is_refused_without_its_library_and_learns_with_it(tastes):
    data = protocol(ALS(factors=4, rounds=3))
    try:
        import implicit  # noqa: F401
    except ImportError:
        with pytest.raises(ddcore.RecipeRefused, match=r"pip install 'ddcore-recommender\[als\]'"):
            ddcore.evaluate(tastes.train, tastes, data, preprocess=dd.Identity())
    else:
        found = ddcore.evaluate(tastes.train, tastes, data, preprocess=dd.Identity())
        assert found["ndcg"]["als"].mean > 10


# --- sets


@pytest.mark.parametrize("init", ["noise", "real"])
def test_synthetic_users_are_distilled_saved_and_read(host, tastes, distilled_twice, tmp_path, init):
    recipe = host.recipe("distill_cf", ipc=6, iterations=4, overrides={"synthetic.init": init})
    found = distilled_twice(recipe, tastes)
    found = DistilledSet.load(found.save(tmp_path / "users.safetensors"))
    assert found.inputs.shape == (6, *tastes.card.shape) and found.loss == "squared"
    assert torch.equal(found.inputs, found.targets)
    assert float(found.inputs.min()) >= 0 and float(found.inputs.max()) <= 1
    assert float(found.inputs.sum(1).max()) <= recipe.synthetic.draws
    ddcore.evaluate(found, tastes, protocol(EASE()))


def test_cold_draws_of_a_real_user_are_its_items(host, tastes):
    sharp = {"synthetic.temperature": 1e-3, "synthetic.strength": 50.0, "update.lr.inputs": 1e-6}
    found = host.distill(host.recipe("distill_cf", ipc=5, iterations=1, overrides=sharp), tastes)
    real = tastes.train.inputs
    for history in found.inputs:
        assert bool(((history > 0.5).float() <= real).all(1).any()), "no item that its user has not"


def test_the_loss_falls(host, tastes):
    losses = []
    recipe = host.recipe("distill_cf", ipc=10, iterations=40, overrides={"synthetic.init": "noise"})
    run = host.start(replace(recipe, update=replace(recipe.update, lr={"inputs": 0.3})), tastes)

    def wrong():
        inputs, _ = run.synthetic.everything()
        scorer = InfiniteAutoencoder(ridge=recipe.objective.ridge).fit(inputs.detach().double(), 0)
        x = tastes.train.inputs.double()
        losses.append(float((scorer(x) - x).square().sum(1).mean()))

    run.start()
    wrong()
    run.run_until()
    wrong()
    assert losses[1] < losses[0]


def test_head_users_are_those_with_the_longest_histories(host, tastes):
    found = host.distill(host.recipe("head_users", ipc=3), tastes)
    lengths = tastes.train.inputs.sum(1).sort(descending=True).values
    assert found.inputs.sum(1).tolist() == lengths[:3].tolist()
    assert isinstance(host.recipe("head_users").labels, Itself)


def test_random_users_are_a_baseline_by_the_cores_own_method(host, tastes):
    found = host.distill(host.recipe("random", kind="history", ipc=5), tastes)
    assert torch.equal(found.inputs, found.targets)
    assert found.preprocess == "identity"
