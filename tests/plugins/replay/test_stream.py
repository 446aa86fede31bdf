"""Streams, memories, metrics and the runner, without a host library."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from ddcore_replay import (
    Balanced,
    Course,
    Distilled,
    Everything,
    Nothing,
    Reservoir,
    Stream,
    Training,
    average_accuracy,
    backward_transfer,
    forgetting,
    go,
)
from ddcore_replay.course import moments
from ddcore_replay.distilled import in_bytes, shares
from ddcore_replay.stream import joined, present, taken

import ddcore
from ddcore import Protocol, RecipeRefused

SMALL = {"iterations": 2, "network.width": 4, "network.depth": 2, "objective.real": 8}
SHORT = Training(
    network=ddcore.MLP(width=32),
    rehearsal=Protocol(steps=80, lr=(1e-2,), batch=16, augment=None, repeats=1),
    replayed=6,
    alone=Protocol(steps=40, lr=(5e-3,), augment=None, repeats=1),
)


def six():
    """Six classes of 1x8x8: a bar at the class's own place, in noise."""
    generator = torch.Generator().manual_seed(0)

    def split(n):
        targets = torch.arange(6).repeat(n)
        images = torch.randint(0, 90, (6 * n, 1, 8, 8), generator=generator, dtype=torch.uint8)
        for image, c in zip(images, targets, strict=True):
            image[:, c : c + 2] += 150
        return images, targets

    return ddcore.RealData.of("bars", split(20), split(10), flips=False)


@pytest.fixture(scope="module")
def data():
    return six()


def built(plan, data, host, seed=0):
    return plan.build(data.card, seed, "cpu", host)


# --- streams ----------------------------------------------------------------------------------------------


def test_a_stream_holds_every_item_once_in_its_order(data):
    stream = Stream.of(data, 2, [5, 0, 1, 4, 2, 3])
    assert [e.classes for e in stream.experiences] == [(5, 0), (1, 4), (2, 3)]
    for e in stream.experiences:
        assert set(e.train.targets.tolist()) == set(e.test.targets.tolist()) == set(e.classes)
    assert torch.equal(torch.cat([e.train.order for e in stream.experiences]).sort().values, torch.arange(120))


def test_a_stream_that_cannot_be_is_refused(data):
    with pytest.raises(RecipeRefused, match="6 classes of bars cannot be cut into experiences of 4"):
        Stream.of(data, 4)
    with pytest.raises(RecipeRefused, match="does not name each of 6 classes once"):
        Stream.of(data, 2, [0, 1, 2, 3, 4, 4])


def test_an_experience_alone_has_its_own_numbers_and_the_same_items(data):
    experience = Stream.of(data, 2, [5, 1, 0, 2, 3, 4]).experiences[0]
    classes = present(experience.train)
    alone = ddcore.RealData.alone(data.card, experience.train, classes)
    assert classes == [1, 5]
    assert alone.card.classes == 2
    assert alone.card.counts == (20, 20)
    assert torch.equal(alone.train.inputs, experience.train.inputs)
    assert torch.equal(torch.tensor(classes)[alone.train.targets], experience.train.targets)


# --- metrics ----------------------------------------------------------------------------------------------


def test_metrics_are_their_formulas():
    """By hand, with and without what is said of experiences to come."""
    matrix = [[90.0], [60.0, 50.0], [70.0, 40.0, 80.0]]
    assert average_accuracy(matrix) == pytest.approx((70 + 40 + 80) / 3)
    assert average_accuracy(matrix, 0) == 90
    assert average_accuracy(matrix, 1) == pytest.approx(55)
    assert forgetting(matrix) == pytest.approx(((90 - 70) + (50 - 40)) / 2)
    assert backward_transfer(matrix) == pytest.approx(((70 - 90) + (40 - 50)) / 2)
    rising = [[50.0, 0.0, 3.0], [70.0, 60.0, 1.0], [60.0, 60.0, 60.0]]
    assert forgetting(rising) == pytest.approx(((70 - 60) + 0) / 2)
    assert backward_transfer(rising) == pytest.approx(((60 - 50) + 0) / 2)
    assert forgetting([[80.0]]) == backward_transfer([[80.0]]) == 0


def test_moments_are_those_of_all_pixels(data):
    found, x = moments(data.train), data.train.inputs.double() / 255
    assert float(found["mean"]) == pytest.approx(float(x.mean()), rel=1e-6)
    assert float(found["std"]) == pytest.approx(float(x.std(unbiased=False)), rel=1e-5)


