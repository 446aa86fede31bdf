"""Decoupled methods: teachers, the statistics they have seen, what they choose and how they label; fits that resume."""

import io
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import ddcore
from ddcore import BadArtefact, DistilledSet, Fit, Protocol, RecipeRefused
from ddcore.augment.siamese import Siamese
from ddcore.carriers.chosen import surest
from ddcore.evaluation.teaching import LiveTeacher, StoredCrops
from ddcore.evaluation.training import train
from ddcore.evaluation.training_set import Preprocessed
from ddcore.networks.convnet import ConvNet
from ddcore.networks.probe import batch_moments, convolved, moments
from ddcore.networks.resnet import ResNet18
from ddcore.objectives.batches import interleave_classes
from ddcore.objectives.statistics import ConvolutionMatch
from ddcore.optimisers import AdamW, Sgd
from ddcore.plugin import Crop, Curriculum, Taught, cropped
from ddcore.policies.early import Early
from ddcore.policies.experts import Experts
from ddcore.tensors import write_tensors
from ddcore.types import DataCard, Draw, Group

FIT = {"steps": 6, "batch": 20}


def double(values):
    return {name: value.double() for name, value in values.items()}


def seeded(number=0):
    return torch.Generator().manual_seed(number)


@pytest.fixture
def begun(host, small, tiny):
    """A run of a decoupled method, begun, with a short fit."""

    def begin(name="sre2l", ipc=2, overrides=None, **fields):
        way = "synthetic.fit" if name == "rded" else "policy.fit"
        said = {f"{way}.{field}": value for field, value in FIT.items()} | (overrides or {})
        arguments = {} if name == "rded" else {"iterations": 3}
        run = host.start(small(host.recipe(name, ipc=ipc, overrides=said, **arguments), **fields), tiny)
        run.start()
        return run

    return begin


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


# --- fits that resume ------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def left(host, recipe, data, at):
    """A run that was left at its pause number ``at``, and what was saved there."""
    kept = []

    def pause(run):
        kept.append(saved(run.state_dict()))
        if len(kept) == at:
            raise Killed

    run = host.start(recipe, data, on_pause=pause)
    with pytest.raises(Killed):
        run.run_until()
    return run, kept[-1]


@pytest.mark.parametrize("at", [1, 4, 6])
@pytest.mark.parametrize(
    "fit",
    [
        {},
        {"rho": 0.05, "gap": 0.3, "snapshots": 3, "augment": Siamese(), "cutmix": 0.5},
        {"curriculum": Curriculum(scored=2)},
    ],
)
def test_left_in_mid_fit_and_gone_on_with_equals_straight(host, small, tiny, fit, at):
    recipe = small(host.recipe("sre2l", ipc=2, iterations=3))
    recipe = replace(recipe, policy=ddcore.plugin.Teacher(Fit(**FIT, **fit)))
    straight = host.start(recipe, tiny)
    straight.run_until()
    first, state = left(host, recipe, tiny, at)
    assert (first.step, state["policy"]["training"]["fit"]["step"]) == (0, at)
    told = []
    second = host.start(recipe, tiny, progress=lambda what, done, of: told.append((what, done, of)))
    second.load_state_dict(state)
    second.run_until()
    assert [done for what, done, of in told if what == "training the teacher"] == list(range(at + 1, 7))
    for kind in ("params", "buffers"):
        mine, theirs = second.policy[kind], straight.policy[kind]
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    one, two = second.export(), straight.export()
    assert torch.equal(one.inputs, two.inputs)
    assert torch.equal(one.targets, two.targets)


@pytest.mark.parametrize(
    "policy",
    [
        Early(networks=2, fit=Fit(**FIT)),
        Experts(experts=2, fit=Fit(**FIT, snapshots=3), last=1, span=1, noise=0.1),
    ],
    ids=lambda policy: policy.part_name(),
)
@pytest.mark.parametrize("at", [2, 5, 9])
def test_networks_trained_on_the_way_are_left_in_mid_fit_and_gone_on_with(host, small, tiny, policy, at):
    method = "mtt" if isinstance(policy, Experts) else "dc"
    recipe = replace(small(host.recipe(method, ipc=1)), policy=policy, iterations=6)
    straight = host.start(recipe, tiny)
    straight.run_until()
    _, state = left(host, recipe, tiny, at)
    assert state["policy"]["training"]["fit"]["step"] == (at - 1) % FIT["steps"] + 1
    second = host.start(recipe, tiny)
    second.load_state_dict(state)
    second.run_until()
    assert torch.equal(second.export().inputs, straight.export().inputs)
    assert "training" not in second.policy


