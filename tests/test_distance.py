"""The distance between gradients, at the places where it is not smooth of itself.

Its formula, scale and derivatives elsewhere are in test_equations.
"""

import pytest
import torch

from ddcore.distance import FilterCosine


def filters(seed, dtype=torch.float64):
    return torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("s", "t", "wanted"), [((1, 0), (0, 2), 1), ((3, 4), (6, 8), 0), ((3, 4), (-3, -4), 2)])
def test_a_filter_counts_one_less_its_cosine(s, t, wanted):
    S, T = ({"w": torch.tensor([row, row], dtype=torch.float64)} for row in (s, t))
    assert float(FilterCosine(eps=0)(S, T)) == pytest.approx(2 * wanted, abs=1e-12), "the sum over two filters"


def test_eps_stands_by_the_product_of_the_norms():
    S, T = {"w": torch.tensor([[3.0, 4.0]])}, {"w": torch.tensor([[6.0, 8.0]])}
    assert float(FilterCosine(eps=50)(S, T)) == pytest.approx(1 - 50 / (5 * 10 + 50))


def test_vectors_get_no_gradient():
    S = {"w": filters(0).requires_grad_(), "b": torch.ones(3, requires_grad=True)}
    T = {"w": filters(1), "b": torch.zeros(3)}
    matrix, vector = torch.autograd.grad(FilterCosine()(S, T), list(S.values()), allow_unused=True)
    assert vector is None
    assert matrix.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("empty", ["S", "T", "both"])
def test_a_filter_of_zeros_counts_one_and_has_finite_derivatives(empty, dtype):
    s, t = filters(0, dtype), filters(1, dtype)
    for name, x in (("S", s), ("T", t)):
        if empty in (name, "both"):
            x[1] = 0
    s.requires_grad_()
    whole = FilterCosine()({"w": s}, {"w": t})
    others = FilterCosine()({"w": s[[0, 2]]}, {"w": t[[0, 2]]})
    assert (whole - others).item() == pytest.approx(1, abs=1e-6)
    (first,) = torch.autograd.grad(whole, s, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), s)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
    (alone,) = torch.autograd.grad(others, s)
    assert torch.allclose(first[[0, 2]], alone[[0, 2]]), "the empty filter leaves the others as they are"


def test_descending_it_turns_the_filters():
    s, t = filters(0).requires_grad_(), filters(1)
    start = FilterCosine()({"w": s}, {"w": t}).item()
    for _ in range(300):
        (gradient,) = torch.autograd.grad(FilterCosine()({"w": s}, {"w": t}), s)
        s = (s - 0.5 * gradient).detach().requires_grad_()
    assert start > 1
    assert FilterCosine()({"w": s}, {"w": t}).item() < 1e-3
