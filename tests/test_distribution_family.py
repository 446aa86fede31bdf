"""CAFE, KFS and IT-GAN: each part against its formula, written slowly."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ddcore import ModuleNetwork, NetworkPlan, RecipeRefused
from ddcore.carriers.codes import Codes
from ddcore.carriers.decoding import Decoders, Enlarge, enlarging
from ddcore.carriers.latents import Adversarial, Latents, fake_loss, mode_seeking, real_loss
from ddcore.carriers.picking import herd
from ddcore.losses import cross_entropy
from ddcore.networks.convnet import ConvNet
from ddcore.networks.layers import Activation, Conv, chain
from ddcore.networks.probe import block_outputs, by_centres, class_means, joined, last_layer, layers, predicted_shares
from ddcore.networks.resnet import ResNet18
from ddcore.networks.started import Started
from ddcore.objectives.features import FeatureMatch
from ddcore.objectives.layers import LayerMatch
from ddcore.policies.steady import UntilSteady
from ddcore.types import DataCard, Draw, Group

CARD = DataCard("made", (2, 16, 8), 3, (4, 4, 4))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at(plan, card=CARD, seed=0):
    network = plan.build(card)
    params, buffers = network.init(torch.Generator().manual_seed(seed))
    double = [{name: value.double() for name, value in tensors.items()} for tensors in (params, buffers)]
    return Draw(network, *double)


def run_of(host, small, data, method, iterations=1, overrides=None, **fields):
    recipe = host.recipe(method, ipc=2, iterations=iterations, overrides=overrides or {})
    run = host.start(small(recipe, **fields), data)
    run.start()
    return run


def whole(run):
    """All of T as the gate shows it, by class, in float64."""
    rows = [run.gate.source.store.draw(torch.Generator(), (c,)) for c in range(run.card.classes)]
    return [run.gate.source.take(r, None, Group()).inputs.double() for r in rows]


# --- probes ----------------------------------------------------------------------------------------------


def test_nets_side_by_side_have_blocks_whose_products_are_means_of_their_own_and_the_mean_of_their_logits(tiny):
    network = ConvNet(width=4, depth=2).build(tiny.card)
    nets = [Draw(network, *network.init(torch.Generator().manual_seed(seed))) for seed in range(3)]
    x, together = torch.randn(5, *tiny.card.shape), joined(nets)
    own = [block_outputs(net, x) for net in nets]
    for i, found in enumerate(block_outputs(together, x)):
        torch.testing.assert_close(found @ found.T, sum(each[i] @ each[i].T for each in own) / 3)
    found, each = layers(together, (1.0,))(x, features=True), [layers(net, (1.0,))(x, features=True) for net in nets]
    torch.testing.assert_close(found @ found.T, sum(one @ one.T for one in each) / 3)
    torch.testing.assert_close(last_layer(together, together(x, features=True)), sum(net(x) for net in nets) / 3)


def test_blocks_end_where_the_next_layer_with_weights_begins():
    draw, x = at(ConvNet(width=4, depth=2)), normal(3, 2, 16, 8)
    p = draw.params
    slow, h = [], x
    for i in (0, 4):
        h = F.conv2d(h, p[f"features.{i}.weight"], p[f"features.{i}.bias"], padding=1)
        h = F.instance_norm(h, weight=p[f"features.{i + 1}.weight"], bias=p[f"features.{i + 1}.bias"])
        h = F.avg_pool2d(h.relu(), 2)
        slow.append(h.flatten(1))
    slow.append(h.flatten(1) @ p["head.weight"].T + p["head.bias"])
    found = block_outputs(draw, x)
    assert [o.shape for o in found] == [(3, 4 * 32), (3, 4 * 8), (3, 3)]
    for a, b in zip(found, slow, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_blocks_of_a_residual_network_are_its_residuals():
    draw, x = at(ResNet18(), replace(CARD, shape=(2, 16, 16))), normal(1, 2, 16, 16)
    outputs = block_outputs(draw, x)
    assert len(outputs) == 1 + 8 + 1, "the stem, the residuals (the last one pooled), the logits"
    assert torch.equal(outputs[-2], draw(x, features=True))
    assert torch.equal(outputs[-1], draw(x))


@pytest.mark.parametrize(("weights", "each"), [((1.0, 0.5, 0.1), (1.0, 0.5, 0.1)), ((2.0, 0.25), (2.0, 0.25, 0.25))])
def test_the_distance_of_layer_answers_is_the_weighted_sum(weights, each):
    draw, a, b = at(ConvNet(width=4, depth=2)), normal(1, 2, 16, 8), normal(1, 2, 16, 8, seed=1)
    probe = layers(draw, weights)
    slow = sum(
        w * float((x - y).square().sum())
        for w, x, y in zip(each, block_outputs(draw, a), block_outputs(draw, b), strict=True)
    )
    assert float((probe(a, features=True) - probe(b, features=True)).square().sum()) == pytest.approx(slow, rel=1e-10)
    assert torch.equal(probe(a), draw(a))


def test_one_probe_a_network_so_that_a_gate_knows_it_again():
    draw = at(ConvNet(width=4, depth=2))
    assert layers(draw, (1.0,)).network is layers(draw, (1.0,)).network
    assert layers(draw, (1.0,)).network is not layers(draw, (2.0,)).network
    assert predicted_shares(draw).network is predicted_shares(draw).network


def test_centres_are_the_only_parameters():
    draw, x, centres = at(ConvNet(width=4, depth=2)), normal(2, 2, 16, 8), normal(3, 4 * 8)
    probe = by_centres(draw, centres)
    assert list(probe.params) == ["centres"]
    assert torch.allclose(probe(x), torch.stack([centres @ f for f in draw(x, features=True)]))


def test_class_means_are_means():
    features, classes = normal(5, 2), torch.tensor([0, 2, 0, 1, 0])
    means = class_means(features, classes, 3)
    assert torch.allclose(means[0], (features[0] + features[2] + features[4]) / 3)
    assert torch.equal(means[1], features[3])
    assert torch.equal(means[2], features[1])


def test_the_share_through_the_gate_is_the_accuracy(host, small, tiny):
    run = run_of(host, small, tiny, "cafe")
    draw = run.ctx.fresh()
    share = UntilSteady(real=20)._share(draw, run.ctx)
    right = [float((draw(x.float()).argmax(1) == c).double().mean()) for c, x in enumerate(whole(run))]
    assert share == pytest.approx(sum(right) / 3, abs=1e-6)
    assert 0 < share < 1, "a share that could be of anything proves nothing"


# --- CAFE ------------------------------------------------------------------------------------------------


def slow_cafe(run, draw, leaf, b):
    """The paper's loss on raw examples of all of T: its layer term and its whole value."""
    weights = (1.0, 1.0, 0.1)
    slow = Draw(draw.network, {name: value.double() for name, value in draw.params.items()}, {})
    real = whole(run)
    first = 0.0
    for c, x in enumerate(real):
        mine, theirs = block_outputs(slow, leaf[2 * c : 2 * c + 2]), block_outputs(slow, x)
        for w, s, t in zip(weights, mine, theirs, strict=True):
            first = first + w * (s.mean(0) - t.mean(0)).square().sum()
    features = slow(leaf, features=True)
    centres = torch.stack([features[2 * c : 2 * c + 2].mean(0) for c in range(3)])
    second = 0.0
    for c, x in enumerate(real):
        for f in slow(x, features=True).detach():
            second = second - (centres @ f).log_softmax(0)[c]
    return float(first.detach()), first + b * second