def test_the_time_of_a_fit_is_counted_where_it_is_left(host, small, tiny):
    seconds = []
    recipe = small(host.recipe("sre2l", iterations=1, overrides={"policy.fit.steps": 4}))
    run = host.start(recipe, tiny, on_pause=lambda run: seconds.append(run.seconds))
    run.run_until()
    assert len(seconds) == 4
    assert 0 < seconds[0] < seconds[1] < seconds[3] < run.seconds


# --- what a teacher has seen -----------------------------------------------------------------------------


def test_moments_are_those_of_each_batch_norms_input():
    card = DataCard("made", (2, 8, 8), 3, (4, 4, 4))
    network = ConvNet(width=3, depth=2, norm="batch").build(card)
    params, buffers = network.init(seeded())
    x = torch.randn(5, 2, 8, 8, generator=seeded(1), dtype=torch.float64)
    with torch.no_grad():
        draw = Draw(network, double(params), double(buffers))
        draw(torch.randn(9, 2, 8, 8, generator=seeded(2), dtype=torch.float64))  # moves the running statistics
        logits, layers = batch_moments(draw, x)
        assert torch.equal(logits, draw(x, training=False))
        slow = x
        for i, at in zip((0, 4), layers, strict=True):
            weight, bias = (draw.params[f"features.{i}.{kind}"] for kind in ("weight", "bias"))
            slow = F.conv2d(slow, weight, bias, padding=1)
            for c in range(3):
                values = slow[:, c].flatten().tolist()
                mean = sum(values) / len(values)
                assert float(at.mean[c]) == pytest.approx(mean, rel=1e-9)
                assert float(at.var[c]) == pytest.approx(sum((v - mean) ** 2 for v in values) / len(values), rel=1e-9)
            path = f"features.{i + 1}"
            assert torch.equal(at.running_mean, draw.buffers[f"{path}.mean"])
            assert torch.equal(at.running_var, draw.buffers[f"{path}.var"])
            root = (at.running_var + 1e-5).sqrt()
            slow = (slow - at.running_mean[:, None, None]) / root[:, None, None]
            slow = slow * draw.params[f"{path}.weight"][:, None, None] + draw.params[f"{path}.bias"][:, None, None]
            slow = F.avg_pool2d(slow.relu(), 2)


def test_layers_within_residual_blocks_are_seen_too():
    network = ResNet18(norm="batch").build(DataCard("made", (1, 8, 8), 3, (4, 4, 4)))
    params, buffers = network.init(seeded())
    _, layers = batch_moments(Draw(network, params, buffers), torch.randn(2, 1, 8, 8, generator=seeded(1)))
    assert len(layers) == sum(name.endswith(".mean") for name in buffers) == 20


def test_statistic_match_is_the_papers_loss_batch_by_batch(begun):
    run = begun(ipc=3, overrides={"objective.weight": 0.7, "objective.first": 10.0, "objective.batch": 4}, augment=None)
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    (loss,) = run.recipe.objective.accumulate(draw, run.synthetic, run.ctx)
    pixels = run.synthetic.carrier.pixels
    leaf = pixels.detach().double().requires_grad_()
    at = Draw(draw.network, double(draw.params), double(draw.buffers))
    slow = 0.0
    batches = [[0, 3, 6], [1, 4, 7], [2, 5, 8]]  # of each class one: nine items in three batches of at most four
    for rows in batches:
        logits, layers = batch_moments(at, leaf[rows])
        wrong = -sum(logits[i].log_softmax(0)[row // 3] for i, row in enumerate(rows)) / len(rows)
        slow = slow + wrong
        for number, layer in enumerate(layers):
            mean = sum((a - b) ** 2 for a, b in zip(layer.mean, layer.running_mean, strict=True)) ** 0.5
            var = sum((a - b) ** 2 for a, b in zip(layer.var, layer.running_var, strict=True)) ** 0.5
            slow = slow + 0.7 * (10.0 if number == 0 else 1.0) * (mean + var)
    (gradient,) = torch.autograd.grad(slow, leaf)
    assert loss == pytest.approx(float(slow.detach()), rel=1e-4)
    assert torch.allclose(pixels.grad.double(), gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max()))


def conv_inputs(draw, x):
    """The input of each of two convolutions of a ConvNet with BatchNorm, by its running statistics, written slowly."""
    first = F.conv2d(x, draw.params["features.0.weight"], draw.params["features.0.bias"], padding=1)
    mean, var = (draw.buffers[f"features.1.{kind}"][:, None, None] for kind in ("mean", "var"))
    weight, bias = (draw.params[f"features.1.{kind}"][:, None, None] for kind in ("weight", "bias"))
    second = F.avg_pool2d(((first - mean) / (var + 1e-5).sqrt() * weight + bias).relu(), 2)
    return [x, second]


def slow_statistics(x):
    """Mean and variance of x (n, c, h, w) at each channel, then in each cell of a grid of four by four."""
    side = x.shape[2] // 4
    channels = [x[:, c] for c in range(x.shape[1])]
    cells = [x[:, :, i : i + side, j : j + side] for i in range(0, 4 * side, side) for j in range(0, 4 * side, side)]
    return [
        (torch.stack([values.mean() for values in kind]), torch.stack([values.var(correction=0) for values in kind]))
        for kind in (channels, cells)
    ]


def slow_distance(draw, x, y):
    """|| m(x) - m(y) || + || v(x) - v(y) ||, summed over channels and cells of both convolutions."""
    return sum(
        (a - b).norm()
        for real, made in zip(conv_inputs(draw, x), conv_inputs(draw, y), strict=True)
        for pair in zip(slow_statistics(real), slow_statistics(made), strict=True)
        for a, b in zip(*pair, strict=True)
    )


@pytest.mark.parametrize("own", [0.0, 0.3, 1.0])
def test_convolution_match_is_the_papers_loss(begun, tiny, own):
    run = begun("gvbsm", ipc=2, overrides={"policy.networks": 1, "network.depth": 2}, augment=None)
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    (loss,) = ConvolutionMatch(weight=0.7, own=own, real=20).accumulate(draw, run.synthetic, run.ctx)
    at = Draw(draw.network, double(draw.params), double(draw.buffers))
    real = [
        run.gate.source.take(run.gate.source.store.draw(seeded(), (c,)), None, Group()).inputs.double()
        for c in range(3)
    ]
    leaf = run.synthetic.carrier.pixels.detach().double().requires_grad_()
    made = [leaf[2 * c : 2 * c + 2] for c in range(3)]
    each = sum(slow_distance(at, x, y) for x, y in zip(real, made, strict=True)) / 3
    slow = 0.7 * ((1 - own) * slow_distance(at, torch.cat(real), torch.cat(made)) + own * each)
    (gradient,) = torch.autograd.grad(slow, leaf)
    assert loss == pytest.approx(float(slow.detach()), rel=1e-4)
    found = run.synthetic.carrier.pixels.grad.double()
    assert torch.allclose(found, gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))


