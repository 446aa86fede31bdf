"""The buffer inside Avalanche: the stock plugin, GDumb, its metrics, and what cannot be served."""

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from ddcore_replay import Balanced, Distilled, Olcgm, Reservoir, Stream, average_accuracy, backward_transfer
from ddcore_replay.avalanche import DistilledBuffer, DistilledGDumb, OneHot, SoftCriterion, items, with_soft
from ddcore_replay.memory import Bounded
from torch import nn
from torch.utils.data import TensorDataset

import ddcore
from ddcore import RecipeRefused

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from avalanche.benchmarks import class_incremental_benchmark, nc_benchmark, ni_benchmark, split_online_stream
    from avalanche.benchmarks.utils import AvalancheDataset
    from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics
    from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
    from avalanche.training.supervised import Naive

SMALL = {"iterations": 2, "network.width": 4, "objective.real": 8}


class Labelled(TensorDataset):
    def __init__(self, store):
        batch = store.take(torch.arange(len(store)))
        super().__init__(batch.inputs, batch.targets)
        self.targets = batch.targets.tolist()


@pytest.fixture
def four():
    """Four classes of 1x8x8: a bar at the class's own place, in noise."""
    generator = torch.Generator().manual_seed(0)

    def split(n):
        targets = torch.arange(4).repeat(n)
        images = torch.randint(0, 90, (4 * n, 1, 8, 8), generator=generator, dtype=torch.uint8)
        for image, c in zip(images, targets, strict=True):
            image[:, 2 * c : 2 * c + 2] += 150
        return images, targets

    return ddcore.RealData.of("bars", split(20), split(10), flips=False)


@pytest.fixture
def benchmark(four):
    sets = {"train": Labelled(four.train), "test": Labelled(four.test)}
    return class_incremental_benchmark(sets, class_order=[0, 1, 2, 3], num_experiences=2)


