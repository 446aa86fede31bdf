"""Images as cosine coefficients: the transform, the chosen frequencies and the bytes, written slowly."""

import math

import pytest
import torch

from ddcore import RecipeRefused
from ddcore.carriers.cosines import Cosines, cosines
from ddcore.types import DataCard, Group


def slow_transform(x):
    """DCT-II of one channel (h, w), from its formula."""
    h, w = x.shape
    found = torch.zeros(h, w, dtype=torch.float64)
    for u in range(h):
        for v in range(w):
            total = sum(
                float(x[i, j])
                * math.cos(math.pi * u * (2 * i + 1) / (2 * h))
                * math.cos(math.pi * v * (2 * j + 1) / (2 * w))
                for i in range(h)
                for j in range(w)
            )
            scale = (1 if u else 0.5) * (1 if v else 0.5) * 4 / (h * w)
            found[u, v] = math.sqrt(scale) * total
    return found


def test_the_transform_is_its_formula_and_orthonormal():
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(cosines(3) @ x @ cosines(4).T, slow_transform(x))
    for n in (1, 2, 7, 8):
        assert torch.allclose(cosines(n) @ cosines(n).T, torch.eye(n, dtype=torch.float64))


def run_of(host, small, data, **overrides):
    said = {f"synthetic.{name}": value for name, value in overrides.items()}
    run = host.start(small(host.recipe("fred", ipc=2, iterations=2, overrides=said)), data)
    run.start()
    return run


def everything(run):
    rows = [run.gate.source.store.draw(torch.Generator(), (c,)) for c in range(run.card.classes)]
    return torch.cat([run.gate.source.take(r, None, Group()).inputs.double() for r in rows])


def test_the_frequencies_of_the_most_energy_in_t_are_kept(host, small, tiny):
    run = run_of(host, small, tiny)
    energy = torch.stack([slow_transform(x[0]).square() for x in everything(run)]).mean(0).flatten()
    kept = run.synthetic.carrier.places.tolist()
    assert len(kept) == len(set(kept)) == 16
    assert min(energy[kept]) >= max(energy[[i for i in range(64) if i not in kept]]) * (1 - 1e-6)


def test_the_lowest_frequencies_ask_nothing(host, small, tiny):
    run = run_of(host, small, tiny, chosen="low", init="noise")
    kept = run.synthetic.carrier.places.tolist()
    order = sorted(range(64), key=lambda i: i // 8 + i % 8)
    assert {i for i in order if i // 8 + i % 8 < 5} <= {*kept} <= {i for i in order if i // 8 + i % 8 <= 5}
    assert Cosines(init="noise", chosen="low").asks == set()
    assert Cosines(init="real").asks == {"examples", "features"}


def test_with_all_of_them_real_images_come_back_whole(host, small, tiny):
    run = run_of(host, small, tiny, kept=1.0, ipc=3)
    made, real = run.synthetic.everything()[0].detach().double(), everything(run)
    gaps = (made[:, None] - real).flatten(2).norm(dim=2)
    assert len(made) == 3 * 2, "the places take the bytes of a third of an image per class"
    assert float(gaps.min(1).values.max()) < 1e-4


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 16)])
@pytest.mark.parametrize("kept", [0.05, 0.3, 1.0])
def test_as_many_images_as_fit_and_not_one_more(shape, kept):
    card = DataCard("made", shape, 10, (20,) * 10)
    module = Cosines(4, kept=kept, most=10**6).build(card)
    budget = 4 * 4 * 10 * math.prod(shape)
    assert module.nbytes() <= budget < module.nbytes() + 4 * 10 * module.coefficients.shape[1]
    assert module.nbytes() == sum(value.nbytes for value in module.latent().values())
    assert module(torch.tensor([0, 3])).shape == (2, *shape)


def test_where_not_even_one_fits_it_is_refused(host, small, tiny):
    with pytest.raises(RecipeRefused, match="1 images per class of tiny are 192 values, but decoding takes 64"):
        run_of(host, small, tiny, kept=1.0, ipc=1)