def test_convolution_match_of_each_class_does_not_depend_on_how_many_fit_in_memory(begun, tiny, monkeypatch):
    run = begun("gvbsm", ipc=2, overrides={"policy.networks": 1, "network.depth": 2}, augment=None)
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    held, found = run.rng.state_dict(), []
    for room in (100, 1):
        monkeypatch.setattr(type(run.ctx), "room", room)
        run.rng.load_state_dict(held)
        found += ConvolutionMatch(own=1.0, real=20).accumulate(draw, run.synthetic, run.ctx)
    assert found[1] == pytest.approx(found[0], rel=1e-4)


@pytest.mark.parametrize(
    ("norm", "sides"), [("batch", (8,)), ("batch", (6, 5)), ("batch", (4, 8, 8)), ("instance", (8, 8))]
)
def test_moments_tell_channels_and_cells_of_items_of_any_sides(norm, sides):
    kind = {1: "signal", 2: "image", 3: "video"}[len(sides)]
    network = ConvNet(width=3, depth=1, norm=norm).build(DataCard("made", (2, *sides), 3, (4, 4, 4), kind=kind))
    draw = convolved(Draw(network, *network.init(seeded())))
    x = torch.randn(5, 2, *sides, generator=seeded(1))
    with torch.no_grad():  # where layers may be computed together
        channels, cells = moments(draw, draw(x, features=True).mean(0, keepdim=True))
    assert torch.allclose(channels[1][0], x.transpose(0, 1).flatten(1).var(1, correction=0), atol=1e-5)
    assert [tuple(value.shape) for value in cells] == [(1, 4 ** len(sides))] * 2
    assert torch.equal(draw(x), Draw(network, draw.params, draw.buffers)(x))


def test_convolutions_within_residual_blocks_are_seen_too():
    network = ResNet18(norm="batch").build(DataCard("made", (1, 8, 8), 3, (4, 4, 4)))
    draw = convolved(Draw(network, *network.init(seeded())))
    answers = draw(torch.randn(2, 1, 8, 8, generator=seeded(1)), features=True)
    assert len([*moments(draw, answers)]) == 2 * 20
    assert draw.network.per_sample


def test_a_batch_is_learned_as_if_it_were_alone(begun):
    """Under Adam the pixels of one batch move the same whatever stands in the others."""
    moved = []
    for change in (0.0, 1.0):
        run = begun(ipc=2, overrides={"objective.batch": 3}, augment=None)
        with torch.no_grad():
            run.synthetic.carrier.pixels[[1, 3, 5]] += change
        run.run_until()
        moved.append(run.synthetic.everything()[0].detach())
    assert torch.equal(moved[0][[0, 2, 4]], moved[1][[0, 2, 4]])
    assert not torch.equal(moved[0][[1, 3, 5]], moved[1][[1, 3, 5]])