def strategy(*plugins, metrics=(), epochs=2, kind=Naive, criterion=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = EvaluationPlugin(*metrics, loggers=[])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    return kind(
        model=model,
        optimizer=optimiser,
        criterion=criterion or nn.CrossEntropyLoss(),
        train_mb_size=8,
        train_epochs=epochs,
        eval_mb_size=40,
        plugins=list(plugins),
        evaluator=evaluator,
    )


def test_both_runners_have_the_same_buffer(four, benchmark, host):
    buffer = DistilledBuffer(8, "dm", classes=4, overrides=SMALL, flips=False, seed=3)
    plugin = ReplayPlugin(mem_size=8, storage_policy=buffer)
    learner = strategy(plugin)
    memory = Distilled(size=8, method="dm", classes=4, overrides=SMALL).build(four.card, 3, "cpu", host)
    for experience, own in zip(benchmark.train_stream, Stream.of(four, 2).experiences, strict=True):
        learner.train(experience)
        memory.learn(own.train)
        inputs, targets, tasks = (
            torch.stack([torch.as_tensor(v) for v in column]) for column in zip(*buffer.buffer, strict=True)
        )
        assert torch.allclose(inputs, memory.store.inputs, atol=1e-6)
        assert torch.equal(targets, memory.store.targets)
        assert not tasks.any()
        assert buffer.nbytes == memory.nbytes
    assert buffer.buffer.targets.uniques == {0, 1, 2, 3}
    assert len(buffer.buffer) == 8


def test_batches_hold_the_experience_and_the_buffer(benchmark):
    buffer = DistilledBuffer(4, "dm", classes=4, overrides=SMALL)
    learner = strategy(ReplayPlugin(mem_size=4, storage_policy=buffer), epochs=1)
    first, second = benchmark.train_stream
    learner.train(first)
    seen = []
    inner = learner._criterion
    learner._criterion = lambda outputs, targets: seen.append(targets.tolist()) or inner(outputs, targets)
    learner.train(second)
    assert all(set(batch) & {0, 1} and set(batch) & {2, 3} for batch in seen)


def test_avalanches_metrics_and_ours_are_the_same_numbers(benchmark):
    buffer = DistilledBuffer(8, "dm", classes=4, overrides=SMALL)
    metrics = (accuracy_metrics(experience=True, stream=True), forgetting_metrics(experience=True, stream=True))
    learner = strategy(ReplayPlugin(mem_size=8, storage_policy=buffer), metrics=metrics)
    matrix = []
    for experience in benchmark.train_stream:
        learner.train(experience)
        theirs = learner.eval(benchmark.test_stream)
        row = []
        for test in benchmark.test_stream:
            inputs, targets = items(test)
            with torch.no_grad():
                row.append(float((learner.model.eval()(inputs).argmax(1) == targets).double().mean()))
        matrix.append(row)
        for j, accuracy in enumerate(row):
            told = theirs[f"Top1_Acc_Exp/eval_phase/test_stream/Exp{j:03}"]
            assert accuracy == pytest.approx(told, abs=1e-6)
    assert average_accuracy(matrix) == pytest.approx(theirs["Top1_Acc_Stream/eval_phase/test_stream"], abs=1e-6)
    assert -backward_transfer(matrix) == pytest.approx(theirs["StreamForgetting/eval_phase/test_stream"], abs=1e-6)


def test_gdumb_begins_anew_and_sees_the_buffer_alone(benchmark):
    buffer = DistilledBuffer(8, "dm", classes=4, overrides={**SMALL, "iterations": 40})
    learner = strategy(DistilledGDumb(buffer), epochs=60)
    start = copy.deepcopy(learner.model.state_dict())
    inner, seen = learner._criterion, []

    def criterion(outputs, targets):
        weights = copy.deepcopy(learner.model.state_dict())
        seen.append((sorted(targets.tolist()), all(torch.equal(v, start[k]) for k, v in weights.items())))
        return inner(outputs, targets)

    learner._criterion = criterion
    for classes, experience in zip(([0, 0, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3]), benchmark.train_stream, strict=True):
        seen.clear()
        learner.train(experience)
        assert [batch for batch, _ in seen] == [classes] * 60
        assert [anew for _, anew in seen] == [True] + [False] * 59
    test = [items(e) for e in benchmark.test_stream]
    right = [float((learner.model.eval()(x).argmax(1) == y).float().mean()) for x, y in test]
    assert min(right) > 0.8, "what was condensed first is not forgotten"


def test_a_recipe_stands_for_its_name_and_the_buffer_shrinks(benchmark, host):
    fixed = {**SMALL, "update.lr.inputs": 1.0}
    recipe = host.recipe("dm", ipc=7, overrides=fixed)
    by_value, by_name = DistilledBuffer(8, recipe), DistilledBuffer(8, "dm", overrides=fixed)
    for buffer in (by_value, by_name):
        buffer.post_adapt(None, benchmark.train_stream[0])
        assert len(buffer.buffer) == 8
    assert torch.equal(by_value.memory.store.inputs, by_name.memory.store.inputs)
    before = by_name.memory.store.inputs
    by_name.resize(None, 4)
    assert torch.equal(by_name.memory.store.inputs, before[[0, 1, 4, 5]])
    assert list(by_name.buffer.targets) == [0, 0, 1, 1]
    assert by_name.nbytes == 4 * 65 + 8
    by_name.post_adapt(None, benchmark.train_stream[1])
    assert len(by_name.buffer) == 4


def test_real_items_are_taken_under_evaluation_transforms(four):
    sets = (Labelled(four.train), Labelled(four.test))
    bench = nc_benchmark(
        *sets,
        n_experiences=2,
        task_labels=False,
        shuffle=False,
        train_transform=lambda x: x * 0 + 9,
        eval_transform=lambda x: x + 5,
    )
    inputs, targets = items(bench.train_stream[0])
    assert torch.allclose(inputs[:20], four.train.take(torch.arange(20)).inputs + 5)
    assert targets.tolist() == [0] * 20 + [1] * 20
    buffer = DistilledBuffer(4, "random", classes=4)
    buffer.post_adapt(None, bench.train_stream[0])
    assert float(buffer.buffer[0][0].min()) >= 5 - 1e-3, "and stored as networks take them"
    assert float(buffer.buffer[0][0].max()) <= 6 + 1e-3


def test_the_warnings_filter_is_left_as_found(benchmark):
    buffer = DistilledBuffer(4, "dm", classes=4, overrides=SMALL)
    learner = strategy(ReplayPlugin(mem_size=4, storage_policy=buffer))
    found = list(warnings.filters)
    for experience in benchmark.train_stream:
        learner.train(experience)
    assert warnings.filters == found


def test_a_buffer_smaller_than_the_classes_is_refused(benchmark):
    with pytest.raises(RecipeRefused, match="memory of 3 images cannot hold one of each of 4 classes"):
        DistilledBuffer(3, "dm", classes=4, overrides=SMALL).post_adapt(None, benchmark.train_stream[0])
    buffer = DistilledBuffer(3, "dm", overrides=SMALL)
    buffer.post_adapt(None, benchmark.train_stream[0])
    with pytest.raises(RecipeRefused, match="memory of 3 images cannot hold one of each of 4 classes"):
        buffer.post_adapt(None, benchmark.train_stream[1])
    with pytest.raises(RecipeRefused, match="memory of 1 images cannot hold one of each of 2"):
        buffer.resize(None, 1)


class Exp:
    """An experience with any data set."""

    current_experience = 0

    def __init__(self, dataset):
        self.dataset = dataset


def test_an_experience_without_items_is_refused(benchmark):
    empty = benchmark.train_stream[0].dataset.subset([])
    with pytest.raises(RecipeRefused, match="Experience 0 has no items"):
        DistilledBuffer(4).post_adapt(None, Exp(empty))


@pytest.mark.parametrize(
    ("transform", "kind"), [(lambda x: x.numpy(), "ndarray"), (lambda x: x.double(), "torch.float64")]
)
def test_items_that_are_no_float_tensors_are_refused(four, transform, kind):
    sets = (Labelled(four.train), Labelled(four.test))
    bench = nc_benchmark(*sets, n_experiences=2, task_labels=False, eval_transform=transform)
    with pytest.raises(RecipeRefused, match=rf"items are {kind} .*eval_transform that makes float32 tensors"):
        DistilledBuffer(4).post_adapt(None, bench.train_stream[0])


def test_task_labels_are_refused(four):
    bench = nc_benchmark(Labelled(four.train), Labelled(four.test), n_experiences=2, task_labels=True, shuffle=False)
    buffer = DistilledBuffer(4, overrides=SMALL)
    buffer.post_adapt(None, bench.train_stream[0])
    with pytest.raises(RecipeRefused, match=r"task labels \(1 in experience 1\).*task_labels=False"):
        buffer.post_adapt(None, bench.train_stream[1])


def test_items_of_another_layout_are_refused(benchmark):
    bare = AvalancheDataset([TensorDataset(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))])
    with pytest.raises(RecipeRefused, match=r"have 2 entries; a distilled buffer makes three"):
        DistilledBuffer(4).post_adapt(None, Exp(bare))


