"""The plain path: each step written as its formula reads, with ordinary modules and nothing clever.

It is the oracle of the fast path and what benchmarks are measured against: whole class batches at once, one
graph over all classes, a loader for training, one net after another. Only the drawing of networks, rows and
augmentations goes through the run's own streams, so that both paths see the same numbers.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from ddcore.rng import Streams
from ddcore.schedules import Cosine, Half


def convnet(shape, classes, width, depth, norm="instance"):
    """ConvNet with instance norm or batch norm, as an ordinary module."""
    layers, channels, side = [], shape[0], shape[1]
    for i in range(depth):
        padding = 3 if i == 0 and shape == (1, 28, 28) else 1
        layers += [
            nn.Conv2d(channels, width, 3, padding=padding),
            nn.BatchNorm2d(width) if norm == "batch" else nn.GroupNorm(width, width),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
        side = (side + 2 * (padding - 1)) // 2
        channels = width
    return nn.Sequential(nn.Sequential(*layers, nn.Flatten()), nn.Linear(width * side * side, classes))


def module_of(run, params):
    """The run's network as a module with the drawn parameters, taken over in order."""
    plan = run.recipe.network
    net = convnet(run.card.shape, run.card.classes, plan.width, plan.depth, plan.norm)
    own = list(net.parameters())
    assert [tuple(p.shape) for p in own] == [tuple(p.shape) for p in params.values()]
    with torch.no_grad():
        for parameter, value in zip(own, params.values(), strict=True):
            parameter.copy_(value)
    return net.to(run.device)


def real_batch(run, store, c, size):
    """Items of class ``c`` in the run's own draw, as the network takes them; ``store`` lies on the run's device."""
    batch = store.take(store.draw(run.rng["real"], (c,), size))
    return run.preprocess(batch.inputs), batch.targets


def dm_loss(run, store, pixels):
    """Distribution matching, one graph over the classes."""
    draw = run.ctx.fresh()
    net = module_of(run, draw.params)
    embed = net[0]
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    views = [run.ctx.transform() for _ in range(run.card.classes)]
    loss = torch.zeros((), device=run.device)
    for c, view in enumerate(views):
        inputs, _ = real_batch(run, store, c, run.recipe.objective.real)
        real = embed(view(inputs)).detach()
        synthetic = embed(view(pixels[run.synthetic.carrier.classes == c]))
        loss = loss + ((real.mean(0) - synthetic.mean(0)) ** 2).sum()
    return loss


def filter_cosine(synthetic, real, eps=1e-6):
    """Sum over weights of two and more dimensions, and over their output filters, of 1 - cosine."""
    total = torch.zeros((), device=synthetic[0].device)
    for s, t in zip(synthetic, real, strict=True):
        if s.ndim >= 2:
            s, t = s.flatten(1), t.flatten(1)
            total = total + (1 - (s * t).sum(1) / (s.norm(dim=1) * t.norm(dim=1) + eps)).sum()
    return total


def dc_loss(run, store, pixels):
    """Gradient matching, one graph over the classes."""
    net = module_of(run, run.recipe.policy.draw(run.policy, run.synthetic, run.ctx).params)
    views = [run.ctx.transform() for _ in range(run.card.classes)]
    loss = torch.zeros((), device=run.device)
    for c, view in enumerate(views):
        inputs, targets = real_batch(run, store, c, run.recipe.objective.real)
        parameters = list(net.parameters())
        real = torch.autograd.grad(F.cross_entropy(net(view(inputs)), targets), parameters)
        mine = run.synthetic.carrier.classes == c
        value = F.cross_entropy(net(view(pixels[mine])), run.synthetic.labels.targets[mine])
        synthetic = torch.autograd.grad(value, parameters, create_graph=True)
        loss = loss + filter_cosine(synthetic, [g.detach() for g in real])
    return loss


def sre2l_loss(run, store, pixels):
    """Statistics under a teacher, read by hooks on its BatchNorm layers; one graph over the batches."""
    objective = run.recipe.objective
    draw = run.recipe.policy.draw(run.policy, run.synthetic, run.ctx)
    net = module_of(run, draw.params).eval().requires_grad_(False)
    running = list(draw.buffers.values())
    apart = []

    def hook(mean, var, weight):
        def seen(module, inputs):
            (x,) = inputs
            apart.append(weight * (x.mean((0, 2, 3)) - mean).norm())
            apart.append(weight * (x.var((0, 2, 3), correction=0) - var).norm())

        return seen

    layers = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for i, layer in enumerate(layers):
        layer.running_mean, layer.running_var = running[2 * i], running[2 * i + 1]
        weight = objective.weight * (objective.first if not i else 1)
        layer.register_forward_pre_hook(hook(layer.running_mean, layer.running_var, weight))
    classes = run.synthetic.carrier.classes
    order = torch.arange(len(pixels)).view(run.card.classes, -1).T.flatten()
    loss = torch.zeros((), device=run.device)
    for rows in order.chunk(-(-len(order) // objective.batch)):
        loss = loss + F.cross_entropy(net(run.ctx.transform(len(rows))(pixels[rows])), classes[rows])
    return loss + sum(apart)


def step(loss_of):
    """A whole update of S, written plainly."""

    def plain_step(run, store):
        pixels = run.synthetic.carrier.pixels
        run.optimiser.zero_grad()
        loss_of(run, store, pixels).backward()
        run.optimiser.step()

    return plain_step


def train(plan, training, protocol, card, lr, net, seed, device="cpu"):
    """One fresh net trained alone, from loaders."""
    rng = Streams(seed)
    params, _ = plan.build(card).init(rng[f"net/{net}"])
    module = convnet(card.shape, card.classes, plan.width, plan.depth)
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), params.values(), strict=True):
            parameter.copy_(value)
    module.to(device)
    items = TensorDataset(*training.take(torch.arange(len(training))))
    optimiser = protocol.optimiser.build((module.parameters(), lr))
    steps, done = protocol.length(len(training)), 0
    while done < steps:
        order = torch.randperm(len(items), generator=rng[f"order/{net}"]).split(protocol.batch)
        for inputs, targets in DataLoader(items, batch_sampler=[rows.tolist() for rows in order]):
            if done == steps:
                break
            inputs, targets = inputs.to(device), targets.to(device)
            if protocol.schedule == Half() and done == steps // 2:
                optimiser = protocol.optimiser.build((module.parameters(), lr / 10))
            elif protocol.schedule == Cosine():
                for group in optimiser.param_groups:
                    group["lr"] = lr * (1 + math.cos(math.pi * done / steps)) / 2
            if protocol.augment is not None:
                inputs = protocol.augment.draw(rng[f"augment/{net}"], card.shape, n=len(inputs))(inputs)
            optimiser.zero_grad()
            F.cross_entropy(module(inputs), targets).backward()
            optimiser.step()
            done += 1
    return module


def accuracy(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    device = next(module.parameters()).device
    loader = DataLoader(TensorDataset(inputs, targets), 256)
    with torch.no_grad():
        right = sum(int((module(x.to(device)).argmax(1) == y.to(device)).sum()) for x, y in loader)
    return 100 * right / len(targets)


STEPS = {"dm": step(dm_loss), "dc": step(dc_loss), "dsa": step(dc_loss), "sre2l": step(sre2l_loss)}