def test_classes_take_turns():
    assert interleave_classes(torch.tensor([0, 0, 0, 1, 1, 2])).tolist() == [0, 3, 5, 1, 4, 2]


def test_a_teacher_stands_still(begun):
    run = begun()
    run.update()
    kept = saved(run.policy)
    one = run.draw
    run.update()
    for kind in ("params", "buffers"):
        assert all(torch.equal(run.policy[kind][name], kept[kind][name]) for name in kept[kind])
    assert run.draw.params is one.params
    assert run.draw.age == 6


# --- crops -----------------------------------------------------------------------------------------------


def test_a_crop_brings_a_box_to_full_size():
    x = torch.randn(2, 3, 8, 8, generator=seeded())
    assert torch.allclose(cropped(torch.tensor([[1.0, 1, 0, 0]]))(x), x, atol=1e-6)
    quarter = cropped(torch.tensor([[0.5, 0.5, -0.5, -0.5], [-0.5, 0.5, -0.5, -0.5]]))(x)
    slow = F.interpolate(x[:, :, :5, :5], scale_factor=2, mode="bilinear")[:, :, :8, :8]
    assert torch.allclose(quarter[0], slow[0], atol=1e-5)
    assert torch.allclose(quarter[1], slow[1].flip(2), atol=1e-5)


