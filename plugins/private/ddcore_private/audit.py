"""The audit: what a distilled set betrays about who was in T."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from sklearn.metrics import auc, roc_curve
from torch import Tensor

from ddcore import plugin as dd
from ddcore_private.dp_sgd import DpSgd

RATES = (0.001, 0.01)
"""False positive rates at which the true positive rate is told."""

SPACES = ("pixels", "features")

SHADOW = "shadow.safetensors"
"""Where a case keeps its scaled logits and distances."""

DP_SGD = "dp_sgd"
"""The control that is no method: networks trained by opacus."""
AGAIN = "Remove the folder of this case: the same command runs it again."

COPY = 1 / 255
"""Root mean square distance per pixel below which a synthetic image counts as a copy."""


@dataclass(frozen=True)
class Audit(dd.Study):
    """Membership inference over shadow distillations (LiRA), and distances to the nearest real items.

    Each shadow distillation sees another random half of T. Networks are trained on the results, and every item of T,
    not only those that resemble S, is scored by its scaled logit log(p_y / (1 - p_y)). For each item and each shadow
    the other shadows with and without it give two Gaussians; the log ratio of their densities is the attack's score. It
    reports the true positive rate at 0.1 % and 1 % false positives, and the area under the curve. Distances from each
    synthetic image to the nearest item of its half and to the nearest of the other half are compared, in pixels and in
    features of a network: a ratio of 1 says that S is no nearer to what it saw.

    **Reference**: Carlini et al., S&P 2022, Algorithm 1, with one variance for all items, as they advise for few
    shadows.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"controls", "shadows"})

    data: dd.DataSet = field(default_factory=dd.Digits)
    """The data whose halves are distilled."""
    method: str = "dm"
    """The method that is audited."""
    ipc: dd.Count = 1
    """Images per class."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipe by dotted path, ``plugins.private.epsilon`` among them."""
    shadows: dd.Count = 16
    """Shadow distillations, an even number of at least 4."""
    protocol: dd.Protocol = field(default_factory=lambda: dd.Protocol(repeats=1))
    """How networks are trained on each result."""
    controls: tuple[Literal["random", "dp_sgd"], ...] = ("random", "dp_sgd")
    """What the method is compared with: ``random``, as many real items, unchanged (a planted leak); ``dp_sgd``,
    networks trained on each half by opacus."""
    dp_sgd: DpSgd = field(default_factory=DpSgd)
    """How opacus trains."""
    epsilon: dd.Positive = 8.0
    """Epsilon of DP-SGD."""
    delta: dd.OpenShare = 1e-5
    """Delta of DP-SGD."""
    seed: dd.Whole = 0
    """Seed of halves, distillations and networks."""

    def faults(self) -> Iterator[str]:
        if self.shadows < 4 or self.shadows % 2:
            yield f"shadows = {self.shadows}: it must be an even number of at least 4"

    def cases(self, host: dd.Host) -> list[dd.Case]:
        names = dict.fromkeys((self.method, *self.controls))
        for name in names.keys() - {DP_SGD}:
            self._recipe(name, self.data.item_kind(), host)
        return [dd.Case(name, self.seed + t, {"set": name}) for name in names for t in range(self.shadows)]

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        """One shadow: what the audit needs of it are tensors, in a file of their own."""
        data, name, t = dd.loaded(self.data), case.description["set"], (case.seed or 0) - self.seed
        member = halves(len(data.train), self.shadows, self.seed)[t]
        half = data.subset(member.nonzero().flatten())
        where = torch.device(device)
        if name == DP_SGD:
            told = self._dp_sgd(data, half, t, where)
        else:
            told = self._distilled(name, data, half, t, member, host, where)
        accuracy = float(told.pop("accuracy"))
        dd.write_tensors(folder / SHADOW, told)
        return {"accuracy": accuracy}

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        judgements = {}
        for shadows in dd.over_seeds(found):
            held = [dd.read_tensors(one.folder / SHADOW, dd.BadArtefact, AGAIN)[0] for one in shadows]
            logits = torch.stack([shadow["logits"] for shadow in held])
            judgements[shadows[0].case.label] = {
                **judged(logits, halves(logits.shape[1], self.shadows, self.seed)),
                **_distances(held),
                "accuracy": dd.spread([one.numbers["accuracy"] for one in shadows]),
            }
        numbers = {name: {k: v for k, v in told.items() if k != "curve"} for name, told in judgements.items()}
        says = " ".join(in_words(name, told) for name, told in judgements.items())
        return dd.Finding(*_table(judgements), {"audited": numbers}, says, (_plot(judgements),))

    def _recipe(self, method: str, kind: str, host: dd.Host) -> dd.Recipe:
        overrides = dd.dotted(self.overrides) if method == self.method else {}
        return host.recipe(method, kind=kind, ipc=self.ipc, overrides=overrides)

    def _distilled(self, method, data, half, t, member, host, where) -> dict[str, Tensor]:
        recipe = self._recipe(method, half.card.kind, host)
        distilled = host.distill(recipe, half, seed=self.seed + t, device=str(where))
        preprocess = dd.preprocess_of(distilled, host.catalogue)
        (plan, *_), (lr, *_) = self.protocol.networks, self.protocol.lr
        nets = list(dd.fresh_nets(plan, distilled, half.card, self.protocol, lr, self.seed + t, where))

        def outputs(x: Tensor, features: bool = False) -> Tensor:
            answers = [d(x.expand(d.ensemble or 1, *x.shape), features=features, training=False) for d, _ in nets]
            return torch.cat(answers)

        def first_features(x: Tensor) -> Tensor:
            return _in_chunks(lambda part: outputs(part, features=True)[:1], x.to(where))[0]

        x = data.train.take(torch.arange(len(data.train))).inputs
        images = preprocess.inverse(distilled.inputs)
        spaces = {
            "pixels": (images.flatten(1), x.flatten(1)),
            "features": (first_features(distilled.inputs), first_features(preprocess(x))),
        }
        near = {}
        for space, (synthetic, real) in spaces.items():
            distances = torch.cdist(synthetic, real) / real.shape[1] ** 0.5
            near[f"{space}.members"] = distances[:, member].min(1).values
            near[f"{space}.others"] = distances[:, ~member].min(1).values
        return {**_told(outputs, data, preprocess, where), **near}

    def _dp_sgd(self, data, half, t, where) -> dict[str, Tensor]:
        preprocess = dd.Standardise().fitted(half.card).start(half.card, _undeclared)
        inputs, targets = half.train.take(torch.arange(len(half.train))).inputs, half.train.targets
        x, y = preprocess(inputs).to(where), targets.to(where)
        module, _ = self.dp_sgd.train(x, y, half.card, self.epsilon, self.delta, self.seed + t)
        return _told(lambda part: module(part)[None], data, preprocess, where)