# --- labels that are vectors ------------------------------------------------------------------------------


class SoftNaive(SoftCriterion, Naive):
    pass


def learned(host, method="dm", **fields):
    """``method`` with labels that start as its classes and are then moved, so that they are no classes."""
    recipe = host.recipe(method, overrides={"iterations": 3, "network.width": 4, "network.depth": 2})
    if method == "dm":
        recipe = replace(
            recipe,
            labels=ddcore.plugin.Soft(ddcore.Fit(steps=2)),
            objective=ddcore.plugin.Bptt(steps=2, lr=0.1, real=8),
        )
        recipe = replace(recipe, update=replace(recipe.update, lr={"inputs": 0.1, "labels": 0.1}))
    return replace(recipe, **fields)


def vectors_of(four, route):
    make = OneHot if route == "vectors" else with_soft
    sets = {"train": make(Labelled(four.train), 4), "test": make(Labelled(four.test), 4)}
    return class_incremental_benchmark(sets, class_order=[0, 1, 2, 3], num_experiences=2)


@pytest.mark.parametrize("route", ["vectors", "attribute"])
@pytest.mark.parametrize("method", ["dm", "frepo", "datm"])
def test_learned_labels_stand_in_one_batch_with_the_benchmarks(four, host, route, method):
    recipe = learned(host, method)
    if method == "datm":
        recipe = host.recipe(
            "datm",
            overrides={
                "iterations": 2,
                "network": {"name": "mlp", "width": 4},
                "policy.experts": 1,
                "policy.fit.batch": 20,
                "policy.span": 1,
            },
        )
    buffer = DistilledBuffer(8, recipe, classes=4, flips=False)
    learner = strategy(
        ReplayPlugin(mem_size=8, storage_policy=buffer),
        metrics=[accuracy_metrics(stream=True)],
        epochs=8,
        kind=Naive if route == "vectors" else SoftNaive,
        criterion=buffer.criterion,
    )
    seen, inner = [], learner._criterion
    learner._criterion = lambda outputs, targets: seen.append(targets) or inner(outputs, targets)
    bench = vectors_of(four, route)
    for experience in bench.train_stream:
        seen.clear()
        learner.train(experience)
    assert all(batch.shape[1:] == (4,) for batch in seen), "what is trained on are vectors"
    kept = buffer.memory.vectors
    assert kept.shape == (8, 4)
    if method == "frepo":
        assert kept.argmax(1).tolist() == buffer.memory.store.targets.tolist(), "rows are of their items"
    assert not kept[:4, 2:].any(), "nothing is said of classes to come"
    assert len(kept.unique()) > 2, "and they are not one-hot"
    first = [row for batch in seen for row in batch if row[:2].any() and not row[2:].any()]
    assert first
    assert all(torch.isclose(kept[:4], row).all(1).any() for row in first), "the buffer's own"
    assert list(buffer.buffer.targets) == buffer.memory.store.targets.tolist()
    before = buffer.nbytes
    accuracy = learner.eval(bench.test_stream)["Top1_Acc_Stream/eval_phase/test_stream"]
    assert 0 <= accuracy <= 1
    buffer.resize(learner, 4)
    assert len(buffer.buffer) == 4
    assert before - buffer.nbytes == 4 * (64 + 2), "an image and two shares"