@pytest.mark.parametrize("b", [0.0, 0.01, 0.5])
def test_layer_match_is_the_papers_loss(host, small, tiny, b):
    run = run_of(host, small, tiny, "cafe", augment=None)
    draw = run.ctx.fresh()
    pixels = run.synthetic.carrier.pixels
    leaf = pixels.detach().clone().double().requires_grad_()
    (told,) = LayerMatch(discrimination=b, real=20).accumulate(draw, run.synthetic, run.ctx)
    first, loss = slow_cafe(run, draw, leaf, b)
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert told == pytest.approx(first, rel=1e-4)
    assert torch.allclose(pixels.grad.double(), gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))


def test_discrimination_through_the_gate_is_the_direct_gradient(host, small, tiny):
    """Centres' gradient from the gate, pulled back into S, against cross-entropy on the raw items."""
    run = run_of(host, small, tiny, "cafe", augment=None)
    draw = run.ctx.fresh()
    images = run.synthetic.carrier.pixels.detach().clone().requires_grad_()
    centres = class_means(draw(images, features=True), run.synthetic.carrier.classes, 3)
    groups = [Group((c,)) for c in range(3)]
    answers = run.gate.gradient(by_centres(draw, centres.detach()), groups, cross_entropy)
    centres.backward(sum(answer["centres"] for answer in answers))
    direct = run.synthetic.carrier.pixels.detach().clone().requires_grad_()
    moving = class_means(draw(direct, features=True), run.synthetic.carrier.classes, 3)
    loss = sum(
        F.cross_entropy(draw(x.float(), features=True).detach() @ moving.T, torch.full((len(x),), c))
        for c, x in enumerate(whole(run))
    )
    loss.backward()
    assert torch.allclose(images.grad, direct.grad, rtol=1e-3, atol=1e-5 * float(direct.grad.abs().max()))
    assert float(direct.grad.abs().max()) > 0


