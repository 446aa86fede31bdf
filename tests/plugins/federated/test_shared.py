"""What clients share: in the classes of the whole problem, united, and refused where it does not fit."""

from dataclasses import replace

import pytest
import torch
from ddcore_federated import Shared, shard, union

from ddcore import BadArtefact
from ddcore.plugin import LabelledTensors


def made(n=4, seed=0, **fields):
    inputs = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    items = fields.pop("items", 0)
    return Shared(LabelledTensors(**{"inputs": inputs, "targets": torch.arange(n) % 3, **fields}), items)


ROWS = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
STEPS = {"step_sizes": torch.tensor([0.1, 0.2]), "order": torch.tensor([[0, 1], [2, 3]])}


@pytest.mark.parametrize(("method", "width"), [("dm", None), ("sldd", 3), ("frepo", 3)])
def test_a_distilled_set_comes_back_to_the_classes_of_the_problem(host, small, tiny, method, width):
    data, classes = shard(tiny, torch.cat([torch.arange(5), torch.arange(40, 60)]))
    assert classes == (0, 2)
    distilled = host.distill(small(host.recipe(method, ipc=2, iterations=1)), data)
    shared = Shared.of(distilled, classes, 3)
    assert shared.items == 25
    assert shared.loss == distilled.loss
    assert shared.inputs is distilled.inputs
    shared.check(tiny.card)
    if width is None:
        assert shared.targets.tolist() == [0, 0, 2, 2]
    else:
        assert torch.equal(shared.targets[:, [0, 2]], distilled.targets)
        assert shared.targets[:, 1].tolist() == [0.0] * 4
    if method == "sldd":
        assert torch.equal(shared.order, distilled.order)
        assert torch.equal(shared.step_sizes, distilled.step_sizes)


def test_a_union_has_the_items_of_all():
    one, two = made(4, items=30), made(3, seed=1, items=12)
    found = union([one, two], 3)
    assert torch.equal(found.inputs, torch.cat([one.inputs, two.inputs]))
    assert found.targets.tolist() == [0, 1, 2, 0, 0, 1, 2]
    assert (found.items, len(found), found.order, found.step_sizes) == (42, 7, None, None)
    inputs, targets = found.take(torch.tensor([5, 0]))
    assert torch.equal(inputs, torch.stack([two.inputs[1], one.inputs[0]]))
    assert targets.tolist() == [1, 0]


def test_classes_become_rows_where_another_set_brings_rows():
    found = union([made(4, targets=ROWS), made(2)], 3)
    assert torch.equal(found.targets, torch.cat([ROWS, torch.eye(3)[:2]]))


def test_sets_take_turns_step_by_step():
    other = {"step_sizes": torch.tensor([0.3, 0.4, 0.5]), "order": torch.tensor([[0], [1], [0]])}
    found = union([made(**STEPS), made(2, **other)], 3)
    assert [row.tolist() for row in found.order] == [[0, 1], [4], [2, 3], [5], [4]]
    assert found.step_sizes.tolist() == pytest.approx([0.1, 0.3, 0.2, 0.4, 0.5])


def test_sets_without_order_bring_their_step_sizes_together_if_all_do():
    one = {"step_sizes": torch.tensor([0.1])}
    assert union([made(**one), made(step_sizes=torch.tensor([0.3]))], 3).step_sizes.tolist() == pytest.approx(
        [0.1, 0.3]
    )
    assert union([made(**one), made()], 3).step_sizes is None


def test_bytes_are_those_of_the_tensors():
    assert made().nbytes == 4 * 64 * 4 + 4 * 8
    assert made(**STEPS).nbytes == 4 * 64 * 4 + 4 * 8 + 2 * 4 + 4 * 8
    assert union([made(**STEPS)], 3).nbytes == 4 * 64 * 4 + 4 * 8 + 2 * 4 + 4 * 8


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"targets": torch.zeros(3, dtype=torch.long)}, "4 inputs and targets of (3,)"),
        ({"inputs": torch.zeros(0, 1, 8, 8), "targets": torch.zeros(0, dtype=torch.long)}, "it has 0 inputs"),
        ({"targets": torch.zeros(4)}, "targets are torch.float32"),
        ({"targets": torch.zeros(4, 3, dtype=torch.long)}, "targets are torch.int64 (4, 3)"),
        ({"inputs": torch.zeros(4, 1, 8, 8, dtype=torch.uint8)}, "its inputs are torch.uint8"),
        ({**STEPS, "order": torch.tensor([0, 1])}, "not one row of items per step"),
        ({**STEPS, "order": torch.zeros(2, 1)}, "not one row of items per step"),
        ({"loss": "squared"}, "its loss 'squared' wants one row"),
        ({"inputs": torch.full((4, 1, 8, 8), torch.nan)}, "inputs hold NaN or infinite"),
        ({"targets": ROWS / 0}, "targets hold NaN or infinite"),
        ({"step_sizes": torch.tensor([0.0])}, "numbers above zero"),
        ({"step_sizes": torch.tensor([torch.inf])}, "step_sizes hold NaN or infinite"),
        ({"order": torch.tensor([[0, 1]])}, "1 steps in order and 0 step sizes"),
        ({**STEPS, "order": torch.tensor([[0, 4], [2, 3]])}, "not among its 4"),
        ({**STEPS, "order": torch.tensor([[0, -1], [2, 3]])}, "not among its 4"),
        ({**STEPS, "order": torch.zeros(2, 0, dtype=torch.long)}, "not one row of items per step"),
        ({"momentum": 1.0}, "its momentum is 1.0"),
        ({"items": -1}, "speaks for -1 items"),
    ],
    ids=str,
)
def test_tensors_that_do_not_fit_are_refused(fields, sentence):
    with pytest.raises(BadArtefact) as refused:
        made(**fields)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"inputs": torch.zeros(4, 3, 8, 8)}, "items are (3, 8, 8), those of tiny (1, 8, 8)"),
        ({"targets": torch.tensor([0, 1, 2, 3])}, "not classes from 0 to 2"),
        ({"targets": torch.tensor([0, 1, 2, -1])}, "not classes from 0 to 2"),
        ({"targets": torch.zeros(4, 2)}, "2 values per item, tiny has 3 classes"),
    ],
)
def test_a_set_of_another_problem_is_refused(tiny, fields, sentence):
    with pytest.raises(BadArtefact) as refused:
        made(**fields).check(tiny.card)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        ([], "union of none"),
        ([made(), made(targets=ROWS, loss="squared")], "a loss of cross_entropy and squared"),
        ([made(), made(momentum=0.5)], "a momentum of 0.0 and 0.5"),
        ([replace(made(), preprocess="a"), replace(made(), preprocess="b")], "went through a and b"),
        ([made(), made(**STEPS)], "some of its parts come with an order"),
    ],
)
def test_sets_that_do_not_go_together_are_refused(sets, sentence):
    with pytest.raises(BadArtefact, match=sentence):
        union(sets, 3)