# --- memories ---------------------------------------------------------------------------------------------


def test_a_reservoir_holds_each_item_so_far_alike_often(data, host):
    early = Counter()
    for seed in range(200):
        memory = built(Reservoir(size=12), data, host, seed)
        for experience in Stream.of(data, 2).experiences:
            memory.learn(experience.train)
            assert len(memory.store) == 12
        early.update((memory.store.targets // 2).tolist())
    assert all(early[e] == pytest.approx(800, abs=110) for e in range(3)), early
    assert memory.nbytes == 12 * 65


@pytest.mark.parametrize("plan", [Reservoir(size=12), Balanced(size=12)])
def test_a_sample_is_of_the_least_numbers_of_all_so_far(data, host, plan):
    """Each item keeps its number, so that one pass over all items would keep the same."""
    memory, twin = built(plan, data, host), ddcore.Streams(0)[plan.part_name()]
    parts = torch.randperm(120, generator=torch.Generator().manual_seed(1)).chunk(5)
    stores = [taken(data.train, part) for part in parts]
    numbers = torch.cat([torch.rand(len(store), generator=twin, dtype=torch.float64) for store in stores])
    for store in stores:
        memory.learn(store)
    inputs, targets = (torch.cat([getattr(store, name) for store in stores]) for name in ("inputs", "targets"))
    if isinstance(plan, Reservoir):
        expected = numbers.argsort()[:12]
    else:
        expected = torch.cat([numbers.masked_fill(targets != c, 2).argsort()[:2] for c in range(6)])
    assert {x.numpy().tobytes() for x in memory.store.inputs} == {x.numpy().tobytes() for x in inputs[expected]}
    memory.resize(6)
    assert len(memory.store) == 6


def test_a_balanced_memory_shares_its_room(data, host):
    memory, sizes = built(Balanced(nbytes=10 * 65 + 64), data, host), []
    for experience in Stream.of(data, 2).experiences:
        memory.learn(experience.train)
        sizes.append([count for count in memory.store.counts if count])
    assert sizes == [[5, 5], [3, 3, 2, 2], [2, 2, 2, 2, 1, 1]]


def test_all_and_nothing(data, host):
    everything, nothing = built(Everything(), data, host), built(Nothing(), data, host)
    for memory in (everything, nothing):
        for experience in Stream.of(data, 2).experiences:
            memory.learn(experience.train)
    assert torch.equal(everything.store.inputs, data.train.inputs)
    assert (len(nothing.store), nothing.nbytes) == (0, 0)


@pytest.mark.parametrize("said", [{}, {"size": 3, "nbytes": 0}, {"size": 0}, {"nbytes": 0}])
def test_a_budget_that_is_none_is_refused(said):
    with pytest.raises(RecipeRefused, match="give size, in images, or nbytes, or both|= 0: it must be at least 1"):
        Reservoir(**said)


def test_levels_are_at_most_half_a_step_off():
    values = torch.linspace(-1.7, 2.3, 1001)
    back = in_bytes(values)
    assert len(back.unique()) == 256
    assert float((back - values).abs().max()) <= 4 / 255 / 2 + 1e-6
    assert torch.equal(in_bytes(torch.zeros(3)), torch.zeros(3))


def test_a_distilled_memory_holds_ipc_images_of_each_class_under_its_label(data, host):
    memory = built(Distilled(size=13, method="dm", classes=6, overrides=SMALL), data, host)
    for i, experience in enumerate(Stream.of(data, 2, [5, 1, 0, 2, 3, 4]).experiences):
        memory.learn(experience.train)
        assert memory.nbytes == (i + 1) * (4 * 65 + 8)
    assert memory.store.counts == (2,) * 6
    for c in range(6):
        image = memory.store.inputs[memory.store.targets == c].mean(0)[0]
        assert image.sum(1).topk(2).indices.sort().values.tolist() == [c, c + 1], "its class's bar"
    whole = memory.sets[0].store.inputs
    assert len(whole.unique()) <= 256


def test_a_byte_budget_counts_what_is_stored(data, host):
    told = {"method": "dm", "classes": 6, "overrides": SMALL}
    memory = built(Distilled(nbytes=6 * 65 + 6 * 8, **told), data, host)
    for experience in Stream.of(data, 2).experiences:
        memory.learn(experience.train)
    assert memory.nbytes == 6 * 65 + 3 * 8
    first = Stream.of(data, 2).experiences[0].train
    mixed = {**told, "method": "ccmcl", "classes": 2, "overrides": {"iterations": 1, "network.depth": 2}}
    weighty = built(Distilled(nbytes=4 * 65 + 2 * 8, **mixed), data, host)
    with pytest.raises(
        RecipeRefused, match="What ccmcl makes of 2 images per class takes 290 bytes, and 276 .* are left"
    ):
        weighty.learn(first)
    both = built(Distilled(size=4, nbytes=3 * 65 + 2 * 8, **{**told, "classes": 2}), data, host)
    both.learn(first)
    assert (both.room, both.nbytes) == (1, 2 * 65 + 8), "the tighter of the two"
    with pytest.raises(RecipeRefused, match="memory of 5 images cannot hold one of each of 6"):
        built(Distilled(nbytes=6 * 65 + 6 * 8 - 1, **told), data, host)


@pytest.mark.parametrize(
    "plan", [ddcore.plugin.Vectors(scale=3.0), ddcore.plugin.Vectors(scale=3.0, centred=True, loss="squared")]
)
def test_learned_labels_are_told_in_units_of_a_class(data, plan):
    labels = plan.build(data.card, ddcore.Pixels(1).build(data.card))
    assert torch.allclose(shares(labels, labels.vectors.detach()), torch.eye(6), atol=1e-6)
    moved = labels.vectors.detach() + 1.5 * torch.eye(6)
    assert torch.allclose(shares(labels, moved), 1.5 * torch.eye(6), atol=1e-6)
    assert shares(labels, torch.zeros(2, 1)).tolist() == [[1], [1]], "of one class there is but one label"


@pytest.mark.parametrize("method", ["idc", "kfs", "herding", "ccmcl"])
def test_other_carriers_are_stored_at_a_byte_a_value_too(data, host, method):
    overrides = {"iterations": 1} if method != "herding" else {"synthetic.fit.steps": 2}
    if method == "ccmcl":
        overrides |= {"network.width": 4, "network.depth": 2}
    if method == "kfs":
        overrides |= {"synthetic.decoders": 2, "synthetic.channels": 2, "synthetic.width": 3, "network.width": 4}
    if method == "idc":
        overrides |= {"policy.fit.steps": 1, "policy.rounds": 1, "network.width": 4, "network.depth": 2}
    memory = built(Distilled(size=24, method=method, classes=6, overrides=overrides), data, host)
    memory.learn(Stream.of(data, 2).experiences[0].train)
    items = len(memory.store)
    assert items == {"idc": 4 * 8, "kfs": items, "herding": 8, "ccmcl": 16}[method]
    mixing = 2 * 8 * 4 if method == "ccmcl" else 0
    assert memory.nbytes <= 8 * 65 + 8 * 10 + mixing, "what is made of one thing has its label"
    assert set(memory.store.targets.tolist()) == {0, 1}


def test_room_is_shared_anew_as_classes_come_by_dropping_or_condensing(data, host):
    first, second, _ = Stream.of(data, 2).experiences
    for on_resize in ("truncate", "recondense"):
        memory = built(Distilled(size=8, method="dm", overrides=SMALL, on_resize=on_resize), data, host)
        memory.learn(first.train)
        before = memory.store
        assert before.counts == (4, 4, 0, 0, 0, 0)
        memory.learn(second.train)
        assert memory.store.counts == (2, 2, 2, 2, 0, 0)
        assert memory.nbytes == 2 * (4 * 65 + 8)
        kept = memory.store.inputs[:4]
        assert torch.equal(kept, before.inputs[[0, 1, 4, 5]]) is (on_resize == "truncate")
        memory.resize(4)
        assert memory.store.counts == (1, 1, 1, 1, 0, 0)
        memory.resize(40)
        assert memory.store.counts == (1, 1, 1, 1, 0, 0), "what is gone does not come back"


def test_classes_that_come_again_are_condensed_with_what_is_stored_of_them(data, host):
    """A method that keeps real items shows which were there to be chosen: the stored, as often as they stand for."""
    experiences = [e.train for e in Stream.of(data, 2).experiences]
    again = joined([taken(experiences[0], torch.arange(20, 40)), taken(experiences[1], torch.arange(20))])
    memory = built(Distilled(size=12, method="random", classes=6), data, host)
    seen, inner = [], memory._condensed
    memory._condensed = lambda store, ipc: seen.append(store) or inner(store, ipc)
    memory.learn(experiences[0])
    memory.learn(experiences[2])
    first, other = (kept.store for kept in memory.sets)
    memory.learn(again)
    assert memory.store.counts == (2,) * 3 + (0, 2, 2), "room for two of each"
    assert torch.equal(memory.sets[0].store.inputs, other.inputs), "what has no such class stays"
    met = seen[-1]
    assert met.counts == (20, 40, 20, 0, 0, 0), "each of two images stands for ten"
    for c in (0, 1):
        held = met.take((met.targets == c).nonzero().flatten()).inputs
        stored = first.inputs[first.targets == c]
        assert [int((held == image).flatten(1).all(1).sum()) for image in stored] == [10, 10]
    assert memory.nbytes == sum(len(kept.store) * 65 for kept in memory.sets)


def test_a_class_that_comes_again_and_again_is_one_condensing_over_all_of_it(data, host):
    memory = built(Distilled(size=6, method="dm", classes=6, overrides=SMALL), data, host)
    whole = data.train
    for part in torch.randperm(len(whole), generator=torch.Generator().manual_seed(0)).chunk(3):
        memory.learn(taken(whole, part))
        assert memory.store.counts == (1,) * 6
    assert len(memory.sets) == 1
    for c in range(6):
        assert memory.store.inputs[c, 0].sum(1).topk(2).indices.sort().values.tolist() == [c, c + 1]


def test_what_a_distilled_memory_cannot_serve_is_refused(data, host):
    first, second, third = (e.train for e in Stream.of(data, 2).experiences)
    memory = built(Distilled(size=6, method="dm", classes=4, overrides=SMALL), data, host)
    with pytest.raises(RecipeRefused, match="no items"):
        memory.learn(taken(first, torch.zeros(0, dtype=torch.long)))
    memory.learn(first)
    with pytest.raises(RecipeRefused, match="6 classes have come, and the memory was made for 4"):
        memory.learn(joined([second, third]))
    with pytest.raises(RecipeRefused, match="memory of 3 images cannot hold one of each of 4"):
        memory.resize(3)
    parts = built(Distilled(size=8, method="idc", overrides={"iterations": 1, "policy.fit.steps": 1}), data, host)
    parts.learn(first)
    with pytest.raises(RecipeRefused, match="shared parts, so none can be dropped"):
        parts.learn(second)


# --- the runner -------------------------------------------------------------------------------------------


def test_a_memory_keeps_what_going_on_forgets(digits, host):
    stream, told = Stream.of(digits, 5), []
    naive = go(stream, built(Nothing(), digits, host), SHORT, progress=lambda *said: told.append(said))["rehearse"]
    assert told[-1] == ("going through the stream", 2, 2)
    assert naive.matrix[1][1] > 80
    assert naive.matrix[1][0] < 20
    memory = built(Reservoir(size=100), digits, host)
    courses = go(stream, memory, SHORT, ("rehearse", "scratch"))
    for course in courses.values():
        assert [len(row) for row in course.matrix] == [1, 2]
        assert average_accuracy(course.matrix) > average_accuracy(naive.matrix) + 20
        assert forgetting(course.matrix) < forgetting(naive.matrix) - 20
        assert (course.images, course.nbytes) == ([100] * 2, [100 * 257] * 2)
        assert len(course.condensing) == len(course.training) == 2
        assert min(course.training) > 0
    joint = go(stream, built(Everything(), digits, host), SHORT, ("scratch",))["scratch"]
    assert average_accuracy(joint.matrix) > 85


def test_the_same_seed_is_the_same_course_and_ways_do_not_meet(data, host):
    training = replace(SHORT, alone=replace(SHORT.alone, steps=4))

    def walked(seed, *ways):
        memory = built(Balanced(size=6), data, host, seed)
        return go(Stream.of(data, 3), memory, training, ways, seed=seed)

    both, alone, other = walked(0, "rehearse", "scratch"), walked(0, "scratch"), walked(1, "scratch")
    assert both["scratch"].matrix == alone["scratch"].matrix
    assert alone["scratch"].matrix != other["scratch"].matrix


def test_an_empty_course_is_empty():
    assert Course() == Course([], [], [], [], [])
    assert Course().matrix is not Course().matrix


@pytest.mark.parametrize("said", [{"replayed": 0}, {"rehearsal": Protocol(cutmix=0.5)}])
def test_training_that_cannot_be_is_refused(said):
    with pytest.raises(
        RecipeRefused, match="replayed = 0: it must be at least 1|rehearsal has neither cutmix nor a temperature"
    ):
        Training(**said)
