"""The kernel ridge family: free labels, kernels, ridge regression through the gate, pools of networks."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import ddcore
from ddcore import MLP, BadArtefact, DistilledSet, Draw, Host, LossDiverged, Protocol, RecipeRefused, Update
from ddcore.carriers.formation import Formation
from ddcore.carriers.pixels import Pixels
from ddcore.evaluation.scores import evaluate
from ddcore.evaluation.training import train
from ddcore.losses import LOSSES
from ddcore.networks.convnet import ConvNet
from ddcore.optimisers import Adam, Sgd
from ddcore.plugin import (
    ConvTangent,
    DenseTangent,
    Fresh,
    Hard,
    KernelRidge,
    Open,
    Pool,
    Random,
    Siamese,
    SideBySide,
    TangentRidge,
    Vectors,
    influences,
    kernel_regression,
)
from ddcore.preprocess import Standardise
from ddcore.schedules import Warm
from ddcore.tensors import LabelledTensors

PLAN = ConvNet(width=4, depth=2)


# --- labels ----------------------------------------------------------------------------------------------


def test_losses_are_one_number_an_item():
    outputs, targets = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs = list(zip(outputs, targets, strict=True))
    slow = [sum((float(f) - float(y)) ** 2 for f, y in zip(*row, strict=True)) / 2 for row in pairs]
    assert torch.allclose(LOSSES["squared"](outputs, targets), torch.tensor(slow, dtype=torch.float64))
    slow = [-sum(y * f.log_softmax(0)[i] for i, y in enumerate(t)) for f, t in pairs]
    assert torch.allclose(LOSSES["cross_entropy"](outputs, targets), torch.stack(slow))


@pytest.mark.parametrize(
    ("plan", "row"),
    [
        (Vectors(), [0, 1, 0]),
        (Vectors(scale=2, loss="squared"), [0, 2, 0]),
        (Vectors(scale=3, centred=True, loss="squared"), [-1, 2, -1]),
    ],
)
def test_vectors_start_as_the_class(plan, row, tiny):
    labels = plan.build(tiny.card, Pixels(2).build(tiny.card))
    index = torch.arange(6)
    targets = labels(index, torch.zeros(6, 1, 8, 8))
    assert targets[2].tolist() == targets[3].tolist() == pytest.approx(row)
    assert torch.equal(labels.encoded(torch.tensor([0, 0, 1, 1, 2, 2]), 3), targets)
    each = torch.vmap(lambda c: labels.encoded(c[None], 3)[0])(torch.tensor([0, 0, 1, 1, 2, 2]))
    assert torch.equal(each, targets), "a gate that clips single items asks under vmap"
    assert labels.groups()["labels"] == [labels.vectors]
    assert labels.loss is LOSSES[plan.loss]


def test_learned_vectors_are_stored_and_fixed_ones_follow_from_the_class(tiny):
    carrier = Pixels(2).build(tiny.card)
    tiled = Formation(2, factor=2).build(tiny.card)
    assert Vectors().build(tiny.card, carrier).nbytes() == 6 * 3 * 4
    fixed = Vectors(learned=False).build(tiny.card, carrier)
    assert fixed.nbytes() == 6
    assert not any(fixed.groups().values())
    assert Vectors(learned=False).build(tiny.card, tiled).nbytes() == 6
    assert Vectors().build(tiny.card, tiled).nbytes() == 24 * 3 * 4


def test_labels_that_no_loss_can_meet_are_refused():
    with pytest.raises(RecipeRefused, match=r"sum to zero, which no cross-entropy can meet: take labels.loss"):
        Vectors(centred=True)
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(RecipeRefused, match="scale = .*: it must be .*above 0"):
            Vectors(scale=scale)


def a_set(tiny, targets, loss):
    inputs = tiny.train.inputs[: len(targets)] / 255
    return DistilledSet(LabelledTensors(inputs, targets, loss), tiny.card, "made", "", 4000)


def test_the_artefact_says_which_loss_its_targets_are_for(tiny, tmp_path, host, small):
    targets = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    path = a_set(tiny, targets, "squared").save(tmp_path / "set.safetensors")
    assert DistilledSet.load(path).loss == "squared"
    with pytest.raises(BadArtefact, match="its loss 'squared' wants one row of label values per item"):
        DistilledSet.load(a_set(tiny, torch.zeros(5, dtype=torch.int64), "squared").save(path))
    for labels in (Vectors(loss="squared"), Vectors()):
        recipe = small(host.recipe("dc", iterations=1), labels=labels)
        recipe = replace(recipe, update=Update(lr={"inputs": 0.1, "labels": 0.1}))
        assert host.distill(recipe, tiny).loss == labels.loss


def test_a_file_of_before_there_was_a_loss_still_loads(tiny, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = a_set(tiny, torch.zeros(5, dtype=torch.int64), "cross_entropy").save(tmp_path / "set.safetensors")
    with safe_open(path, framework="pt") as file:
        card = file.metadata()["ddcore"].replace('"format": 4', '"format": 1')
    assert '"loss": "cross_entropy", ' in card
    save_file(load_file(path), path, {"ddcore": card.replace('"loss": "cross_entropy", ', "")})
    assert DistilledSet.load(path).loss == "cross_entropy"
    save_file(load_file(path), path, {"ddcore": card.replace('"loss": "cross_entropy"', '"loss": "hinge"')})
    with pytest.raises(BadArtefact, match="card of .* is damaged"):
        DistilledSet.load(path)


@pytest.mark.parametrize("loss", LOSSES)
def test_evaluation_trains_with_the_loss_of_the_targets(loss, tiny):
    """One step of plain SGD, net by net, against the formula."""
    training = a_set(tiny, torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).abs(), loss)
    protocol = Protocol(steps=1, optimiser=Sgd(momentum=0), lr=(0.1,), augment=None)
    network = PLAN.build(tiny.card)
    draw = train(network, training, tiny.card, protocol, 0.1, [0, 1], 0, torch.device("cpu"))
    still = train(network, training, tiny.card, protocol, 0.0, [0, 1], 0, torch.device("cpu"))
    for i in (0, 1):
        params = {name: value[i].clone().requires_grad_() for name, value in still.params.items()}
        logits = network(params, {}, training.inputs)
        if loss == "squared":
            value = ((logits - training.targets) ** 2).sum(1).mean() / 2
        else:
            value = -(training.targets * logits.log_softmax(1)).sum(1).mean()
        value.backward()
        for name, p in params.items():
            assert torch.allclose(draw.params[name][i], (p - 0.1 * p.grad).detach(), atol=1e-6), name


def test_squared_targets_teach_a_network_and_the_cross_entropy_would_not(tiny):
    """Targets whose largest entry is the class, but below zero: only their own loss can use them."""
    targets = 3 * (F.one_hot(tiny.train.targets, 3) - 1.0)
    whole = DistilledSet(
        LabelledTensors((tiny.train.inputs / 255 - 0.4) / 0.3, targets, "squared"), tiny.card, "made", "", 4000
    )
    protocol = Protocol(steps=60, lr=(5e-3,), repeats=2, networks=(PLAN,), augment=None)
    fitted = Standardise().start(tiny.card, dict)
    assert evaluate(whole, tiny, fitted, protocol)["accuracy"]["convnet"].mean > 80
    assert (
        evaluate(replace(whole, tensors=replace(whole.tensors, loss="cross_entropy")), tiny, fitted, protocol)[
            "accuracy"
        ]["convnet"].mean
        < 50
    )


def test_the_rate_warms_up_and_cools_down(tiny, monkeypatch):
    rates = []
    rate = Warm.rate
    monkeypatch.setattr(Warm, "rate", lambda *given: rates.append(rate(*given)) or rates[-1])
    protocol = ddcore.protocol("frepo", steps=8, batch=8, repeats=1)
    training = a_set(tiny, torch.tensor([0, 1, 2]), "cross_entropy")
    train(PLAN.build(tiny.card), training, tiny.card, protocol, 1.0, [0], 0, torch.device("cpu"))
    assert (ddcore.protocol("frepo").steps, protocol.optimiser, protocol.lr, protocol.augment) == (
        1000,
        Adam(),
        (3e-4,),
        Siamese(),
    )
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])


def test_labels_that_leave_their_range_are_named_with_their_rate(host, small, tiny):
    recipe = small(host.recipe("dc", iterations=3), labels=Vectors())
    run = host.start(
        replace(recipe, update=Update(lr={"inputs": 0.1, "labels": 3e38}, optimiser=Sgd(momentum=0.9))),
        tiny,
    )
    with pytest.raises(LossDiverged, match=r"no longer finite in its labels at step .* smaller update\.lr\.labels"):
        run.run_until()
    assert torch.isfinite(run.synthetic.carrier.pixels).all()


# --- kernels ---------------------------------------------------------------------------------------------


def items(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relu_of(sxy, sxx, syy):
    """E relu(a) relu(b) and P(a > 0, b > 0) of a Gaussian pair with these covariances."""
    cosine = min(1.0, max(-1.0, sxy / math.sqrt(sxx * syy)))
    angle = math.acos(cosine)
    product = math.sqrt(sxx * syy) * (math.sin(angle) + (math.pi - angle) * cosine) / (2 * math.pi)
    return product, (math.pi - angle) / (2 * math.pi)


def dense_slowly(x, y, depth, bias):
    """(covariance, tangent) of one pair of items, layer by layer."""
    d, b = len(x), bias**2
    sxy, sxx, syy = (2 * sum(p * q for p, q in zip(a, c, strict=True)) / d + b for a, c in ((x, y), (x, x), (y, y)))
    tangent = sxy
    for _ in range(depth):
        (hxy, slope), (hxx, _), (hyy, _) = relu_of(sxy, sxx, syy), relu_of(sxx, sxx, sxx), relu_of(syy, syy, syy)
        sxy, sxx, syy = 2 * hxy + b, 2 * hxx + b, 2 * hyy + b
        tangent = sxy + 2 * tangent * slope
    return tangent


def conv_slowly(x, y, depth, bias):
    """The tangent kernel of one pair of images (c, h, w), position by position."""
    (c, h, w), b = x.shape, bias**2
    places = [(i, j) for i in range(h) for j in range(w)]

    def mean(of):
        near = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        return {(i, j): sum(of.get((i + p, j + q), 0.0) for p, q in near) / 9 for i, j in places}

    def linear(of):
        return {p: 2 * value + b for p, value in mean(of).items()}

    def product(u, v):
        return {(i, j): sum(float(u[k, i, j] * v[k, i, j]) for k in range(c)) / c for i, j in places}

    sxy, sxx, syy = linear(product(x, y)), linear(product(x, x)), linear(product(y, y))
    tangent = sxy
    for layer in range(depth):
        made = {p: relu_of(sxy[p], sxx[p], syy[p]) for p in places}
        hidden, passed = {p: m[0] for p, m in made.items()}, {p: tangent[p] * m[1] for p, m in made.items()}
        if layer == depth - 1:
            return 2 * sum(hidden.values()) / (h * w) + b + 2 * sum(passed.values()) / (h * w)
        sxx, syy = (linear({p: relu_of(s[p], s[p], s[p])[0] for p in places}) for s in (sxx, syy))
        sxy, through = linear(hidden), mean(passed)
        tangent = {p: sxy[p] + 2 * through[p] for p in places}
    raise AssertionError


@pytest.mark.parametrize(("depth", "bias"), [(1, 0.1), (3, 0.0), (2, 0.5)])
def test_kernels_are_the_arc_cosine_forms(depth, bias):
    x, y = items(3, 2, 3, 4), items(2, 2, 3, 4, seed=1)
    dense, conv = DenseTangent(depth, bias), ConvTangent(depth, bias)
    for kernel, slowly, flat in ((dense, dense_slowly, True), (conv, conv_slowly, False)):
        for a, b in ((x, y), (x, x)):
            slow = [[slowly(*((u.flatten(), v.flatten()) if flat else (u, v)), depth, bias) for v in b] for u in a]
            slow = torch.tensor([[float(value) for value in row] for row in slow], dtype=torch.float64)
            assert torch.allclose(kernel(a, b), slow, rtol=1e-7)
    assert kernel(x.float(), y.float()).dtype == torch.float64


def empirical(kernel, x, width, seed):
    """The inner products of the gradients of one drawn network of ``width``, (n, n)."""
    generator = torch.Generator().manual_seed(seed)
    conv = isinstance(kernel, ConvTangent)
    into = x.shape[1] if conv else x[0].numel()
    params = []
    for _ in range(kernel.depth):
        params += [
            torch.randn((width, into, *((3, 3) if conv else ())), generator=generator, dtype=torch.float64),
            torch.randn(width, generator=generator, dtype=torch.float64),
        ]
        into = width
    last = width * (x.shape[2] * x.shape[3] if conv else 1)
    params += [
        torch.randn(last, generator=generator, dtype=torch.float64),
        torch.randn(1, generator=generator).double(),
    ]

    def network(params, x):
        h = x if conv else x.flatten(1)
        for weight, bias in zip(params[:-2:2], params[1:-2:2], strict=True):
            weight = weight * (2 / weight[0].numel()) ** 0.5
            h = F.conv2d(h, weight, kernel.bias * bias, padding=1) if conv else h @ weight.T + kernel.bias * bias
            h = h.relu()
        return h.flatten(1) @ params[-2] * (2 / last) ** 0.5 + kernel.bias * params[-1]

    rows = torch.func.jacrev(network)(params, x)
    return sum(j.flatten(1) @ j.flatten(1).T for j in rows)


@pytest.mark.parametrize("ridge", [1e-3, 0.5])
def test_kernel_regression_is_that_of_scikit_learn(ridge):
    from sklearn.kernel_ridge import KernelRidge as Theirs

    generator = torch.Generator().manual_seed(0)
    items, targets, x = (torch.randn(n, k, generator=generator) for n, k in ((12, 5), (12, 2), (7, 5)))
    kernel = DenseTangent(depth=2)
    found = kernel_regression(kernel, items, targets, ridge)
    theirs = Theirs(alpha=float(ridge * kernel(items, items).diagonal().mean()), kernel="precomputed")
    theirs.fit(kernel(items, items).numpy(), targets.double().numpy())
    torch.testing.assert_close(found(x), torch.from_numpy(theirs.predict(kernel(x, items).numpy())))
    torch.testing.assert_close(found(x, features=True), kernel(x, items))


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_an_influence_is_what_leaving_the_item_out_takes(ridge):
    """Of a ridge regression the change is known exactly: the influence, over one less the item's leverage."""
    generator = torch.Generator().manual_seed(0)
    z, y = (torch.randn(30, n, dtype=torch.float64, generator=generator) for n in (5, 1))
    x = torch.randn(5, dtype=torch.float64, generator=generator)
    gram = z.T @ z
    shifted = gram + ridge * gram.diagonal().mean() * torch.eye(5)
    weights = torch.linalg.solve(shifted, z.T @ y)
    found = influences(x, z, (y - z @ weights)[:, 0], ridge)
    for i, row in enumerate(z):
        without = torch.linalg.solve(shifted - row[:, None] * row, z.T @ y - row[:, None] * y[i])
        leverage = row @ torch.linalg.solve(shifted, row)
        torch.testing.assert_close(float(x @ (weights - without)), float(found[i] / (1 - leverage)))