def test_layer_match_asks_no_more_than_it_needs():
    assert LayerMatch().asks == {"features", "gradient"}
    assert LayerMatch(discrimination=0).asks == {"features"}


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (lambda: LayerMatch(weights=()), "weights is empty: give at least one"),
        (lambda: LayerMatch(weights=(1.0, -1.0)), "weights = -1.0: it must be at least 0"),
        (lambda: LayerMatch(discrimination=-1), "discrimination = -1: it must be at least 0"),
        (lambda: UntilSteady(window=0), "must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(plan, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        plan()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(64, 8), nn.Linear(8, 3)

    def features(self, x):
        return self.hidden(x.flatten(1)).relu()

    def forward(self, x):
        return self.head(self.features(x))


class Mine(NetworkPlan):
    def build(self, card):
        return ModuleNetwork(Net)


def test_an_ordinary_module_is_refused_in_a_sentence(host, small, tiny):
    with pytest.raises(RecipeRefused, match="layer_match needs a network that shows the outputs of its blocks"):
        run_of(host, small, tiny, "cafe", network=Mine())


# --- the loops that follow the accuracy ------------------------------------------------------------------


def ages(run):
    found = []
    while run.step < run.recipe.iterations:
        run.run_until(until=run.step + 1)
        found.append((run.draw.age, run.policy["round"]))
    return found


def steady(shares, monkeypatch):
    """Lets the policy see these shares, one after another."""
    left = list(shares)
    monkeypatch.setattr(UntilSteady, "_share", lambda self, draw, ctx: left.pop(0))
    return left


def test_a_network_serves_until_steady_and_is_trained_until_steady(host, small, tiny, monkeypatch):
    policy = UntilSteady(served=0.04, trained=0.03, window=2, rounds=2, steps=9, epochs=9)
    run = run_of(host, small, tiny, "cafe", iterations=7, policy=policy)
    seen = [
        *(0.1, 0.2, 0.23),  # served: the third lies within 0.04 of the second
        *(0.5, 0.6, 0.64, 0.66),  # trained: 0.04 is not yet within 0.03
        *(0.7, 0.8, 0.8),  # served again; then a fresh network
    ]
    left = steady(seen, monkeypatch)
    assert ages(run) == [(0, 0), (0, 0), (0, 0), (4, 1), (4, 1), (4, 1), (0, 0)]
    assert left == []


def test_its_loops_end_at_their_limits(host, small, tiny, monkeypatch):
    policy = UntilSteady(window=2, rounds=2, steps=2, epochs=3)
    run = run_of(host, small, tiny, "cafe", iterations=6, policy=policy)
    restless = steady([0.1, 0.9] * 20, monkeypatch)
    assert ages(run) == [(0, 0), (0, 0), (3, 1), (3, 1), (0, 0), (0, 0)]
    assert len(restless) == 40 - (2 + 3 + 2 + 1)


def test_training_is_what_it_says(host, small, tiny):
    """One epoch of SGD on S, by hand."""
    run = run_of(host, small, tiny, "cafe", augment=None)
    draw = run.ctx.fresh()
    trained, steps = UntilSteady(epochs=1, lr=0.1)._trained(draw, run.synthetic, run.ctx)
    inputs, targets = run.synthetic.everything()
    params = {name: value.clone().requires_grad_() for name, value in draw.params.items()}
    F.cross_entropy(draw(inputs.detach(), params), targets).backward()
    assert steps == 1
    for name, value in params.items():
        assert torch.allclose(trained[name], value.detach() - 0.1 * value.grad, atol=1e-6), name


def test_it_resumes_in_the_middle_of_a_round(host, small, tiny, tmp_path):
    policy = UntilSteady(served=0, window=2, rounds=3, steps=3, epochs=2)
    straight = run_of(host, small, tiny, "cafe", iterations=8, policy=policy)
    straight.run_until(until=5)
    assert straight.policy["round"] == 1
    assert straight.policy["shares"], "in the middle of a round"
    torch.save(straight.state_dict(), tmp_path / "state.pt")
    straight.run_until()
    again = host.start(straight.recipe, tiny)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    again.run_until()
    assert torch.equal(again.synthetic.carrier.pixels, straight.synthetic.carrier.pixels)
    assert again.policy["shares"] == straight.policy["shares"]


# --- decoding --------------------------------------------------------------------------------------------


def test_decoders_side_by_side_are_each_by_itself():
    both = Decoders(chain(Enlarge(), Conv(2, 3), Activation("leaky_relu"), Enlarge(), Conv(3, 1)), 2).double()
    both.start(torch.Generator().manual_seed(0))
    codes = normal(4, 2, 2, 3)
    found = both(codes)
    weight = dict(both.named_parameters())
    for d in range(2):
        h = F.interpolate(codes, scale_factor=2, mode="bilinear", align_corners=False)
        h = F.conv2d(h, weight["decoder_1_weight"][d], weight["decoder_1_bias"][d], padding=1)
        h = F.interpolate(F.leaky_relu(h, 0.01), scale_factor=2, mode="bilinear", align_corners=False)
        h = F.conv2d(h, weight["decoder_4_weight"][d], weight["decoder_4_bias"][d], padding=1)
        assert torch.allclose(found[:, d], h)
    assert not torch.allclose(found[:, 0], found[:, 1])


def test_weights_come_from_the_stream_alone():
    before = torch.get_rng_state()
    one, two, other = (Decoders(chain(*enlarging(CARD, 2, 3, 4)), 2) for _ in range(3))
    for decoders, seed in ((one, 1), (two, 1), (other, 2)):
        decoders.start(torch.Generator().manual_seed(seed))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 16, 16), (3, 32, 32), (3, 16, 32)])
