"""Splits: no item twice, skew as asked, and what cannot be split is said."""

import pytest
import torch
from ddcore_federated import ByClasses, Dirichlet, Iid, histogram, shard

from ddcore import BadData, RecipeRefused

TARGETS = torch.arange(10).repeat(60)
SPLITS = [Iid(), Dirichlet(0.1), Dirichlet(100.0), ByClasses(2), ByClasses(10)]


def drawn(split, clients=8, seed=0, targets=TARGETS):
    return split.rows(targets, clients, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_every_item_falls_to_one_client_and_the_seed_decides_which(split):
    rows = drawn(split)
    assert len(rows) == 8
    assert torch.cat(rows).sort().values.tolist() == list(range(600))
    assert all(torch.equal(one, two) for one, two in zip(rows, drawn(split), strict=True))
    assert any(not torch.equal(one, two) for one, two in zip(rows, drawn(split, seed=1), strict=True))
    assert all(bool((mine.diff() > 0).all()) for mine in rows)


def test_the_histogram_counts_what_each_client_has():
    rows = drawn(Dirichlet(0.5))
    found = histogram(TARGETS, rows, 10)
    assert found.shape == (8, 10)
    assert found[3].tolist() == [int((TARGETS[rows[3]] == c).sum()) for c in range(10)]
    assert found.sum(0).tolist() == [60] * 10


def test_equal_shares():
    assert {len(mine) for mine in drawn(Iid(), 7)} == {85, 86}


def test_a_small_alpha_is_skewed_and_a_large_one_is_even():
    def largest_share(alpha):
        found = histogram(TARGETS, drawn(Dirichlet(alpha)), 10).double()
        return float((found.max(1).values / found.sum(1)).mean())

    assert largest_share(0.1) > 2 * largest_share(1000.0)
    assert largest_share(1000.0) < 0.15
    assert min(len(mine) for mine in drawn(Dirichlet(0.1, least=20))) >= 20


def test_shares_of_a_class_are_distributed_as_dirichlet_says():
    """E p = 1/m and Var p = (m - 1) / (m^2 (m alpha + 1)) for m clients, over many draws."""
    targets = torch.zeros(4000, dtype=torch.long)
    shares = torch.stack(
        [torch.tensor([len(r) for r in drawn(Dirichlet(2.0, least=1), 4, seed, targets)]) for seed in range(400)]
    )
    shares = shares.double() / 4000
    assert torch.allclose(shares.mean(0), torch.full((4,), 0.25, dtype=torch.float64), atol=0.03)
    assert float(shares.var(0).mean()) == pytest.approx(3 / (16 * 9), rel=0.15)


@pytest.mark.parametrize(("each", "clients"), [(2, 5), (2, 8), (3, 7), (1, 10), (10, 3)])
def test_each_client_has_its_number_of_classes_dealt_evenly(each, clients):
    found = histogram(TARGETS, drawn(ByClasses(each), clients), 10)
    assert (found > 0).sum(1).tolist() == [each] * clients
    owners = (found > 0).sum(0)
    assert int(owners.min()) >= 1
    assert int(owners.max() - owners.min()) <= 1
    for c in range(10):
        pieces = found[:, c][found[:, c] > 0]
        assert int(pieces.max() - pieces.min()) <= 1


@pytest.mark.parametrize(
    ("split", "clients", "sentence"),
    [
        (Iid(), 601, "cannot be split among 601 clients"),
        (Iid(), 0, "take 1 to 600"),
        (Dirichlet(0.1, least=100), 8, "too few for 8 clients of at least 100"),
        (Dirichlet(0.001, least=60), 10, "In 1000 draws.*larger split.alpha"),
        (ByClasses(11), 8, "the items are of 10 classes"),
        (ByClasses(2), 4, "leave some of the 10 classes out"),
        (ByClasses(10), 61, "Class 0 has 60 items for 61 clients"),
    ],
)
def test_what_cannot_be_split_is_refused(split, clients, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        drawn(split, clients)


@pytest.mark.parametrize("fields", [{"alpha": 0.0}, {"alpha": float("inf")}, {"least": 0}])
def test_a_dirichlet_that_is_none_is_refused(fields):
    with pytest.raises(RecipeRefused, match="= .*: it must be .*(above 0|at least 1)"):
        Dirichlet(**fields)


def test_a_split_is_known_by_name(host):
    for split in SPLITS:
        assert host.catalogue.find("split", split.part_name()).maker is type(split)


def test_a_shard_is_numbered_by_its_own_classes(tiny):
    rows = torch.cat([torch.arange(20, 25), torch.arange(40, 60)])
    data, classes = shard(tiny, rows)
    assert classes == (1, 2)
    assert data.card.counts == (5, 20)
    assert (data.card.classes, data.card.shape, data.card.mean) == (2, (1, 8, 8), (0.4,))
    assert torch.equal(data.train.inputs, tiny.train.inputs[rows])
    assert data.train.targets.tolist() == [0] * 5 + [1] * 20


def test_classes_of_too_few_items_are_left_out(tiny):
    rows = torch.cat([torch.arange(20, 25), torch.arange(40, 60)])
    data, classes = shard(tiny, rows, least=6)
    assert classes == (2,)
    assert data.card.counts == (20,)
    with pytest.raises(BadData, match="no class with at least 21"):
        shard(tiny, rows, least=21)