@pytest.mark.parametrize("kernel", [DenseTangent(2, 0.3), ConvTangent(2, 0.3)])
def test_wide_networks_come_to_the_tangent_kernel(kernel):
    x = items(4, 2, 4, 4)
    exact = kernel(x, x)
    errors = {
        width: sum(float((empirical(kernel, x, width, s) - exact).norm() / exact.norm()) for s in range(12)) / 12
        for width in (8, 64, 512)
    }
    assert errors[64] < 0.8 * errors[8]
    assert errors[512] < 0.8 * errors[64]
    assert errors[512] < 0.2


@pytest.mark.parametrize("kernel", [DenseTangent(2), ConvTangent(2), DenseTangent(1, 0.0)])
def test_kernels_are_smooth_in_both_items_and_safe_where_they_meet(kernel):
    x, y = items(2, 1, 3, 3).requires_grad_(), items(3, 1, 3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(kernel, (x, y))
    assert torch.autograd.gradcheck(lambda x: kernel(x, x), x), "the diagonal, where the correlation is 1"
    twice = torch.cat([x, x, -x]).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(kernel(twice, twice).sum(), twice)
    assert gradient.isfinite().all()
    nothing = torch.zeros(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(kernel(nothing, x).sum(), nothing)
    assert gradient.isfinite().all()


def test_bad_kernels_are_refused(tiny):
    with pytest.raises(RecipeRefused, match="depth = 0: it must be at least 1"):
        DenseTangent(depth=0)
    with pytest.raises(RecipeRefused, match="bias = -0.1: it must be at least 0"):
        ConvTangent(bias=-0.1)
    recipe = replace(Host().recipe("kip"), objective=TangentRidge(kernel=ConvTangent()), augment=None, network=MLP())
    with pytest.raises(RecipeRefused, match=r"objective.kernel = conv_tangent is for items of the kind image"):
        recipe.check(replace(tiny.card, shape=(64,), kind="vector"), Host().catalogue)


# --- ridge regression ------------------------------------------------------------------------------------

FREE = Vectors(scale=2.0, centred=True, loss="squared")
PLATT = replace(FREE, temperature=3.0)
RATES = Update(lr={"inputs": 0.1, "labels": 0.1}, optimiser=Adam(betas=(0.5, 0.999)))


def run_of(host, tiny, objective, labels=FREE, policy=None, flips=False, **fields):
    """A run of frepo's parts on the whole of T, with S and its labels drawn at random."""
    rates = dict.fromkeys(("inputs", *(["labels"] if labels.learned else [])), 0.1)
    rates |= {"temperature": 0.1} if labels.temperature else {}
    recipe = replace(host.recipe("frepo", ipc=2, iterations=4), objective=objective, labels=labels, network=PLAN)
    recipe = replace(
        recipe,
        policy=policy or Fresh(),
        update=Update(lr=rates, optimiser=Adam(betas=(0.5, 0.999))),
        **fields,
    )
    data = replace(tiny, card=replace(tiny.card, flips=flips))
    run = host.start(recipe, data)
    run.start()
    with torch.no_grad():
        for i, parameter in enumerate(run.synthetic.parameters()):
            parameter.add_(0.1 * items(*parameter.shape, seed=i) if parameter.ndim else 0)
    return run


def direct(run, data, answers, flip=False):
    """The loss on T written out, and S's tensors in float64 that it hangs on; ``answers`` fits a predictor."""
    x = run.synthetic.carrier.pixels.detach().double().requires_grad_()
    y = run.synthetic.labels.vectors.detach().double().requires_grad_()
    tau = run.synthetic.labels.log_temperature
    tau = None if tau is None else tau.detach().double().requires_grad_()
    seen, labels = (torch.cat([x, x.flip(3)]), torch.cat([y, y])) if flip else (x, y)
    real = run.preprocess(data.train.inputs.double() / 255)
    found = answers(seen, labels, real)
    if tau is None:
        wanted = 2.0 * (F.one_hot(data.train.targets, 3) - 1 / 3)
        loss = ((found - wanted) ** 2).sum(1).mean() / 2
    else:
        loss = F.cross_entropy(tau.exp() * found, data.train.targets)
    leaves = {"pixels": x, "labels": y} | ({} if tau is None else {"temperature": tau})
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def ridge_answers(kernel, ridge):
    def answers(x, y, real):
        k = kernel(x, x)
        shifted = k + ridge * k.trace() / len(k) * torch.eye(len(k), dtype=torch.float64)
        return kernel(real, x) @ torch.linalg.inv(shifted) @ y

    return answers


def written(run, draw):
    (told,) = run.recipe.objective.accumulate(draw, run.synthetic, run.ctx)
    found = {"pixels": run.synthetic.carrier.pixels.grad, "labels": run.synthetic.labels.vectors.grad}
    if run.synthetic.labels.log_temperature is not None:
        found["temperature"] = run.synthetic.labels.log_temperature.grad
    return told, {name: value.double() for name, value in found.items()}


def agree(found, wanted, rtol):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert float(value.norm()) > 0
        assert float((found[name] - value).norm() / value.norm()) < rtol, name


@pytest.mark.parametrize("labels", [FREE, PLATT], ids=["squared", "platt"])
@pytest.mark.parametrize("flip", [False, True])
def test_ridge_through_the_gate_is_the_loss_on_raw_examples(host, tiny, labels, flip):
    run = run_of(host, tiny, KernelRidge(real=60, ridge=1e-2, flip=flip), labels, flips=flip)
    assert run.recipe.objective.flip == flip
    draw = run.ctx.fresh()
    at = Draw(draw.network, {name: value.double() for name, value in draw.params.items()}, {})

    def kernel(a, b):
        return at(a, features=True) @ at(b, features=True).T

    agree(written(run, draw)[1], direct(run, tiny, ridge_answers(kernel, 1e-2), flip), 1e-4)


@pytest.mark.parametrize("labels", [FREE, PLATT], ids=["squared", "platt"])
@pytest.mark.parametrize("kernel", [DenseTangent(2), ConvTangent(2)])
def test_tangent_ridge_through_the_gate_is_the_loss_on_raw_examples(host, tiny, labels, kernel):
    run = run_of(host, tiny, TangentRidge(real=60, ridge=1e-3, kernel=kernel), labels)
    agree(written(run, run.ctx.fresh())[1], direct(run, tiny, ridge_answers(kernel, 1e-3)), 1e-4)


def test_what_is_told_is_the_norm_of_the_gates_answer(host, tiny, monkeypatch):
    run = run_of(host, tiny, KernelRidge(real=60))
    answers = []
    gradient = run.gate.gradient
    monkeypatch.setattr(run.gate, "gradient", lambda *asked: answers.append(gradient(*asked)) or answers[-1])
    told, _ = written(run, run.ctx.fresh())
    centres = answers[0][0]["centres"]
    assert centres.shape == (3, 4 * 2 * 2)
    assert told == pytest.approx(float(centres.norm()))


def test_chunks_of_t_change_nothing(host, tiny):
    found = []
    for max_bytes in (1, 2**23):
        run = run_of(host, tiny, TangentRidge(real=60, kernel=ConvTangent(1)), gate=Open(max_bytes))
        found.append(written(run, run.ctx.fresh())[1])
    agree(found[0], found[1], 1e-5)


def test_labels_of_every_kind_can_be_regressed(host, small, tiny):
    recipe = small(host.recipe("frepo", iterations=2), labels=Hard(), update=Update(lr={"inputs": 0.1}))
    run = host.start(recipe, tiny)
    run.run_until()
    assert run.export().targets.tolist() == [0, 1, 2]
    fixed = replace(recipe, synthetic=Random(1), labels=FREE, update=Update(lr={"labels": 0.1}))
    run = host.start(fixed, tiny)
    run.start()
    before = run.synthetic.everything()
    run.run_until()
    assert torch.equal(run.synthetic.everything()[0], before[0]), "only the labels are learned"
    assert not torch.equal(run.synthetic.everything()[1], before[1])


CARRIERS = {
    "dm": {},
    "fred": {},
    "idm": {},
    "it_gan": {"synthetic.size": 3, "synthetic.channels": 2, "synthetic.width": 3, "synthetic.training": "none"},
    "kfs": {"synthetic.width": 3, "synthetic.fit": 3},
    "rtp": {},
}


@pytest.mark.parametrize("name", CARRIERS)
def test_ridge_learns_whatever_images_are_made_of(host, small, tiny, name):
    """``--set objective.name=kernel_ridge`` in any carrier: all that it stores follows the loss on T."""
    ridge = {"objective.name": "kernel_ridge", "policy.name": "fresh", **CARRIERS[name]}
    run = host.start(small(host.recipe(name, ipc=2, iterations=2, overrides=ridge)), tiny)
    run.start()
    before = {group: [p.detach().clone() for p in held] for group, held in run.synthetic.groups().items()}
    run.run_until()
    for group, held in run.synthetic.groups().items():
        for p, was in zip(held, before[group], strict=True):
            assert p.isfinite().all()
            assert not torch.equal(p, was), group


def test_mirrored_items_are_left_out_where_they_could_change_a_label(host, tiny):
    assert host.recipe("frepo").objective.flip
    assert not host.recipe("frepo").fitted(tiny.card).objective.flip
    assert host.recipe("frepo").fitted(replace(tiny.card, flips=True)).objective.flip


def test_a_kernel_that_cannot_be_inverted_says_what_helps(host, tiny):
    run = run_of(host, tiny, KernelRidge(real=4, ridge=0.0))
    with torch.no_grad():
        run.synthetic.carrier.pixels[:] = run.synthetic.carrier.pixels[:1]
    sentence = r"kernel of S cannot be inverted at step 1: .*larger objective.ridge \(now 0.0\)"
    with pytest.raises(LossDiverged, match=sentence):
        run.run_until()
    with torch.no_grad():
        run.synthetic.carrier.pixels[0] = 1e38
    with pytest.raises(LossDiverged, match=sentence):
        run.run_until()
    for bad in (-1e-6, float("nan"), float("inf")):
        with pytest.raises(RecipeRefused, match="ridge = .*: it must be .*at least 0"):
            KernelRidge(ridge=bad)
    with pytest.raises(RecipeRefused, match="real = 0: it must be at least 1"):
        TangentRidge(real=0)
    for bad in (0.0, -1.0, float("inf")):
        with pytest.raises(RecipeRefused, match="temperature = .*: it must be .*above 0"):
            Vectors(temperature=bad)


# --- networks side by side and pools -----------------------------------------------------------------------


def test_networks_side_by_side_have_the_mean_of_their_kernels(host, tiny):
    run = run_of(host, tiny, KernelRidge(real=60, ridge=1e-2), PLATT, policy=SideBySide(3))
    state = run.rng["nets"].get_state()
    draw = run.recipe.policy.draw({}, run.synthetic, run.ctx)
    run.rng["nets"].set_state(state)
    nets = [run.ctx.fresh() for _ in range(3)]
    x, y = items(4, 1, 8, 8).float(), items(5, 1, 8, 8, seed=1).float()
    mean = sum(net(x, features=True) @ net(y, features=True).T for net in nets) / 3
    assert torch.allclose(draw(x, features=True) @ draw(y, features=True).T, mean, atol=1e-5)
    assert torch.allclose(draw(x), sum(net(x) for net in nets) / 3, atol=1e-5)
    doubled = [Draw(net.network, {name: value.double() for name, value in net.params.items()}, {}) for net in nets]

    def kernel(a, b):
        return sum(at(a, features=True) @ at(b, features=True).T for at in doubled) / 3

    agree(written(run, draw)[1], direct(run, tiny, ridge_answers(kernel, 1e-2)), 1e-4)
    with pytest.raises(RecipeRefused, match="networks = 0: it must be at least 1"):
        SideBySide(0)


def test_a_network_of_the_pool_is_trained_on_s_after_each_step_and_replaced_when_old(host, tiny):
    run = run_of(host, tiny, KernelRidge(real=4), policy=Pool(networks=1, age=2, lr=0.01))
    state = {}
    first = run.recipe.policy.draw(state, run.synthetic, run.ctx)
    params = {name: value.clone().requires_grad_() for name, value in first.params.items()}
    optimiser = torch.optim.Adam(params.values(), lr=0.01)
    inputs, targets = (t.detach() for t in run.synthetic.everything())
    for age in (1, 2):
        draw = run.recipe.policy.draw(state, run.synthetic, run.ctx)
        optimiser.zero_grad()
        (((draw.network(params, {}, inputs) - targets) ** 2).sum(1).mean() / 2).backward()
        optimiser.step()
        if age == 1:
            assert draw.age == 1
            for name, value in params.items():
                if (
                    "0.bias" not in name and "4.bias" not in name
                ):  # before an instance norm: rounding that Adam blows up
                    assert torch.allclose(draw.params[name], value, atol=1e-5), name
    assert draw.age == 0, "grown up, and replaced"
    assert not torch.allclose(draw.params["head.weight"], params["head.weight"], atol=1e-2)


def test_all_of_a_pool_are_drawn(host, tiny):
    run = run_of(host, tiny, KernelRidge(real=4), policy=Pool(networks=3, age=50))
    state, seen = {}, []
    for _ in range(30):
        run.recipe.policy.draw(state, run.synthetic, run.ctx)
        seen.append(state["used"])
    assert {seen.count(place) > 3 for place in range(3)} == {True}
    assert [member["age"] for member in state["pool"]] == [seen[:-1].count(place) for place in range(3)]
    for fields in ({"networks": 0}, {"age": 0}, {"batch": 0}, {"lr": 0.0}):
        with pytest.raises(RecipeRefused, match="= 0.*: it must be (at least 1|above 0)"):
            Pool(**fields)