@pytest.mark.parametrize("plan", [Codes(2, most=10**6), Latents(2, most=10**6)])
def test_as_many_codes_as_fit_and_not_one_more(plan, shape):
    card = DataCard("made", shape, 10, (20,) * 10)
    module = plan.build(card)
    budget = 4 * 2 * 10 * math.prod(shape)
    each = module.codes[0].numel() if isinstance(plan, Codes) else module.latents[0].numel()
    assert module.nbytes() <= budget < module.nbytes() + 4 * 10 * each
    assert module.nbytes() == sum(4 * value.numel() for value in module.latent().values())
    index = torch.tensor([0, len(module.classes) - 1, 3])
    assert module(index).shape == (3, *shape)
    assert torch.bincount(module.classes).unique().numel() == 1
    assert len(replace(plan, most=6).build(card).classes) == 60


def test_every_code_goes_through_every_decoder(host, small, tiny):
    run = run_of(host, small, tiny, "kfs", overrides={"synthetic.init": "noise", "synthetic.width": 3})
    carrier = run.synthetic.carrier
    images, classes = carrier(torch.arange(len(carrier.classes))), carrier.classes
    per_class = len(classes) // 3
    slow = torch.stack([carrier.decoders(code[None])[0, d] for code in carrier.codes for d in range(2)])
    assert torch.allclose(images, slow, atol=1e-6)
    assert len(carrier.codes) == 3 * per_class // 2
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(carrier(order), images[order], atol=1e-6)


