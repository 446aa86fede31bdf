"""Preprocessing and the way back."""

import pytest
import torch

from ddcore import DataCard, RecipeRefused
from ddcore.preprocess import Identity, Standardise

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
        ((0.1,), (0.0,), "std above zero"),
        ((0.1,), (-0.5,), "std above zero"),
        ((0.1,), (float("nan"),), "finite"),
        ((float("inf"),), (0.5,), "finite"),
        ((0.1, 0.2), (1.0,), "must be as long"),
    ],
)
def test_numbers_that_cannot_be_are_refused(mean, std, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        Standardise(mean, std)


def test_the_wrong_number_of_channels_is_refused():
    with pytest.raises(RecipeRefused, match="has 1 numbers, bare has 2 channels"):
        Standardise((0.1,), (0.5,)).start(BARE, forbidden)