@pytest.mark.parametrize("route", ["vectors", "attribute"])
def test_gdumb_learns_from_learned_labels(four, host, route):
    recipe = learned(host, "frepo", iterations=30)
    buffer = DistilledBuffer(8, recipe, classes=4, flips=False)
    kind = Naive if route == "vectors" else SoftNaive
    learner = strategy(DistilledGDumb(buffer), epochs=60, kind=kind, criterion=buffer.criterion)
    for experience in vectors_of(four, route).train_stream:
        learner.train(experience)
    right = [
        float(
            (
                learner.model.eval()(torch.stack([x[0] for x in e.dataset])).argmax(1)
                == torch.tensor(list(e.dataset.targets))
            )
            .float()
            .mean()
        )
        for e in vectors_of(four, route).test_stream
    ]
    assert min(right) > 0.8


def test_both_routes_are_the_same_training(four, host):
    weights = []
    for route, kind in (("vectors", Naive), ("attribute", SoftNaive)):
        buffer = DistilledBuffer(8, learned(host), classes=4)
        learner = strategy(ReplayPlugin(mem_size=8, storage_policy=buffer), kind=kind, criterion=buffer.criterion)
        for experience in vectors_of(four, route).train_stream:
            torch.manual_seed(1)
            learner.train(experience)
        weights.append(torch.cat([p.detach().flatten() for p in learner.model.parameters()]))
    assert torch.allclose(*weights, atol=1e-6)


def test_hard_labels_and_other_memories_serve_benchmarks_with_vectors_too(four):
    for what in ("dm", Olcgm(size=1, outer=1, network=ddcore.MLP(width=4)), Balanced(nbytes=1000)):
        buffer = DistilledBuffer(4, what, overrides=SMALL if what == "dm" else None)
        for route, columns in (("vectors", 3), ("attribute", 4)):
            buffer.memory = None
            for experience in vectors_of(four, route).train_stream:
                buffer.post_adapt(None, experience)
            assert len(buffer.buffer[0]) == columns
            rows = torch.stack([item[columns - 2] for item in buffer.buffer])
            assert torch.equal(rows, torch.eye(4))


def test_labels_for_squared_errors_want_their_criterion(four, host):
    buffer = DistilledBuffer(8, learned(host, "frepo"), classes=4)
    learner = strategy(ReplayPlugin(mem_size=8, storage_policy=buffer))
    with pytest.raises(RecipeRefused, match="made for squared errors.*criterion=buffer.criterion"):
        learner.train(vectors_of(four, "vectors").train_stream[0])
    outputs, targets = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    slowly = sum(((row - torch.eye(3)[c]) ** 2).sum() / 2 for row, c in zip(outputs, targets, strict=True)) / 5
    assert float(buffer.criterion(outputs, targets)) == pytest.approx(float(slowly), rel=1e-5)
    assert float(buffer.criterion(outputs, torch.eye(3)[targets])) == pytest.approx(float(slowly), rel=1e-5)


def test_learned_labels_are_refused_where_the_benchmarks_are_classes(benchmark, host):
    with pytest.raises(RecipeRefused, match="labels that are not classes.*OneHot or with_soft"):
        DistilledBuffer(4, learned(host)).post_adapt(None, benchmark.train_stream[0])


# --- other streams and memories ---------------------------------------------------------------------------


def test_classes_may_come_again(four):
    """An instance-incremental benchmark: every experience has items of every class."""
    bench = ni_benchmark(Labelled(four.train), Labelled(four.test), n_experiences=3, balance_experiences=True, seed=0)
    buffer = DistilledBuffer(8, "dm", classes=4, flips=False, overrides={**SMALL, "iterations": 20})
    learner = strategy(ReplayPlugin(mem_size=8, storage_policy=buffer))
    for experience in bench.train_stream:
        learner.train(experience)
        assert list(buffer.buffer.targets) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert buffer.nbytes == 8 * 65 + 8