@pytest.mark.parametrize("ipc", [1, 3, 4, 10, 50])
@pytest.mark.parametrize(
    ("shape", "classes"), [((1, 28, 28), 10), ((1, 16, 16), 10), ((3, 32, 32), 10), ((1, 28, 28), 2)]
)
def test_the_decoders_of_kfs_grow_with_its_bytes(host, ipc, shape, classes):
    """Codes and decoders both: decoders keep about their share of the bytes, and images have more detail each."""
    card = DataCard("made", shape, classes, (6000,) * classes)
    module, one = (host.recipe("kfs", ipc=n).synthetic.build(card) for n in (ipc, 1))
    shares = [sum(p.numel() for p in m.decoders.parameters()) / n for m, n in ((module, ipc), (one, 1))]
    assert 0.25 * shares[1] <= shares[0] <= 1.2 * shares[1]
    assert len(module.classes) >= len(one.classes)
    assert ipc < 4 or module.codes[0].numel() > one.codes[0].numel()


def test_both_rates_of_codes_and_decoders_are_asked_for(host, small, tiny):
    run = run_of(host, small, tiny, "kfs", overrides={"synthetic.width": 3})
    assert run.synthetic.groups().keys() == {"inputs", "decoders"}
    with pytest.raises(RecipeRefused, match=r"gives no rate for it: add update\.lr\.decoders"):
        host.start(replace(run.recipe, update=replace(run.recipe.update, lr={"inputs": 1.0})), tiny)


@pytest.mark.parametrize("batch", [8, 256])
def test_a_start_at_real_images_is_nearer_to_them(host, small, tiny, batch):
    def gap(steps):
        overrides = {"synthetic.width": 3, "synthetic.fit": steps, "synthetic.fit_batch": batch}
        run = run_of(host, small, tiny, "kfs", overrides=overrides)
        inputs, classes = run.synthetic.everything()
        means = torch.stack([x.mean(0) for x in whole(run)])
        return float((inputs.detach() - means[classes]).square().mean())

    assert gap(200) < 0.5 * gap(1)


