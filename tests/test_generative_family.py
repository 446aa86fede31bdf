"""Methods that decode what a generative model has learned: each part against its formula, written slowly."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ddcore import Fit, RecipeRefused
from ddcore.carriers.centres import mean_square
from ddcore.carriers.decoding import Decoders
from ddcore.labels.soft import Soft
from ddcore.networks.layers import Activation, Conv, chain
from ddcore.plugin import Centres, Reconstruct
from ddcore.types import DataCard, Draw, Group

CARD = DataCard("made", (2, 16, 8), 3, (9, 7, 8))
LITTLE = {
    **{"synthetic.width": 3, "synthetic.encoder": 4, "synthetic.training.steps": 3, "synthetic.training.batch": 60},
    "synthetic.stored": "images",
}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run_of(host, small, data, ipc=2, **overrides):
    said = {f"synthetic.{name}": value for name, value in overrides.items()}
    run = host.start(small(host.recipe("d4m", ipc=ipc, overrides={**LITTLE, **said})), data)
    run.start()
    return run


def autoencoder(plan=None, card=CARD):
    network = (plan or Centres(width=3, encoder=4)).autoencoder(card)
    params, buffers = network.init(torch.Generator().manual_seed(0))
    return Draw(network, {name: value.double() for name, value in params.items()}, buffers)


def trained(run):
    """The autoencoder of ``run`` once more, and all of T by class."""
    again = replace(run.ctx, gate=run.gate.with_streams(run.rng))
    run.rng.rewind()
    draw = run.recipe.synthetic.training.train(run.recipe.synthetic.autoencoder(run.card), again)
    rows = [run.gate.source.store.draw(torch.Generator(), (c,)) for c in range(run.card.classes)]
    return draw, [run.gate.source.take(r, None, Group()).inputs for r in rows]


def test_the_outputs_are_the_error_and_the_features_the_latent():
    draw, x = autoencoder(), normal(5, 2, 16, 8)
    p = draw.params
    h = F.avg_pool2d(F.leaky_relu(F.conv2d(x, p["encoder.0.weight"], p["encoder.0.bias"], padding=1), 0.01), 2)
    h = F.avg_pool2d(F.leaky_relu(F.conv2d(h, p["encoder.3.weight"], p["encoder.3.bias"], padding=1), 0.01), 2)
    latent = F.conv2d(h, p["encoder.6.weight"], p["encoder.6.bias"], padding=1)
    assert latent.shape == (5, 2, 4, 2)
    up = F.interpolate(latent, scale_factor=2, mode="bilinear", align_corners=False)
    up = F.leaky_relu(F.conv2d(up, p["decoder.1.weight"], p["decoder.1.bias"], padding=1), 0.01)
    up = F.interpolate(up, scale_factor=2, mode="bilinear", align_corners=False)
    image = F.conv2d(up, p["decoder.4.weight"], p["decoder.4.bias"], padding=1)
    assert torch.allclose(draw(x, features=True), latent.flatten(1))
    assert torch.allclose(draw(x), (x - image).flatten(1))
    assert p.keys() == {f"encoder.{i}.{w}" for i in (0, 3, 6) for w in ("weight", "bias")} | {
        f"decoder.{i}.{w}" for i in (1, 4) for w in ("weight", "bias")
    }
    assert draw.network.per_sample


def test_mean_square_is_one_number_an_item():
    outputs = normal(3, 4)
    slow = [sum(value**2 for value in row) / 4 for row in outputs.tolist()]
    assert mean_square(outputs, torch.tensor([0, 1, 2])).tolist() == pytest.approx(slow)


def test_one_step_of_training_is_adams_on_the_mean_error(host, small, tiny):
    run = run_of(host, small, tiny, **{"training.steps": 1, "training.lr": 0.02})
    found, classes = trained(run)
    fresh = host.start(run.recipe, tiny)
    draw = Draw(found.network, *found.network.init(fresh.rng["init"]))
    params = {name: value.double().requires_grad_() for name, value in draw.params.items()}
    draw(torch.cat(classes).double(), params).square().mean().backward()
    for name, value in params.items():
        step = 0.02 * value.grad / (value.grad.abs() + 1e-8)
        assert torch.allclose(found.params[name].double(), value.detach() - step, atol=1e-4), name


def test_training_lowers_the_error(host, small, tiny):
    def error(steps):
        draw, classes = trained(run_of(host, small, tiny, **{"training.steps": steps}))
        return float(draw(torch.cat(classes)).square().mean())

    assert error(120) < 0.6 * error(1)


def test_clusters_are_the_means_of_the_latents_nearest_to_them(host, small, tiny):
    run = run_of(host, small, tiny, ipc=4)
    draw, classes = trained(run)
    codes, again = run.recipe.synthetic.found(fresh_context(host, run, tiny))
    assert all(torch.equal(value, draw.params[name]) for name, value in again.params.items())
    for c, x in enumerate(classes):
        latents = draw(x, features=True).detach()
        centres = codes[4 * c : 4 * c + 4].flatten(1)
        nearest = (latents[:, None] - centres).square().sum(2).argmin(1)
        for i in range(4):
            assert torch.allclose(latents[nearest == i].mean(0), centres[i], atol=1e-4)


def fresh_context(host, run, data):
    """The context of ``run`` as it was before its first draw."""
    other = host.start(run.recipe, data)
    other._preprocess(run.preprocess)
    return other.ctx


def test_means_are_mean_latents_and_ask_no_single_item(host, small, tiny):
    run = run_of(host, small, tiny, ipc=1, centres="means")
    draw, classes = trained(run)
    codes, _ = run.recipe.synthetic.found(fresh_context(host, run, tiny))
    slow = torch.stack([draw(x, features=True).mean(0) for x in classes])
    assert torch.allclose(codes.flatten(1), slow, atol=1e-5)
    assert run.recipe.synthetic.asks == {"gradient", "features"}
    assert replace(run.recipe.synthetic, centres="clusters").asks == {"gradient", "examples"}


@pytest.mark.parametrize("stored", ["images", "codes"])
def test_s_is_what_the_decoder_makes_of_the_centres(host, small, tiny, stored):
    run = run_of(host, small, tiny, stored=stored)
    codes, draw = run.recipe.synthetic.found(fresh_context(host, run, tiny))
    slow = -draw(torch.zeros(1, 1, 8, 8))  # the error of nothing is what is made of its latent
    assert torch.allclose(slow.view(1, 1, 8, 8), decoded(draw, draw(torch.zeros(1, 1, 8, 8), features=True)), atol=1e-6)
    inputs, targets = run.synthetic.everything()
    assert torch.allclose(inputs, decoded(draw, codes.flatten(1)), atol=1e-6)
    each = len(inputs) // 3
    assert targets.tolist() == [0] * each + [1] * each + [2] * each
    if stored == "codes":
        order = torch.tensor([4, 0, 4])
        assert torch.allclose(run.synthetic.carrier(order), inputs[order], atol=1e-6)


def decoded(draw, latents):
    """The images (n, 1, 8, 8) of latents (n, 8), with the weights as the autoencoder names them."""
    p, h = draw.params, latents.view(-1, 2, 2, 2)
    for i in (0, 3):
        h = F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False)
        h = F.conv2d(h, p[f"decoder.{i + 1}.weight"], p[f"decoder.{i + 1}.bias"], padding=1)
        h = F.leaky_relu(h, 0.01) if i == 0 else h
    return h


def test_as_many_codes_as_fit_the_bytes_and_the_items():
    card = DataCard("made", (1, 16, 16), 10, (400,) * 10)
    for ipc in (1, 3):
        plan = Centres(ipc, stored="codes")
        module = plan.build(card)
        assert module.nbytes() <= 4 * ipc * 10 * 256 < module.nbytes() + 4 * 10 * 32
        assert module.nbytes() == sum(4 * value.numel() for value in module.latent().values())
    fewest = replace(card, counts=(5, *(400,) * 9))
    assert len(Centres(3, stored="codes").build(fewest).classes) == 50
    assert len(Centres(3, stored="codes", real=4).build(card).classes) == 40
    assert len(Centres(3, stored="codes", most=6).build(card).classes) == 60
    assert len(Centres(stored="codes", centres="means").build(card).classes) == 10
    images = Centres(3, stored="images", width=500).build(card)
    assert (len(images.classes), images.nbytes()) == (30, 4 * 30 * 256), "the decoder is not stored, so it may be wide"


def test_codes_can_be_learned_on_and_the_decoder_stands_still(host, small, tiny):
    dm = host.recipe("dm", ipc=2, iterations=2)
    said = Centres(2, stored="codes", width=3, encoder=4, training=Reconstruct(steps=2))
    run = host.start(small(dm, synthetic=said), tiny)
    run.start()
    assert run.synthetic.groups().keys() == {"inputs"}
    before = {name: value.clone() for name, value in run.synthetic.carrier.state_dict().items()}
    run.run_until()
    for name, value in run.synthetic.carrier.state_dict().items():
        assert torch.equal(value, before[name]) == (name != "codes"), name


def test_targets_are_what_a_network_says_that_was_trained_on_t(host, small, tiny):
    recipe = host.recipe("d4m", overrides={**LITTLE, "synthetic.training.steps": 200})
    distilled = host.distill(small(recipe, labels=Soft(Fit(lr=0.1))), tiny)
    assert torch.allclose(distilled.targets.sum(1), torch.ones(3))
    assert distilled.targets.argmax(1).tolist() == [0, 1, 2]
    assert float(distilled.targets.max()) < 1
    assert distilled.nbytes == 3 * 64 * 4 + 3 * 3 * 4


def test_decoders_take_weights_by_name():
    layers = chain(Conv(2, 3), Activation(), Conv(3, 1))
    weights = {}
    layers.init("decoder", torch.Generator().manual_seed(1), weights, {})
    two = Decoders(layers, 2)
    two.take(weights)
    x = torch.rand(4, 2, 5, 5)
    hidden = F.relu(F.conv2d(x, weights["decoder.0.weight"], weights["decoder.0.bias"], padding=1))
    slow = F.conv2d(hidden, weights["decoder.2.weight"], weights["decoder.2.bias"], padding=1)
    assert torch.allclose(two(x), slow[:, None].expand(4, 2, 1, 5, 5), atol=1e-6)


def test_a_start_is_told_and_is_not_made_again_on_resume(host, small, tiny):
    told = []
    run = host.start(small(host.recipe("d4m", ipc=2, overrides=LITTLE)), tiny)
    run.ctx = replace(run.ctx, progress=lambda *said: told.append(said))
    run.start()
    assert told == [("training the autoencoder", i, 3) for i in (1, 2, 3)]
    again = host.start(run.recipe, tiny)
    again.ctx = replace(again.ctx, progress=lambda *said: told.append(said))
    again.load_state_dict(run.state_dict())
    again.run_until()
    assert len(told) == 3
    assert torch.equal(again.export().inputs, run.export().inputs)


@pytest.mark.parametrize(
    ("plan", "card", "sentence"),
    [
        (lambda: Centres(2, centres="means"), CARD, r"one mean latent, which is one image; take ipc = 1"),
        (lambda: Centres(1, width=0), CARD, "width = 0: it must be at least 1"),
        (lambda: Centres(3, real=2), CARD, "real = 2: it must be at least ipc = 3"),
        (lambda: Centres(1, scale=3), CARD, "scale = 3: sides are doubled"),
        (lambda: Centres(1, scale=16), CARD, r"1/16 of their sides, but the items of made are \(2, 16, 8\)"),
        (lambda: Centres(1), replace(CARD, shape=(7,)), r"items of made are \(7,\)"),
        (lambda: Centres(8), CARD, r"ipc = 8 needs more real images than class 1 of made has \(7\)"),
        (lambda: Centres(1, width=40), CARD, "decoding takes"),
        (lambda: Reconstruct(steps=0), CARD, "steps = 0: it must be at least 1"),
    ],
)
def test_centres_that_cannot_be_are_refused_in_a_sentence(plan, card, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        plan().check(None, card, None)