def test_boxes_have_the_shares_and_ratios_that_were_asked_for():
    width, height, right, down = Crop(low=0.2, ratio=2.0).boxes(seeded(), 20_000).unbind(1)
    area = width.abs() * height
    assert float(area.max()) <= 1
    assert 0.2 * 0.99 < float(area.min()) < 0.21
    assert float((width < 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    uncut = (width.abs() < 1) & (height < 1)
    ratio = (width.abs() / height)[uncut]
    assert 0.5 * 0.999 < float(ratio.min()) < 0.52
    assert 1.95 < float(ratio.max()) < 2 * 1.001
    for place, side in ((right, width), (down, height)):
        assert float((place.abs() + side.abs()).max()) <= 1 + 1e-6
    assert float(Crop(flip=False).boxes(seeded(), 100)[:, 0].min()) > 0


def test_digits_are_not_mirrored(tiny):
    assert not Crop().fitted(tiny.card).flip
    assert Crop().fitted(replace(tiny.card, flips=True)).flip


def test_the_least_share_of_cda_falls_along_the_run(begun, monkeypatch):
    crop = Crop(low=0.2, first=1.0, until=0.5)
    assert [crop.at(share).low for share in (0, 0.25, 0.5, 1)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert Crop(low=0.3).at(0.5) == Crop(low=0.3)
    seen = []
    draw = Crop.draw
    monkeypatch.setattr(Crop, "draw", lambda self, *args: seen.append(self.low) or draw(self, *args))
    run = begun("cda", overrides={"augment.low": 0.4, "augment.until": 1.0})
    run.run_until()
    assert seen == pytest.approx([1.0, 0.4 + 0.6 * 0.75, 0.4 + 0.6 * 0.25])


@pytest.mark.parametrize("fields", [{"low": 0}, {"low": 1.2}, {"low": 0.5, "first": 0.4}, {"ratio": 0.5}, {"until": 0}])
def test_crops_that_show_nothing_are_refused(fields):
    *_, (name, value) = fields.items()
    with pytest.raises(RecipeRefused, match=rf"^{name} = {value}: it must be .* \(augment crop\)"):
        Crop(**fields)


# --- labels by a teacher ---------------------------------------------------------------------------------


def test_targets_are_what_the_teacher_says_of_the_last_images(begun):
    run = begun(overrides={"labels.temperature": 3.0})
    run.run_until()
    distilled = run.export()
    teacher = Draw(run.ctx.network, double(run.policy["params"]), double(run.policy["buffers"]))
    logits = teacher(distilled.inputs.double(), training=False)
    slow = torch.stack([row.exp() / row.exp().sum() for row in logits / 3.0])
    assert torch.allclose(distilled.targets.double(), slow, atol=1e-5)
    assert distilled.nbytes == 6 * (64 * 4 + 3 * 4)
    assert distilled.teaching == {}


def test_views_are_stored_with_what_the_teacher_says_of_them(begun, host, tiny, tmp_path):
    run = begun(overrides={"labels.crops": 4, "labels.crop.low": 0.3})
    run.run_until()
    distilled = run.export()
    assert distilled.nbytes == 6 * (64 * 4 + 3 * 4 + 4 * (3 * 4 + 4 * 4))
    again = DistilledSet.load(distilled.save(tmp_path / "set.safetensors"))
    boxes, logits = again.teaching["boxes"], again.teaching["logits"]
    assert (boxes.shape, logits.shape) == ((6, 4, 4), (6, 4, 3))
    teacher = Draw(run.ctx.network, run.policy["params"], run.policy["buffers"])
    for view in range(4):
        said = teacher(cropped(boxes[:, view])(again.inputs), training=False)
        assert torch.allclose(said, logits[:, view], atol=1e-5)
    assert torch.equal(run.export().teaching["boxes"], boxes), "the same views whenever S is handed out"
    teacher_targets = ddcore.plugin.teacher_targets_of(again, host.catalogue)
    rows = torch.tensor([5, 0, 0])
    seen, heard = teacher_targets(rows, again.inputs[rows], None, seeded(1))
    which = torch.randint(4, (3,), generator=seeded(1))
    assert torch.equal(seen, cropped(boxes[rows, which])(again.inputs[rows]))
    assert torch.equal(heard, logits[rows, which])


def test_a_teacher_may_stand_in_the_artefact(begun, host, tmp_path):
    run = begun(overrides={"labels.keep": True})
    run.run_until()
    distilled = run.export()
    network = sum(v.nbytes for kind in ("params", "buffers") for v in run.policy[kind].values())
    assert distilled.nbytes == 6 * (64 * 4 + 3 * 4) + network
    again = DistilledSet.load(distilled.save(tmp_path / "set.safetensors"))
    teacher_targets = ddcore.plugin.teacher_targets_of(again, host.catalogue)
    rows = torch.arange(6)
    seen, heard = teacher_targets(rows, again.inputs, Crop(flip=False), seeded(1))
    assert torch.equal(seen, Crop(flip=False).draw(seeded(1), (1, 8, 8), 6)(again.inputs))
    assert torch.allclose(heard, run.draw(seen, training=False), atol=1e-6)
    plain, _ = teacher_targets(rows, again.inputs, None, seeded(1))
    assert torch.equal(plain, again.inputs)
    other = replace(again, recipe=replace(run.recipe, network=ConvNet(width=5, depth=2, norm="batch")).to_toml())
    with pytest.raises(BadArtefact, match="teacher is not of the network"):
        ddcore.plugin.teacher_targets_of(other, host.catalogue)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ({"teaching.boxes": torch.zeros(6, 3, 4)}, "its crops are"),
        ({"teaching.boxes": torch.zeros(6, 2, 5)}, "its crops are"),
        ({"teaching.boxes": None}, "its crops are"),
        ({"teaching.logits": torch.zeros(5, 2, 3)}, "its crops are"),
        ({"teaching.logits": torch.zeros(6, 2, 4)}, "its crops are"),
        ({"teaching.logits": torch.full((6, 2, 3), torch.inf)}, "NaN or infinite"),
    ],
)
def test_views_that_do_not_fit_together_are_refused(begun, tmp_path, spoil, sentence):
    from safetensors import safe_open

    run = begun(overrides={"labels.crops": 2})
    run.run_until()
    path = run.export().save(tmp_path / "set.safetensors")
    with safe_open(path, framework="pt") as file:
        card = file.metadata()
    write_tensors(path, {n: v for n, v in {**load_file(path), **spoil}.items() if v is not None}, card)
    with pytest.raises(BadArtefact, match=sentence):
        DistilledSet.load(path)


@pytest.mark.parametrize("top", [None, 1, 2])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_crops_in_few_bits_are_what_the_teacher_says_of_them(begun, host, tmp_path, bits, top):
    packed = {"labels.bits": bits} | ({} if top is None else {"labels.top": top})
    run = begun(overrides={"labels.crops": 3, "labels.crop.low": 0.3, "labels.temperature": 2.0, **packed})
    run.run_until()
    distilled = run.export()
    numbers = 3 * (4 + (3 if top is None else top))
    size = -(-12 * bits // 8) + -(-(numbers - 12) * bits // 8) + (0 if top is None else -(-3 * top // 2))
    assert distilled.nbytes == 6 * (64 * 4 + 3 * 4 + size) + 24 + 64 + 16
    assert sum(value.nbytes for value in distilled.teaching.values()) == 6 * size + 24 + 64 + 16
    again = DistilledSet.load(distilled.save(tmp_path / "set.safetensors"))
    assert again.content == distilled.content
    assert again.at(4).teaching.keys() == distilled.teaching.keys()
    stored = ddcore.plugin.teacher_targets_of(again, host.catalogue)
    assert isinstance(stored, StoredCrops)
    teacher = Draw(run.ctx.network, double(run.policy["params"]), double(run.policy["buffers"]))
    steps = (stored.logits.amax() - stored.logits.amin()).double() / (2**bits - 1) / 2.0
    for view in range(3):
        said = teacher(cropped(stored.boxes[:, view].double())(distilled.inputs.double()), training=False)
        slow = (said / 2.0).softmax(1)
        if top is not None:
            for row in slow:
                least = row.argsort(descending=True)[top:]
                row[least] = row[least].sum() / len(least)
        found = (stored.logits[:, view].double() / 2.0).softmax(1)
        assert torch.allclose(found.log(), slow.log(), atol=float(steps) + 1e-5)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ({"packed.form": None}, "packed.form is not three whole numbers"),
        ({"packed.form": torch.tensor([5, 2, 2])}, "2 crops with 2 of 3 classes in 5 bits"),
        ({"packed.form": torch.tensor([8, 2, 4])}, "2 crops with 4 of 3 classes in 8 bits"),
        ({"packed.form": torch.tensor([8, 2**40, 2])}, "8 bits of"),
        ({"packed.classes": None}, "belong together"),
        ({"packed.classes": torch.full((6, 2), 17, dtype=torch.uint8)}, "packed.classes names no 2 of 3 classes"),
        ({"packed.classes": torch.full((6, 2), 35, dtype=torch.uint8)}, "packed.classes names no 2 of 3 classes"),
        ({"packed.said": torch.zeros(5, 2, 2, dtype=torch.uint8)}, "8 bits of"),
        ({"packed.said.range": torch.tensor([[1.0], [0.0]], dtype=torch.float64)}, "no least and greatest number"),
        ({"packed.odd": torch.zeros(1)}, "belong together"),
    ],
)
def test_packed_crops_that_do_not_fit_together_are_refused(begun, spoil, sentence):
    run = begun(overrides={"labels.crops": 2, "labels.bits": 8, "labels.top": 2})
    run.run_until()
    distilled = run.export()
    teaching = {name: value for name, value in {**distilled.teaching, **spoil}.items() if value is not None}
    with pytest.raises(BadArtefact, match=sentence):
        replace(distilled, teaching=teaching)


