"""The buffer inside Avalanche: the stock plugin, GDumb, its metrics, and what cannot be served."""

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from ddcore_replay import Distilled, Stream, average_accuracy, backward_transfer
from ddcore_replay.avalanche import DistilledBuffer, DistilledGDumb, items
from torch import nn
from torch.utils.data import TensorDataset

import ddcore
from ddcore import RecipeRefused

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from avalanche.benchmarks import class_incremental_benchmark, nc_benchmark
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


def strategy(*plugins, metrics=(), epochs=2):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = EvaluationPlugin(*metrics, loggers=[])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    return Naive(
        model=model,
        optimizer=optimiser,
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
    recipe = host.recipe("dm", ipc=7, overrides=SMALL)
    by_value, by_name = DistilledBuffer(8, recipe), DistilledBuffer(8, "dm", overrides=SMALL)
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


def test_learned_labels_are_refused(benchmark, host):
    recipe = replace(host.recipe("dm", overrides=SMALL), labels=ddcore.Vectors())
    with pytest.raises(RecipeRefused, match="labels that are not classes"):
        DistilledBuffer(4, recipe).post_adapt(None, benchmark.train_stream[0])
