"""Preprocessing and the way back."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ddcore import BadData, DataCard, DistilledSet, RecipeRefused
from ddcore.preprocess import ZCA, Identity, Standardise

BARE = DataCard("bare", (2, 3, 3), 2, (1, 1))
DECLARED = DataCard("declared", (2, 3, 3), 2, (1, 1), mean=(0.1, 0.2), std=(0.5, 0.25))


def forbidden():
    raise AssertionError("declared numbers must not be asked of T")


def test_standardise_and_back():
    x = torch.rand(4, 2, 3, 3)
    fitted = Standardise((0.1, 0.2), (0.5, 0.25)).start(BARE, forbidden)
    assert torch.allclose(fitted(x)[:, 1], (x[:, 1] - 0.2) / 0.25)
    assert torch.allclose(fitted.inverse(fitted(x)), x, atol=1e-6)
    again = Standardise().load(fitted.state_dict())
    assert torch.equal(again(x), fitted(x))


def test_the_card_declares_or_the_gate_is_asked():
    assert Standardise().asks == {"statistics"}
    filled = Standardise().fitted(DECLARED)
    assert filled == Standardise((0.1, 0.2), (0.5, 0.25))
    assert filled.asks == frozenset()
    assert Standardise().fitted(BARE) == Standardise()
    asked = []

    def statistics():
        asked.append(1)
        return {"mean": torch.tensor([0.5, 0.5]), "std": torch.tensor([0.0, 0.25])}

    assert torch.equal(
        Standardise().start(DECLARED, forbidden)(torch.ones(1, 2, 3, 3))[0, :, 0, 0], torch.tensor([1.8, 3.2])
    )
    fitted = Standardise().start(BARE, statistics)
    assert asked == [1]
    assert torch.isfinite(fitted(torch.rand(1, 2, 3, 3))).all(), "a constant channel divides by no zero"


def test_identity_is_one():
    x = torch.rand(2, 2, 3, 3)
    fitted = Identity().start(BARE, forbidden)
    assert fitted(x) is x
    assert Identity().load(fitted.state_dict()).inverse(x) is x


@pytest.mark.parametrize(
    ("mean", "std", "sentence"),
    [
        ((0.1,), None, "mean and std belong together"),
        ((0.1,), (0.0,), "std = 0.0: it must be above 0"),
        ((0.1,), (-0.5,), "std = -0.5: it must be above 0"),
        ((0.1,), (float("nan"),), "std = nan: it must be a number and above 0"),
        ((float("inf"),), (0.5,), "mean = inf: it must be finite"),
        ((0.1, 0.2), (1.0,), "must have the same length"),
    ],
)
def test_numbers_that_cannot_be_are_refused(mean, std, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        Standardise(mean, std)


def test_the_wrong_number_of_channels_is_refused():
    with pytest.raises(RecipeRefused, match="has 1 values, bare has 2 channels"):
        Standardise((0.1,), (0.5,)).start(BARE, forbidden)


# --- numbers of another range ----------------------------------------------------------------------------

GREY = DataCard("grey", (1, 2, 2), 2, (1, 1), unit_range=True)
BYTES = ({"mean": (33.3,), "std": (78.6,)}, {"mean": (0.1,), "std": (255.0,)}, {"mean": (-0.2,), "std": (0.3,)})


@pytest.mark.parametrize("numbers", BYTES)
def test_numbers_of_another_range_are_refused_before_a_run(numbers, tiny, host):
    assert tiny.card.unit_range
    with pytest.raises(RecipeRefused, match=r"raw items lie in \[0, 1\], so divide it by the value that white had"):
        host.start(
            host.recipe("dm", overrides={"preprocess.mean": numbers["mean"], "preprocess.std": numbers["std"]}), tiny
        )
    declared = replace(tiny, card=replace(tiny.card, **numbers))
    with pytest.raises(BadData, match=r"raw items lie in \[0, 1\]"):
        host.start(host.recipe("dm"), declared)


@pytest.mark.parametrize("plan", [Standardise(), ZCA()], ids=lambda plan: plan.part_name())
def test_numbers_of_another_range_are_no_preprocessing_of_a_set(plan):
    side = 4 if isinstance(plan, ZCA) else 1
    state = {"mean": torch.full((side,), 33.3)}
    state |= {"matrix": torch.eye(4), "inverse": torch.eye(4)} if side == 4 else {"std": torch.tensor([78.6])}
    (said,) = list(plan.state_faults(state, GREY))[:1]
    assert said.startswith("its mean reaches 33.3, and raw items lie in [0, 1]")
    assert list(plan.state_faults(state, replace(GREY, unit_range=False))) == []
    right = state | {"mean": torch.ones(side)} | ({} if side == 4 else {"std": torch.ones(1)})
    assert list(plan.state_faults(right, GREY)) == []


def moments(x):
    flat = x.flatten(1).double()
    centred = flat - flat.mean(0)
    return {"mean": flat.mean(0), "covariance": centred.T @ centred / len(x)}


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 3, 3), (3, 2, 5)])
def test_zca_whitens_and_goes_back(shape):
    """Covariance U L U' becomes U L/(L + eps) U'; the matrix is symmetric."""
    generator = torch.Generator().manual_seed(0)
    d = shape[0] * shape[1] * shape[2]
    mix = torch.randn(d, d, generator=generator)
    x = (torch.randn(400, d, generator=generator) @ mix).view(400, *shape) * 0.1 + 0.5
    card = DataCard("made", shape, 2, (200, 200))
    fitted = ZCA(eps=0.01).start(card, lambda pixels: moments(x))
    seen = moments(fitted(x))
    values, vectors = torch.linalg.eigh(moments(x)["covariance"])
    expected = vectors @ (values / (values + 0.01)).diag() @ vectors.T
    assert torch.allclose(seen["covariance"], expected, atol=1e-3)
    assert torch.allclose(seen["mean"], torch.zeros(d, dtype=torch.float64), atol=1e-4)
    assert torch.allclose(fitted.state_dict()["matrix"], fitted.state_dict()["matrix"].T, atol=1e-5)
    assert torch.allclose(fitted.inverse(fitted(x)), x, atol=1e-3)
    again = ZCA().load(fitted.state_dict())
    assert torch.equal(again(x), fitted(x))
    assert torch.equal(again.inverse(x), fitted.inverse(x))


def test_zca_is_fitted_through_the_gate_and_its_inverse_stands_in_the_artefact(host, small, tiny, tmp_path):
    recipe = small(host.recipe("dm", ipc=1, iterations=1), preprocess=ZCA(eps=0.05))
    assert "statistics" in recipe.asks
    run = host.start(recipe, tiny)
    run.run_until()
    raw = tiny.train.take(torch.arange(60)).inputs
    want = moments(raw)
    found = run.gate.statistics(pixels=True)
    assert torch.allclose(found["mean"], want["mean"])
    assert torch.allclose(found["covariance"], want["covariance"], atol=1e-9)
    distilled = DistilledSet.load(run.export().save(tmp_path / "zca.safetensors"))
    fitted = ZCA().load(distilled.preprocess_state)
    assert distilled.preprocess == "zca"
    assert torch.allclose(fitted(fitted.inverse(distilled.inputs)), distilled.inputs, atol=1e-4)


def test_zca_of_public_moments_asks_nothing(tmp_path):
    path = tmp_path / "public.safetensors"
    x = torch.rand(50, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    save_file(moments(x), path)
    plan = ZCA(public=str(path))
    assert plan.asks == frozenset()
    fitted = plan.start(BARE, forbidden)
    assert torch.equal(fitted(x), ZCA().start(BARE, lambda pixels: moments(x))(x))
    with pytest.raises(RecipeRefused, match="not those of small's items of 4 values"):
        plan.start(DataCard("small", (1, 2, 2), 2, (1, 1)), forbidden)
    path.write_bytes(b"no")
    with pytest.raises(RecipeRefused, match="names a safetensors file with mean and covariance"):
        plan.start(BARE, forbidden)
    with pytest.raises(RecipeRefused, match="eps = 0"):
        ZCA(eps=0)