def test_a_run_resumed_at_its_end_knows_its_teacher(begun, host, tiny):
    run = begun(overrides={"labels.crops": 2, "labels.keep": True})
    run.run_until()
    again = host.start(run.recipe, tiny)
    again.load_state_dict(saved(run.state_dict()))
    again.run_until()
    one, two = run.export(), again.export()
    assert torch.equal(one.targets, two.targets)
    assert one.teaching.keys() == two.teaching.keys()
    assert all(torch.equal(one.teaching[name], two.teaching[name]) for name in one.teaching)


def test_a_running_mean_of_s_is_labelled_too(begun):
    run = begun(overrides={"update.ema": 0.5, "labels.temperature": 1.0})
    run.run_until()
    distilled = run.export()
    teacher = Draw(run.ctx.network, run.policy["params"], run.policy["buffers"])
    assert not torch.equal(distilled.inputs, run.synthetic.everything()[0])
    assert torch.allclose(distilled.targets, teacher(distilled.inputs, training=False).softmax(1), atol=1e-6)


def test_any_method_may_be_taught(host, small, tiny):
    """A teacher of the labels' own, and one that chose the images."""
    own = small(host.recipe("random", ipc=2, overrides={"labels.name": "taught"}), labels=Taught(Fit(steps=5)))
    assert own.asks == {"examples", "fit", "statistics"}
    targets = host.distill(own, tiny).targets
    assert targets.shape == (6, 3)
    assert torch.allclose(targets.sum(1), torch.ones(6))
    with pytest.raises(
        RecipeRefused,
        match=r"labels = taught needs a network trained on T that can label.*carrier herding.*policy teacher",
    ):
        host.distill(replace(own, labels=Taught(fit=None)), tiny)
    herding = small(host.recipe("herding", ipc=2, overrides={"synthetic.fit.steps": 5}), labels=Taught(fit=None))
    run = host.start(herding, tiny)
    run.start()
    distilled = run.export()
    said = run.synthetic.carrier.judge(distilled.inputs, training=False).softmax(1)
    assert torch.allclose(distilled.targets, said, atol=1e-6)


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"temperature": -1.0}, {"crops": -1}])
def test_labels_that_say_nothing_are_refused(fields):
    ((name, value),) = fields.items()
    with pytest.raises(RecipeRefused, match=f"{name} = {value}: it must be"):
        Taught(**fields)


def test_bits_of_crops_that_are_not_stored_are_refused():
    with pytest.raises(RecipeRefused, match="bits = 8 are those of stored crops: give crops with them"):
        Taught(bits=8)
    with pytest.raises(RecipeRefused, match="top = 2 classes are stored in few bits: give bits with it"):
        Taught(crops=2, top=2)


# --- learning from a teacher -----------------------------------------------------------------------------

PLAN = ConvNet(width=4, depth=2)


@pytest.fixture
def training(tiny):
    return Preprocessed(tiny.train, ddcore.Standardise().start(tiny.card, dict))