def _told(outputs: Callable[[Tensor], Tensor], data: dd.RealData, preprocess, where) -> dict[str, Tensor]:
    """The scaled logits of all items of T, and the accuracy on the test split, by the mean of the nets."""
    logits, right = {}, {}
    for split, store in (("train", data.train), ("test", data.test)):
        batch = store.take(torch.arange(len(store)))
        logits[split], right[split] = _in_chunks(outputs, preprocess(batch.inputs).to(where)), batch.targets
    accuracy = 100 * (logits["test"].argmax(2) == right["test"]).float().mean()
    return {"logits": scaled_logits(logits["train"], right["train"]), "accuracy": accuracy}


def _undeclared() -> dict[str, Tensor]:
    raise dd.RecipeRefused("DP-SGD needs public numbers to standardise by: this data set declares none.")


def halves(items: int, shadows: int, seed: int) -> Tensor:
    """(shadows, items): who is in which half; each item is in just half of the shadows."""
    generator = dd.Streams(seed)["halves"]
    member = torch.zeros(shadows, items, dtype=torch.bool)
    for pair in range(0, shadows, 2):
        member[pair, torch.randperm(items, generator=generator)[: items // 2]] = True
        member[pair + 1] = ~member[pair]
    return member


def _in_chunks(outputs: Callable[[Tensor], Tensor], x: Tensor, size: int = 500) -> Tensor:
    """``outputs`` (e, n, ...) of all of ``x`` (n, ...), some items at a time."""
    with torch.no_grad():
        return torch.cat([outputs(part).cpu() for part in x.split(size)], 1)


def scaled_logits(outputs: Tensor, targets: Tensor) -> Tensor:
    """log(p_y / (1 - p_y)) (n,) of logits (e, n, k), the mean over the e nets."""
    own = outputs.double().gather(2, targets.expand(len(outputs), -1)[..., None])[..., 0]
    rest = outputs.double().scatter(2, targets.expand(len(outputs), -1)[..., None], -math.inf).logsumexp(2)
    return (own - rest).mean(0)


def likelihood_ratios(logits: Tensor, member: Tensor) -> Tensor:
    """The attack's score (shadows, n) of ``logits`` (shadows, n) in the light of the other shadows.

    log N(x; mu_in, s_in) - log N(x; mu_out, s_out), the means by item, one variance for all items.
    """
    scores = []
    for t in range(len(logits)):
        others = torch.arange(len(logits)) != t
        x, sides = logits[others], []
        for inside in (member[others], ~member[others]):
            count = inside.sum(0)
            mean = torch.where(inside, x, 0).sum(0) / count
            spread = torch.where(inside, (x - mean).square(), 0).sum() / (count - 1).clamp_min(1).sum()
            sides.append(torch.distributions.Normal(mean, spread.sqrt().clamp_min(1e-9)).log_prob(logits[t]))
        scores.append(sides[0] - sides[1])
    return torch.stack(scores)


def judged(logits: Tensor, member: Tensor) -> dict[str, Any]:
    """What the attack achieves: rates of true positives, the area, each mean and deviation over the shadows."""
    scores = likelihood_ratios(logits, member)
    each = [_curve(s, m) for s, m in zip(scores, member, strict=True)]
    return {
        "auc": dd.spread([auc(false, true) for false, true in each]),
        **{f"tpr_at_{rate}": dd.spread([_tpr(curve, rate) for curve in each]) for rate in RATES},
        "curve": _curve(scores.flatten(), member.flatten()),
    }


def _curve(scores: Tensor, member: Tensor):
    false, true, _ = roc_curve(member.numpy(), scores.numpy(), drop_intermediate=False)
    return false, true


def _tpr(curve, rate: float) -> float:
    false, true = curve
    return float(true[false <= rate].max())


def _distances(shadows: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Distances to the nearest seen item over those to the nearest unseen one, and how many are copies."""
    if "pixels.members" not in shadows[0]:
        return {}
    ratios = {
        space: dd.spread([float(s[f"{space}.members"].mean() / s[f"{space}.others"].mean()) for s in shadows])
        for space in SPACES
    }
    copies = sum(int((s["pixels.members"] < COPY).sum()) for s in shadows)
    return {"nearest": ratios, "copies": copies, "synthetic": sum(len(s["pixels.members"]) for s in shadows)}


def leaks(told: dict[str, Any]) -> bool:
    """Copies, or a true positive rate at 1 % that lies above 1 % by more than two standard errors over the shadows."""
    rate = told["tpr_at_0.01"]
    return bool(told.get("copies")) or rate["mean"] - 2 * rate["std"] / math.sqrt(rate["n"]) > 0.01


def in_words(name: str, told: dict[str, Any]) -> str:
    """In a sentence or two."""
    if not leaks(told):
        return f"{name}: this attack found no leak, which is not a proof that there is none."
    rate = told["tpr_at_0.01"]
    said = f"{name}: LEAK. At 1 % false positives {100 * rate['mean']:.1f} % of the members are told"
    if told.get("copies"):
        said += f", and {told['copies']} of {told['synthetic']} synthetic images are copies of items of T"
    return said + "."


def _table(found: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    measures = {"TPR at 0.1 %": ("tpr_at_0.001", 100), "TPR at 1 %": ("tpr_at_0.01", 100), "AUC": ("auc", 1)}
    rows = []
    for name, told in found.items():
        row = [name, "yes" if leaks(told) else "none found"]
        row += [dd.plus_minus(**told[measure], digits=3, scale=scale) for measure, scale in measures.values()]
        if "nearest" in told:
            row += [dd.plus_minus(**told["nearest"][space], digits=3) for space in SPACES]
            row += [f"{told['copies']} / {told['synthetic']}"]
        else:
            row += ["-", "-", "-"]
        rows.append([*row, dd.plus_minus(**told["accuracy"])])
    return ["set", "leak", *measures, *(f"nearest {space}" for space in SPACES), "copies", "accuracy"], rows


def _plot(found: dict[str, dict[str, Any]]) -> dd.Plot:
    lines = [
        dd.Line(f"{name}, AUC {told['auc']['mean']:.3f}", true.tolist(), false.tolist())
        for name, told in found.items()
        for false, true in [told["curve"]]
    ]
    lines.append(dd.Line("chance", [1e-4, 1], [1e-4, 1], reference=True))
    panel = dd.Panel(lines, "Membership inference on all items of T", "xy")
    return dd.Plot("roc", "false positive rate", "true positive rate", [[panel]], limits=(1e-4, 1))