@pytest.mark.parametrize(
    ("plan", "card", "sentence"),
    [
        (lambda: Codes(1, scale=3), CARD, "scale = 3: sides are doubled"),
        (lambda: Latents(1, scale=1), CARD, "scale = 1: it must be at least 2"),
        (lambda: Codes(1, scale=16), CARD, r"1/16 of their sides, but the items of made are \(2, 16, 8\)"),
        (lambda: Codes(1), replace(CARD, shape=(7,)), r"items of made are \(7,\)"),
        (lambda: Codes(1, width=40), CARD, "1 images per class of made are 768 values, but decoding takes"),
        (lambda: Latents(1, width=40), CARD, "1 images per class of made are 768 values, but decoding takes"),
        (lambda: Codes(1, decoders=0), CARD, "must be at least 1"),
        (lambda: Latents(1, tries=0), CARD, "must be at least 1"),
        (lambda: Adversarial(batch=0), CARD, "must be at least 1"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_a_sentence(plan, card, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        plan().check(None, card, None)


# --- IT-GAN ----------------------------------------------------------------------------------------------

LITTLE = {
    **{"synthetic.size": 3, "synthetic.channels": 2, "synthetic.width": 3},
    **{"synthetic.training.steps": 3, "synthetic.training.batch": 8},
}


def test_adversarial_losses_are_the_formulas():
    outputs, targets = normal(4, 3), torch.tensor([0, 2, 1, 2])
    for i, y in enumerate(targets.tolist()):
        own = float(outputs[i, y])
        assert float(real_loss(outputs, targets)[i]) == pytest.approx(math.log(1 + math.exp(-own)), rel=1e-10)
        assert float(fake_loss(outputs, targets)[i]) == pytest.approx(math.log(1 + math.exp(own)), rel=1e-10)


def test_likeness_is_the_ratio_of_distances():
    a, b, x, y = normal(2, 3), normal(2, 3, seed=1), normal(2, 1, 4, 4, seed=2), normal(2, 1, 4, 4, seed=3)
    for i in range(2):
        apart = sum(abs(p - q) for p, q in zip(x[i].flatten().tolist(), y[i].flatten().tolist(), strict=True)) / 16
        slow = sum(abs(p - q) for p, q in zip(a[i].tolist(), b[i].tolist(), strict=True)) / 3 / apart
        assert float(mode_seeking(a, b, x, y)[i]) == pytest.approx(slow, rel=1e-3)


def test_the_generator_is_told_its_class_and_stands_still(host, small, tiny):
    run = run_of(host, small, tiny, "it_gan", iterations=2, overrides=LITTLE)
    carrier = run.synthetic.carrier
    weights = [value.clone() for value in carrier.generator.parameters()]
    latents = torch.zeros(3, 3)
    images = carrier.images(latents, torch.arange(3))
    p = dict(carrier.generator.named_parameters())
    for c in range(3):
        first = p["decoder_0_weight"][0] @ torch.cat([latents[c], F.one_hot(torch.tensor(c), 3)])
        h = (first + p["decoder_0_bias"][0]).view(1, 2, 2, 2)
        h = F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False)
        h = F.leaky_relu(F.conv2d(h, p["decoder_3_weight"][0], p["decoder_3_bias"][0], padding=1), 0.01)
        h = F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False)
        h = F.conv2d(h, p["decoder_6_weight"][0], p["decoder_6_bias"][0], padding=1)
        assert torch.allclose(images[c], h[0], atol=1e-5)
    before = carrier.latents.detach().clone()
    run.run_until()
    assert all(torch.equal(a, b) for a, b in zip(weights, carrier.generator.parameters(), strict=True))
    assert (carrier.latents != before).all()
    assert run.synthetic.groups().keys() == {"inputs"}


def test_one_step_against_the_discriminator(host, small, tiny):
    """Both players' first step, with the gradients taken from raw items."""
    overrides = {**LITTLE, "synthetic.training.steps": 1, "synthetic.training.batch": 60, "synthetic.tries": 1}
    run = run_of(host, small, tiny, "it_gan", overrides=overrides)
    plan, moved = run.recipe.synthetic.training, run.synthetic.carrier
    fresh = host.start(run.recipe, tiny)
    fresh._preprocess(run.preprocess)
    carrier, rng = fresh.synthetic.carrier, fresh.rng
    carrier.generator.start(rng["init"])
    draw = fresh.ctx.fresh()
    params = {name: value.requires_grad_() for name, value in draw.params.items()}
    classes = torch.randint(3, (60,), generator=rng["latents"])
    latents, others = (torch.randn(60, 3, generator=rng["latents"]) for _ in range(2))
    weights = list(carrier.generator.requires_grad_(True).parameters())
    images = carrier.images(latents, classes)
    real = torch.cat(whole(run)).float()
    y = torch.arange(3).repeat_interleave(20)
    judged = real_loss(draw(real, params), y).mean() + fake_loss(draw(images.detach(), params), classes).mean()
    judged.backward()
    torch.optim.Adam(params.values(), plan.discriminator_lr, (plan.beta, 0.999)).step()
    believed = real_loss(draw(images), classes).mean()
    alike = mode_seeking(latents, others, images, carrier.images(others, classes)).mean()
    gradients = torch.autograd.grad(believed + plan.seeking * alike, weights)
    for value, gradient in zip(weights, gradients, strict=True):
        value.grad = gradient
    torch.optim.Adam(weights, plan.lr, (plan.beta, 0.999)).step()
    for (name, found), wanted in zip(moved.generator.named_parameters(), weights, strict=True):
        assert torch.allclose(found, wanted, atol=1e-4), name
    assert not any(value.requires_grad for value in moved.generator.parameters())


def test_training_makes_images_of_their_own_class(host, small, tiny):
    """The share of images whose nearest mean of a class of T is that of their own class, over three seeds."""

    def right(steps, seed):
        said = {"steps": steps, "batch": 32, "lr": 0.01, "discriminator_lr": 0.01, "beta": 0.0, "seeking": 0.01}
        overrides = {f"synthetic.training.{name}": value for name, value in said.items()}
        larger = {"synthetic.ipc": 10, "synthetic.channels": 8, "synthetic.tries": 1, "seed": seed}
        run = run_of(host, small, tiny, "it_gan", overrides={**LITTLE, **overrides, **larger})
        inputs, classes = run.synthetic.everything()
        real = torch.stack([x.mean(0) for x in whole(run)])
        nearest = (inputs.detach()[:, None] - real).flatten(2).square().sum(2).argmin(1)
        return float((nearest == classes).double().mean())

    before, after = (sum(right(steps, seed) for seed in range(3)) / 3 for steps in (1, 80))
    assert after > before + 0.2


def test_latents_are_herded_towards_the_class_means(host, small, tiny):
    def gap(tries):
        overrides = {**LITTLE, "synthetic.tries": tries, "synthetic.real": 20}
        run = run_of(host, small, tiny, "it_gan", overrides=overrides)
        draw = Draw(run.ctx.network, *run.ctx.network.init(torch.Generator().manual_seed(5)))
        inputs, classes = run.synthetic.everything()
        mine = class_means(draw(inputs, features=True), classes, 3)
        theirs = torch.stack([draw(x.float(), features=True).mean(0) for x in whole(run)])
        return float((mine - theirs).square().sum().detach())

    assert gap(16) < gap(1)


def test_herding_goes_to_the_mean_it_is_told():
    features = normal(6, 2)
    target = features[4]
    assert herd(features, target, 1).tolist() == [4]


def test_what_latents_ask():
    assert Latents().asks == {"features", "gradient"}
    assert Latents(tries=1).asks == {"gradient"}
    assert Latents(generator="file").asks == {"features"}
    assert Latents(generator="file", tries=1).asks == set()


def test_a_generator_from_an_artefact_is_taken_as_it_is(host, small, tiny, tmp_path):
    first = run_of(host, small, tiny, "it_gan", overrides=LITTLE)
    path = first.export().save(tmp_path / "first.safetensors")
    again = run_of(host, small, tiny, "it_gan", overrides={**LITTLE, "synthetic.generator": str(path), "seed": 5})
    for a, b in zip(
        first.synthetic.carrier.generator.parameters(), again.synthetic.carrier.generator.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    assert not torch.equal(first.synthetic.carrier.latents, again.synthetic.carrier.latents)


def test_a_generator_of_another_shape_or_no_file_is_refused(host, small, tiny, tmp_path):
    path = run_of(host, small, tiny, "it_gan", overrides=LITTLE).export().save(tmp_path / "first.safetensors")
    with pytest.raises(
        RecipeRefused, match=r"'decoder_0_weight': \(1, 8, 6\).* but this generator for tiny has .*\(1, 8, 5\)"
    ):
        run_of(host, small, tiny, "it_gan", overrides={**LITTLE, "synthetic.generator": str(path), "synthetic.size": 2})
    (tmp_path / "text").write_text("no tensors")
    for name, sentence in (("text", "is not a whole safetensors file"), ("nowhere", "nowhere")):
        overrides = {**LITTLE, "synthetic.generator": str(tmp_path / name)}
        with pytest.raises(RecipeRefused, match=f"{sentence}.*synthetic.generator names"):
            run_of(host, small, tiny, "it_gan", overrides=overrides)


def test_long_work_is_told(host, small, tiny):
    told = []
    for method, overrides in (("it_gan", LITTLE), ("kfs", {"synthetic.width": 3, "synthetic.fit": 2})):
        run = host.start(small(host.recipe(method, ipc=2, iterations=1, overrides=overrides)), tiny)
        run.ctx = replace(run.ctx, progress=lambda *said: told.append(said))
        run.start()
    assert told == [
        *(("training the generator", i, 3) for i in (1, 2, 3)),
        *(("fitting codes", i, 2) for i in (1, 2)),
    ]


# --- networks that begin elsewhere -----------------------------------------------------------------------


def test_a_started_network_is_the_same_but_for_its_start(host, small, tiny):
    draw = at(ConvNet(width=4, depth=2))
    begun = Started(draw.network, lambda generator: (draw.params, {"drawn": torch.rand(1, generator=generator)}))
    params, buffers = begun.init(torch.Generator().manual_seed(1))
    assert params is draw.params
    assert float(buffers["drawn"]) == pytest.approx(float(torch.rand(1, generator=torch.Generator().manual_seed(1))))
    x, wrapped = normal(3, 2, 16, 8), Draw(begun, draw.params, {})
    assert begun.per_sample
    assert torch.equal(wrapped(x), draw(x))
    assert torch.equal(wrapped(x, features=True), draw(x, features=True))
    for one, two in zip(block_outputs(wrapped, x), block_outputs(draw, x), strict=True):
        assert torch.equal(one, two)
    pair = {name: torch.stack([value, value]) for name, value in draw.params.items()}
    both = Draw(begun, pair, {}, ensemble=2)(x.expand(2, *x.shape))
    assert torch.allclose(both, draw(x).expand(2, 3, 3))
    assert not Started(ResNet18(norm="batch").build(CARD), draw.network.init).per_sample


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_logits_are_matched_beside_features(host, small, tiny, weight):
    run = run_of(host, small, tiny, "dm", objective=FeatureMatch(logits=weight), augment=None)
    images = run.synthetic.everything()[0].detach().double()
    draw = run.ctx.fresh()
    double = replace(draw, params={name: value.double() for name, value in draw.params.items()})
    (loss,) = FeatureMatch(logits=weight).accumulate(draw, run.synthetic, run.ctx)
    slow = 0.0
    for c, real in enumerate(whole(run)):
        for features, factor in ((True, 1.0), (False, weight)):
            apart = double(real, features=features).mean(0) - double(images[2 * c : 2 * c + 2], features=features).mean(
                0
            )
            slow += factor * float(apart.square().sum())
    assert loss == pytest.approx(slow, rel=1e-4)


def test_logits_want_a_network_whose_last_layer_is_known(host, small, tiny):
    class Plain(NetworkPlan):
        def build(self, card):
            return ModuleNetwork(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))

    recipe = replace(host.recipe("dm"), network=Plain(), objective=FeatureMatch(logits=1.0))
    with pytest.raises(RecipeRefused, match="feature_match needs a network that shows the outputs of its blocks"):
        host.start(recipe, tiny)


def test_some_items_of_each_class_are_all_that_a_step_looks_at(host, small, tiny):
    """Gradients reach ``batch`` items of each class, others at each step; as many as there are, and it is the loss."""
    run = run_of(host, small, tiny, "dm", overrides={"synthetic.ipc": 5, "objective.batch": 2})
    pixels, seen = run.synthetic.carrier.pixels, set()
    for _ in range(12):
        pixels.grad = None
        list(run.recipe.objective.accumulate(run.ctx.fresh(), run.synthetic, run.ctx))
        moved = pixels.grad.flatten(1).any(1)
        assert moved.view(3, 5).sum(1).tolist() == [2, 2, 2]
        seen |= set(moved.nonzero().flatten().tolist())
    assert seen == set(range(15))
    losses = []
    for batch in (None, 5):
        run = run_of(host, small, tiny, "dm", overrides={"synthetic.ipc": 5})
        losses.append(
            list(replace(run.recipe.objective, batch=batch).accumulate(run.ctx.fresh(), run.synthetic, run.ctx))
        )
    assert losses[0] == losses[1]