def test_the_preset_is_what_it_is_named_for():
    fkd = ddcore.protocol("fkd")
    assert (fkd.epochs, fkd.batch, fkd.optimiser, fkd.lr) == (300, 64, AdamW(weight_decay=0.01), (1e-3,))
    assert (fkd.augment, fkd.temperature) == (Crop(low=0.08), 20.0)
    assert ddcore.protocol("hald") == replace(fkd, hard=0.5)
    parameter = torch.zeros(1, requires_grad=True)
    assert type(fkd.optimiser.build(([parameter], 1e-3))) is torch.optim.AdamW
    with pytest.raises(RecipeRefused, match="temperature = 0.0: it must be above 0"):
        Protocol(temperature=0.0)


def test_a_step_follows_the_divergence_at_the_temperature(training, tiny):
    protocol = Protocol(steps=1, batch=60, optimiser=Sgd(momentum=0.0), lr=(1.0,), augment=None, temperature=5.0)
    logits = torch.randn(60, 3, generator=seeded(), dtype=torch.float32)

    def teacher_targets(rows, inputs, augment, generator):
        return inputs, logits[rows]

    network = PLAN.build(tiny.card)
    given = (network, training, tiny.card, protocol, 1.0, [0], 0, torch.device("cpu"))
    moved = train(*given, teacher_targets=teacher_targets).params["head.weight"][0]
    params, _ = network.init(ddcore.Streams(0)["net/0"])
    start = double(params)
    weight = start["head.weight"].clone().requires_grad_()
    inputs, _ = training.take(torch.arange(60))
    student = network({**start, "head.weight": weight}, {}, inputs.double())
    teacher = (logits.double() / 5).softmax(1)
    divergence = (teacher * (teacher.log() - (student / 5).log_softmax(1))).sum(1).mean()
    (gradient,) = torch.autograd.grad(divergence, weight)
    assert torch.allclose(moved.double(), start["head.weight"] - gradient, atol=1e-6)
    plain = train(*given).params["head.weight"][0]
    assert not torch.allclose(plain, moved, atol=1e-4)
    untaught = (*given[:3], replace(protocol, temperature=None), *given[4:])
    assert torch.equal(train(*untaught, teacher_targets=teacher_targets).params["head.weight"][0], plain), (
        "a matter of the protocol"
    )


def test_the_middle_of_the_training_learns_classes(training, tiny):
    """Ten steps, the middle four by class: as a training by hand, and as plain training where all are."""
    seen = []

    def teacher_targets(rows, inputs, augment, generator):
        seen.append(rows)
        return inputs, F.one_hot((training.take(rows)[1] + 1) % 3, 3) * 9.0

    protocol = Protocol(steps=10, batch=60, optimiser=Sgd(momentum=0.0), lr=(0.1,), augment=None, temperature=5.0)
    network = PLAN.build(tiny.card)

    def trained(protocol):
        given = (network, training, tiny.card, protocol, 0.1, [0], 0, torch.device("cpu"))
        return train(*given, teacher_targets=teacher_targets).params["head.weight"][0]

    some = trained(replace(protocol, hard=0.4, schedule=ddcore.plugin.Constant()))
    assert len(seen) == 6
    params, _ = network.init(ddcore.Streams(0)["net/0"])
    own = {name: value.double().requires_grad_() for name, value in params.items()}
    inputs, classes = training.take(torch.arange(60))
    for step in range(10):
        hard = 3 <= step < 7
        shares = F.one_hot(classes if hard else (classes + 1) % 3, 3).double() * (1.0 if hard else 9.0)
        shares = shares if hard else (shares / 5).softmax(1)
        logits = network(own, {}, inputs.double()) / (1 if hard else 5)
        loss = -(shares * logits.log_softmax(1)).sum(1).mean()
        grads = torch.autograd.grad(loss, list(own.values()))
        own = {n: (w - 0.1 * g).detach().requires_grad_() for (n, w), g in zip(own.items(), grads, strict=True)}
    assert torch.allclose(some.double(), own["head.weight"], atol=1e-5)
    plain = trained(replace(protocol, temperature=None))
    assert torch.equal(trained(replace(protocol, hard=1.0)), plain)
    with pytest.raises(RecipeRefused, match="hard = 0.5 is a share of what is learned from a teacher"):
        Protocol(hard=0.5)


def test_networks_learn_what_they_are_taught(begun, host, tiny):
    """StoredCrops whose labels are those of the next class: that is what is learned, and not the targets."""
    run = begun(ipc=2, overrides={"synthetic.init": "real", "labels.crops": 3, "labels.crop.low": 0.9})
    run.run_until()
    distilled = run.export()
    wrong = F.one_hot((distilled.targets.argmax(1) + 1) % 3, 3)[:, None].expand(-1, 3, -1) * 20.0
    distilled = replace(distilled, teaching={**distilled.teaching, "logits": wrong.contiguous()})
    distilled = replace(
        distilled,
        tensors=replace(distilled.tensors, targets=F.one_hot(torch.arange(3).repeat_interleave(2), 3).float()),
    )
    protocol = Protocol(steps=60, lr=(1e-2,), repeats=1, networks=(PLAN,), temperature=4.0, augment=None)
    teacher_targets = ddcore.plugin.teacher_targets_of(distilled, host.catalogue)
    assert isinstance(teacher_targets, StoredCrops)
    accuracy = {
        t: ddcore.evaluate(distilled, tiny, replace(protocol, temperature=t), host=host)["accuracy"]["convnet"].mean
        for t in (4.0, None)
    }
    assert accuracy[4.0] < 20
    assert accuracy[None] > 60