def test_olcgm_stands_in_an_online_stream(four):
    """Experiences of ten items, as ``split_online_stream`` makes them."""
    bench = class_incremental_benchmark(
        {"train": Labelled(four.train), "test": Labelled(four.test)}, class_order=[0, 1, 2, 3], num_experiences=2
    )
    plan = Olcgm(size=1, outer=1, inner=1, network=ddcore.MLP(width=4))
    buffer = DistilledBuffer(8, plan)
    learner = strategy(ReplayPlugin(mem_size=8, storage_policy=buffer), epochs=1)
    for experience in split_online_stream(bench.train_stream, experience_size=10):
        learner.train(experience)
    assert list(buffer.buffer.targets) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert buffer.nbytes == 8 * (4 * 64 + 1), "floats"
    buffer.resize(learner, 4)
    assert list(buffer.buffer.targets) == [0, 1, 2, 3]
    with pytest.raises(RecipeRefused, match="olcgm keeps the benchmark's floats: give max_size alone"):
        DistilledBuffer(8, plan, nbytes=1000)
    with pytest.raises(RecipeRefused, match="classes and overrides are for recipes, and olcgm is a memory"):
        DistilledBuffer(8, plan, classes=4)


def test_methods_that_hold_images_in_a_range_are_told_that_it_is_not_known(benchmark):
    tiny = {"iterations": 1, "policy.fit.steps": 1, "policy.rounds": 1, "network.width": 4, "network.depth": 2}
    with pytest.raises(RecipeRefused, match="update.clamp = false"):
        DistilledBuffer(4, "idc", classes=4, overrides=tiny).post_adapt(None, benchmark.train_stream[0])
    buffer = DistilledBuffer(4, "idc", classes=4, overrides={**tiny, "update.clamp": False})
    buffer.post_adapt(None, benchmark.train_stream[0])
    assert len(buffer.buffer) == 2 * 4, "an image is four items"
    assert buffer.nbytes == 2 * 65 + 8


def test_the_tighter_of_two_budgets_holds(benchmark):
    buffer = DistilledBuffer(12, "dm", nbytes=8 * 65 + 4 * 8, classes=4, overrides=SMALL)
    for experience in benchmark.train_stream:
        buffer.post_adapt(None, experience)
    assert len(buffer.buffer) == 8
    assert buffer.nbytes == 8 * 65 + 2 * 8


COUNTS = {0: 20, 1: 1, 2: 2, 3: 20}
MEMORIES = {
    **{name: (name, SMALL) for name in ("dm", "dc", "dm_bases")},
    "random": ("random", {}),
    "herding": ("herding", {"synthetic.fit.steps": 2, "network.width": 4}),
    "ccmcl": ("ccmcl", {"iterations": 2, "network.width": 4, "objective.real": 8}),
    "recondensed": ("dm", SMALL),
    **{plan.part_name(): (plan(size=12), {}) for plan in (Balanced, Reservoir)},
    "olcgm": (Olcgm(size=12, outer=1, inner=1), {}),
}


@pytest.mark.parametrize("name", MEMORIES)
def test_a_rare_class_has_as_many_images_as_there_are(benchmark, name):
    """Class 1 has one item, class 2 two; class 1 comes again alone."""
    plan, overrides = MEMORIES[name]
    given = {} if isinstance(plan, Bounded) else {"overrides": overrides, "classes": 4}
    if name == "recondensed":
        given = {"overrides": overrides, "on_resize": "recondense"}
    buffer = DistilledBuffer(12, plan, **given)
    for number, classes in ((0, (0, 1)), (1, (2, 3)), (0, (1,))):
        whole = benchmark.train_stream[number].dataset
        targets = torch.tensor([int(target) for target in whole.targets])
        rows = [i for c in classes for i in (targets == c).nonzero().flatten()[: COUNTS[c]].tolist()]
        buffer.post_adapt(None, Exp(whole.subset(rows)))
        held = buffer.memory.store.counts
        assert len(buffer.buffer) == sum(held) and (not isinstance(plan, Bounded) or sum(held) <= 12)
        assert isinstance(plan, Reservoir) or all(held[c] for c in classes)
    if not isinstance(plan, Reservoir | Olcgm | Balanced) and name != "dm_bases":
        assert held[2] == 2
    assert buffer.nbytes > 0


def test_a_recipe_that_cannot_serve_names_the_classes_of_the_benchmark(benchmark):
    buffer = DistilledBuffer(8, "haba", overrides={"synthetic.width": 50}, classes=4)
    with pytest.raises(
        RecipeRefused, match="haba cannot make 2 images of each of the classes 2, 3, their share of the memory: "
    ):
        buffer.post_adapt(None, benchmark.train_stream[1])
