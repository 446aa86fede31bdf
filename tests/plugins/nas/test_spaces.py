"""Search spaces: what is in them, how it is drawn, what its networks compute."""

import json

import pytest
import torch
from ddcore_nas import CellNet, Cells, ConvNets, Residuals
from ddcore_nas.cells import EDGES, written

import ddcore
from ddcore import BadData, RecipeRefused

CARD = ddcore.DataCard("noise", (1, 8, 8), 3, (8, 8, 8))
SPACES = [ConvNets(), Residuals(), Cells()]


@pytest.mark.parametrize(("space", "size"), list(zip(SPACES, (720, 108, 15625), strict=True)), ids=lambda v: str(v)[:8])
def test_its_architectures_all_have_names_of_their_own(space, size):
    candidates = space.candidates()
    assert len(candidates) == len({c.name for c in candidates}) == len({c.network for c in candidates}) == size


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.part_name())
def test_some_are_drawn_by_the_seed(space):
    def drawn(**fields):
        return [c.name for c in type(space)(**fields).candidates()]

    some = drawn(subsample=12, seed=3)
    everything = drawn()
    assert len(some) == 12
    assert some == sorted(some, key=everything.index)
    assert some == drawn(subsample=12, seed=3) != drawn(subsample=12, seed=4)
    assert drawn(subsample=10**6) == everything


@pytest.mark.parametrize("space", [Residuals(subsample=6), Cells(subsample=6, width=4)], ids=["residuals", "cells"])
def test_its_networks_can_be_trained(space):
    for candidate in space.candidates():
        network = candidate.network.ready(CARD)
        params, buffers = network.init(torch.Generator().manual_seed(0))
        answer = network(params, buffers, torch.randn(4, *CARD.shape))
        assert answer.shape == (4, 3)
        assert answer.isfinite().all()


def test_a_cell_sums_along_its_edges():
    """Against the sum written out, with operations that have no parameters."""
    operations = ("skip_connect", "avg_pool_3x3", "none", "none", "skip_connect", "avg_pool_3x3")
    from ddcore_nas.cells import CellModule

    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    pool = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    first = x
    second = pool(x)
    third = first + pool(second)
    assert [(end, start) for end, start in EDGES] == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    assert torch.allclose(CellModule(operations, 3)(x), third)


def test_a_cell_that_is_cut_answers_nothing_and_fails_nowhere():
    network = CellNet(written(("none",) * 6), width=4).ready(CARD)
    params, buffers = network.init(torch.Generator().manual_seed(0))
    answer = network(params, buffers, torch.randn(4, *CARD.shape))
    assert torch.allclose(answer, answer[:1].expand_as(answer))


def test_architectures_are_written_as_nas_bench_201_does():
    name = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
    operations = ("nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "none")
    assert written(operations) == name
    assert CellNet(name).operations == operations
    for wrong in ("", "|none~0|", name.replace("none", "conv_7x7"), name.replace("~2", "~1")):
        with pytest.raises(RecipeRefused, match="is no cell: write one of none, skip_connect"):
            CellNet(wrong)


def test_options_that_are_missing_or_doubled_are_refused():
    for fields in ({"widths": ()}, {"norms": ("batch", "batch")}):
        with pytest.raises(RecipeRefused, match="it needs at least one option, and each of them once"):
            ConvNets(**fields)


def test_a_table_is_read_and_what_is_none_is_refused(tmp_path):
    table = tmp_path / "table.json"
    space = ConvNets(widths=(8,), depths=(1,), table=str(table))
    with pytest.raises(BadData, match="cannot be read"):
        space.known()
    for text in ("", "[1]", '{"8-1-relu-none-max": "high"}', '{"a": NaN}'):
        table.write_text(text)
        with pytest.raises(BadData, match=r"is not JSON of the form|no accuracy in percent"):
            space.known()
    table.write_text(json.dumps({"8-1-relu-none-max": 101}))
    with pytest.raises(BadData, match=r"says 101.0 of 8-1-relu-none-max, which is no accuracy"):
        space.known()
    table.write_text(json.dumps({"8-1-relu-none-max": 88.5}))
    assert space.known() == {"8-1-relu-none-max": 88.5}
    assert "8-1-relu-none-max" in {candidate.name for candidate in space.candidates()}