def test_nets_are_taught_alone_as_they_are_together(begun, host, training, tiny):
    run = begun(overrides={"labels.keep": True})
    run.run_until()
    distilled = run.export()
    teacher_targets = ddcore.plugin.teacher_targets_of(distilled, host.catalogue)
    assert isinstance(teacher_targets, LiveTeacher)
    protocol = ddcore.protocol("fkd", epochs=None, steps=5, batch=4)
    network = PLAN.build(tiny.card)

    def taught(nets):
        return train(
            network, distilled, tiny.card, protocol, 1e-3, nets, 0, torch.device("cpu"), teacher_targets=teacher_targets
        )

    assert torch.allclose(taught([0, 1]).params["head.weight"][1], taught([1]).params["head.weight"][0], atol=1e-5)


# --- real crops ------------------------------------------------------------------------------------------


def test_the_surest_crop_of_every_image_comes_first_then_second_ones():
    loss = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.5, 0.4]])
    assert surest(loss).tolist() == [1, 3, 2, 5, 4, 0]


def test_whole_images_are_chosen_by_what_the_network_is_sure_of(begun, tiny):
    whole = {"synthetic.factor": 1, "synthetic.crops": 1, "synthetic.crop.low": 1.0, "synthetic.crop.ratio": 1.0}
    run = begun("rded", overrides=whole)
    judge = run.synthetic.carrier.judge
    at = Draw(judge.network, double(judge.params), double(judge.buffers))
    images = run.synthetic.carrier.images
    for c in range(3):
        inputs = run.preprocess(tiny.train.inputs[20 * c : 20 * c + 20].double() / 255)
        loss = [-float(at(x[None], training=False)[0].log_softmax(0)[c]) for x in inputs]
        two = sorted(range(20), key=loss.__getitem__)[:2]
        assert torch.allclose(images[2 * c : 2 * c + 2].double(), inputs[two], atol=1e-5)


def test_tiles_are_crops_side_by_side(begun):
    whole = {"synthetic.crops": 1, "synthetic.crop.low": 1.0, "synthetic.crop.ratio": 1.0}
    run = begun("rded", ipc=1, overrides={"synthetic.factor": 2, **whole})
    images = run.synthetic.carrier.images
    batches = run.gate.examples([ddcore.Group(classes=(c,)) for c in range(3)])
    for c, batch in enumerate(batches):
        shrunk = F.avg_pool2d(batch.inputs, 2)
        loss = F.cross_entropy(
            run.synthetic.carrier.judge(batch.inputs, training=False), batch.targets, reduction="none"
        )
        for number, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
            tile = images[c][:, row : row + 4, column : column + 4]
            assert torch.allclose(tile, shrunk[loss.argsort()[number]], atol=1e-5)


def test_what_cannot_be_tiled_or_matched_is_refused_before_any_work(host, small, tiny):
    def refused(text, recipe):
        with pytest.raises(RecipeRefused, match=text):
            host.start(recipe, tiny)

    refused("synthetic.factor = 3 does not cut items", small(host.recipe("rded", overrides={"synthetic.factor": 3})))
    many = {"synthetic.crops": 1, "synthetic.factor": 4}
    refused("4 images of 16 tiles need more crops than the 20", small(host.recipe("rded", ipc=4, overrides=many)))
    refused(
        r"BatchNorm layers.*network\.norm=batch", small(host.recipe("sre2l", overrides={"network.norm": "instance"}))
    )
    sre2l = small(host.recipe("sre2l"))
    both = ddcore.plugin.Sum((sre2l.objective,))
    refused("BatchNorm layers", replace(sre2l, objective=both, network=ConvNet(width=4, depth=2)))
    for method, path, value in (
        ("sre2l", "objective.batch", 0),
        ("sre2l", "objective.weight", -1.0),
        ("rded", "synthetic.crops", 0),
        ("rded", "synthetic.pool", 0),
        ("rded", "synthetic.factor", 0),
    ):
        with pytest.raises(RecipeRefused, match=f"{path} = {value}: it must be at least"):
            host.recipe(method, overrides={path: value})


def test_a_run_ended_before_its_teacher_was_there_is_not_exported(host, small, tiny):
    run = host.start(small(host.recipe("sre2l")), tiny)
    run.start()
    with pytest.raises(RecipeRefused, match="ended before its teacher was there"):
        run.export()
