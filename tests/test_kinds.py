"""Kinds of items: vectors, signals, and items that are no tensors, through the same methods."""

import copy
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import ddcore
from ddcore import BadArtefact, BadData, DistilledSet, Host, Protocol, RealData, RecipeRefused, UnknownName
from ddcore import plugin as dd
from ddcore.arrays import LAYOUTS
from ddcore.carriers.base import classes_in_order
from ddcore.catalogue import Catalogue
from ddcore.cli import app
from ddcore.evaluation.protocols import PRESETS
from ddcore.experiment.evaluating import evaluate_all
from ddcore.experiment.plan import BASELINES
from ddcore.experiment.reading import preset_of
from ddcore.parts import Part
from ddcore.recipes import METHODS
from ddcore.store import apart, dealt, joined, plain, repeated
from ddcore.testing import tiny_nodes
from ddcore.testing.vertices import Nodes, Propagate, Vertex

QUICK = {"steps": 60, "repeats": 1, "lr": (0.01,)}


def bumps(shape, n=20, classes=3, seed=0):
    """Items of ``shape`` in noise, each class higher along its own stretch of the last axis; and their classes."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(classes).repeat(n)
    items = torch.randn(len(targets), *shape, generator=generator)
    for item, c in zip(items, targets, strict=True):
        item.tensor_split(classes, -1)[c].add_(3)
    return items, targets


def made(kind):
    shape = {"vector": (9,), "signal": (2, 24), "video": (1, 8, 8, 8)}[kind]
    return RealData.of("made", bumps(shape), bumps(shape, seed=1), kind=kind)


@pytest.fixture(scope="module", params=["vector", "signal", "video"])
def items(request):
    return made(request.param)


# --- what the data are taken for


@pytest.mark.parametrize(
    ("shape", "said", "kind", "of"),
    [
        ((6, 5), None, "vector", (5,)),
        ((6, 5), "signal", "signal", (1, 5)),
        ((6, 2, 5), None, "image", (1, 2, 5)),
        ((6, 2, 5), "signal", "signal", (2, 5)),
        ((6, 3, 4, 5), None, "image", (3, 4, 5)),
        ((6, 2, 5), "pair", "pair", (2, 5)),
    ],
)
def test_arrays_are_what_they_are_called_or_what_their_axes_show(shape, said, kind, of):
    x, y = np.zeros(shape, np.float32), np.arange(6) % 2
    card = RealData.of("made", (x, y), (x, y), kind=said).card
    assert (card.kind, card.shape, card.flips) == (kind, of, kind == "image")


@pytest.mark.parametrize(
    ("shape", "said", "sentence"),
    [
        ((6, 2, 5), "vector", r'vectors have the shape \(6, 2, 5\).*\(n, d\).*kind = "image" or kind = "signal"'),
        ((6, 2, 3, 4), "signal", r'signals have the shape.*\(n, c, t\) or \(n, t\).*kind = "image"'),
        ((6,), None, r"images have the shape \(6,\)"),
        ((6,), "pair", r"pairs have the shape \(6,\). Wanted: some of \(n, \.\.\.\)"),
    ],
)
def test_arrays_of_other_axes_are_refused_with_what_they_could_be(shape, said, sentence):
    with pytest.raises(BadData, match=sentence):
        RealData.of("made", (np.zeros(shape, np.float32), np.arange(6) % 2), bumps((2,)), kind=said)


def test_whole_numbers_are_classes_and_floats_are_values():
    x = np.random.default_rng(0).normal(size=(8, 3))
    data = RealData.of("made", (x, x[:, 0]), (x, x[:, 0]))
    assert (data.card.values, data.card.classes, data.card.counts, data.card.outputs) == (1, 1, (8,), 1)
    assert data.train.loss == "squared"
    assert torch.allclose(data.train.take(torch.tensor([2, 5])).targets[:, 0], torch.tensor(x[[2, 5], 0]).float())
    assert data.train.nbytes == 8 * 3 * 4 + 8 * 4
    pairs = RealData.of("made", (x, x[:, :2]), (x, x[:, :2]))
    assert (pairs.card.values, pairs.card.outputs) == (2, 2)
    assert pairs.with_validation(0.25, seed=0).validation.targets.shape == (2, 2)
    with pytest.raises(BadData, match="labels of test are classes, those of train 2 values per item"):
        RealData.of("made", (x, x[:, :2]), (x, np.arange(8) % 2))


def test_vectors_are_standardised_feature_by_feature_and_a_constant_one_is_left(host):
    x, y = bumps((4,))
    x[:, 1], x[:, 2] = 7.0, 100 * x[:, 2] + 5
    data = RealData.of("made", (x, y), (x, y))
    found = host.distill(host.recipe("random", kind="vector", ipc=20), data)
    assert torch.allclose(found.inputs.mean(0), torch.zeros(4), atol=1e-4)
    assert torch.allclose(found.inputs.std(0, correction=0), torch.tensor([1.0, 0, 1, 1]), atol=1e-3)


@pytest.fixture
def written(tmp_path):
    def write(**arrays):
        path = tmp_path / "made.npz"
        np.savez(path, **arrays)
        return dd.Npz(str(path))

    return write


def test_an_npz_of_vectors_or_signals_is_known_before_it_is_loaded(written):
    (x, y), (s, z) = bumps((9,)), bumps((2, 24))
    whole = written(x=x.numpy(), y=y.numpy())
    assert whole.item_kind() == whole.load().card.kind == "vector"
    assert whole.load().test.counts == (2, 2, 2)
    split = {"train_x": s.numpy(), "train_y": z.numpy(), "test_x": s.numpy(), "test_y": z.numpy()}
    assert written(**split).item_kind() == written(**split).load().card.kind == "image"
    assert written(**split, kind="signal").item_kind() == written(**split, kind="signal").load().card.kind == "signal"
    said = replace(written(**split), items="signal")
    assert said.item_kind() == said.load().card.kind == "signal"
    with pytest.raises(BadData, match="says kind = 'sound'. Known: image, vector, signal"):
        written(**split, kind="sound").load()


# --- what suits them


def test_every_method_suits_vectors_or_is_refused_in_a_sentence_that_names_the_part(host, items):
    """What a method itself is made of is refused; what it took for images by default gives way."""
    refused = {}
    for method in METHODS:
        try:
            host.start(host.recipe(method.__name__, kind=items.card.kind), items)
        except RecipeRefused as error:
            refused[method.__name__] = str(error)
    assert all("of the kind" in sentence or "BatchNorm" in sentence for sentence in refused.values())
    decoded = {"kfs", "it_gan", "gtn", "rtp", "haba", "fred", "d4m"}
    image_only = decoded | {"idc", "accdd", "m3d", "dsdm", "ncfm", "idm", "dance", "rded", "taught_tiles"}
    by_batch_norm = {"sre2l", "cda", "gvbsm", "edc"}
    assert refused.keys() - by_batch_norm == image_only
    assert by_batch_norm & refused.keys() == (by_batch_norm if items.card.kind == "vector" else set())


def test_what_was_asked_for_and_does_not_suit_is_refused_not_dropped(host, items):
    kind = items.card.kind
    for overrides, sentence in [
        ({"network.name": "resnet18"}, f"network = resnet18 is for items of the kind image.*{kind}.*mlp"),
        ({"augment.name": "siamese"}, "augment = siamese is for items of the kind image.*augment = none"),
        ({"synthetic.name": "formation"}, "synthetic = formation is for items of the kind image"),
        ({"update.clamp": True}, "update.clamp = True is for images.*set update.clamp = false"),
    ]:
        with pytest.raises(RecipeRefused, match=sentence):
            host.start(host.recipe("dm", kind=kind, overrides=overrides), items)
    found = host.distill(host.recipe("random", kind=kind), items)
    with pytest.raises(RecipeRefused, match=r"networks = vgg11 is for items of the kind image"):
        ddcore.evaluate(found, items, Protocol(augment=None, networks=(dd.VGG11(),)))
    with pytest.raises(RecipeRefused, match="kind image"):
        host.start(host.recipe("mtt"), items)


@pytest.mark.parametrize("name", ["quick", "dc", "dsa", "mtt", "dd", "rtp", "idc", "frepo", "fkd"])
def test_every_protocol_follows_the_kind(host, items, name):
    adapted = host.protocol(name, kind=items.card.kind)
    adapted.check(items, host.catalogue)
    assert adapted.augment is None and not adapted.cutmix
    assert host.protocol(preset_of(adapted, host), kind=items.card.kind) == adapted
    assert host.protocol(name) == next(preset for preset in PRESETS if preset.__name__ == name)()


def test_for_images_nothing_changes(host, tiny):
    for entry in host.catalogue.of("method"):
        made = entry.maker()
        if made.synthetic.suits is None or "image" in made.synthetic.suits:
            assert host.recipe(entry.name) == made
    assert ddcore.recipe("dm", data=tiny) == host.recipe("dm")
    with pytest.raises(UnknownName, match="no item_kind named 'picture'"):
        host.recipe("dm", kind="picture")


def test_every_part_that_suits_one_kind_alone_is_for_kinds_that_exist(host):
    kinds = {entry.name for entry in host.catalogue.of("item_kind")}
    assert kinds >= {*LAYOUTS}
    for entry in host.catalogue:
        if isinstance(entry.maker, type) and issubclass(entry.maker, Part):
            assert entry.maker.suits is None or entry.maker.suits <= kinds, entry.name
            assert {*entry.maker.image_fields} <= {f.name for f in entry.maker.__dataclass_fields__.values()}


# --- the way through


@pytest.mark.parametrize("name", ["dm", "dc", "dsa", "frepo", "kip", "mtt", "dd", "ld", "herding", "random"])
def test_methods_run_on_other_kinds_and_teach(host, items, name, distilled_twice):
    kind = items.card.kind
    shorter = {"mtt": {"policy.experts": 1, "policy.fit.epochs": 10}, "dd": {"objective.steps": 4}}
    small = {"network.width": 8, **({"network.depth": 2} if kind != "vector" else {})} | shorter.get(name, {})
    arguments = {} if name in ("herding", "random") else {"iterations": 3}
    recipe = host.recipe(name, kind=kind, ipc=2, overrides=small, **arguments)
    learns = name not in ("herding", "random", "ld")
    found = distilled_twice(recipe, items) if learns else host.distill(recipe, items)
    assert found.inputs.shape == (6, *items.card.shape)
    assert found.data == items.card
    protocol = replace(host.kind(kind).adapted(Protocol()), **QUICK, networks=(recipe.network,))
    score = ddcore.evaluate(found, items, protocol)["accuracy"][recipe.network.part_name()]
    assert score.mean > (0 if name in ("dc", "ld") else 50), "a third is chance; from noise three steps do little"
    if kind != "video":
        assert float(found.inputs.abs().max()) < 10, "standardised items of few numbers stay near where they were"


def test_baselines_follow_the_kind(host, items, tmp_path):
    kind = host.kind(items.card.kind)
    network = replace(kind.network, width=8)
    found = host.distill(replace(host.recipe("dm", kind=items.card.kind, iterations=2), network=network), items)
    protocol = replace(kind.adapted(Protocol()), **QUICK, networks=(network,))
    scores, _ = evaluate_all(found, items, protocol, BASELINES, host, "cpu", None)
    assert set(scores) == {"distilled", *BASELINES}
    again = DistilledSet.load(found.save(tmp_path / "made.safetensors"))
    assert again.data == items.card
    with pytest.raises(BadArtefact, match=f"are {items.card.kind}s under standardise"):
        again.images()


def test_images_are_brought_back_to_their_range(host, tiny):
    found = host.distill(host.recipe("random", ipc=2), tiny)
    raw = tiny.train.inputs.float() / 255
    for image in found.images():
        assert float((raw - image).abs().flatten(1).amax(1).min()) < 1e-5


def test_a_network_of_a_kind_is_the_same_alone_and_among_others(items):
    network = (dd.MLP() if items.card.kind == "vector" else dd.ConvNet(width=8)).build(items.card)
    starts = [network.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    x = torch.randn(2, 5, *items.card.shape)
    stacked = {name: torch.stack([params[name] for params, _ in starts]) for name in starts[0][0]}
    together = network(stacked, {}, x, ensemble=2)
    alone = torch.stack([network(params, {}, part) for (params, _), part in zip(starts, x, strict=True)])
    assert torch.allclose(together, alone, atol=1e-5)


# --- items that are no tensors


@dataclass(frozen=True)
class Linked(dd.Carrier):
    """Nodes that learn their edges, as many of class c as T has there, over ten."""

    def per_class(self, card):
        return tuple(count // 10 for count in card.counts)

    def build(self, card):
        return LinkedModule(self, card)

    def shown(self, distilled):
        return Shown(distilled)


class LinkedModule(dd.CarrierModule):
    def __init__(self, plan, card):
        super().__init__()
        self.register_buffer("classes", classes_in_order(plan.per_class(card)))
        self.register_buffer("heard", torch.zeros(()))
        self.own = nn.Parameter(torch.zeros(len(self.classes), *card.shape))
        self.edges = nn.Parameter(torch.zeros(len(self.classes), len(self.classes)))

    def start(self, ctx):
        with torch.no_grad():
            self.own.copy_(torch.randn(self.own.shape, generator=ctx.rng["init"]))

    def follow(self, draw, rng):
        self.heard += torch.rand((), generator=rng)

    def forward(self, index):
        return Nodes(self.own[index], (self.edges.softmax(1) @ self.own)[index])

    def nbytes(self):
        return self.own.nbytes + self.edges.nbytes

    def groups(self):
        return {"inputs": [self.own], "edges": [self.edges]}

    def latent(self):
        return {"edges": self.edges.detach().clone()}


class Shown:
    """A distilled graph with its edges."""

    def __init__(self, distilled):
        self.set, self.nodes = (
            distilled,
            Nodes(distilled.inputs, distilled.latent["edges"].softmax(1) @ distilled.inputs),
        )

    def __getattr__(self, name):
        return getattr(self.set, name)

    def __len__(self):
        return len(self.set)

    def take(self, index):
        return self.nodes[index], self.set.targets[index]


class Plugin:
    @dd.hookimpl
    def ddcore_parts(self):
        return [Propagate, Vertex, Linked]


@pytest.fixture(scope="module")
def graph():
    return tiny_nodes()


@pytest.fixture(scope="module")
def nodes_host():
    return Host({"nodes": Plugin()})


def test_rows_of_items_are_joined_dealt_and_repeated_like_tensors(graph):
    nodes = graph.train.inputs[torch.arange(6)]
    for inputs in (nodes, nodes.own):
        parts = apart(inputs, [2, 0, 4])
        assert [len(part) for part in parts] == [2, 0, 4]
        assert torch.equal(plain(joined(parts)), nodes.own)
        assert torch.equal(plain(dealt(inputs, 2)), nodes.own.view(2, 3, 6))
        assert torch.equal(plain(repeated(inputs, 2)), nodes.own.expand(2, 6, 6))
    with pytest.raises(NotImplementedError, match=r"give it plain\(\)"):
        dd.Items.plain(nodes)


@pytest.mark.parametrize(("name", "least"), [("dm", 60), ("dc", 50), ("random", 34), ("herding", 34)])
def test_nodes_go_the_whole_way(nodes_host, graph, name, least, tmp_path):
    host = nodes_host
    learns = name in ("dm", "dc")
    overrides = {"synthetic.init": "real"} if learns else {}
    if name == "dm":
        overrides["update.lr.inputs"] = 1.0  # that of images is too high for nodes
    recipe = host.recipe(name, kind="vertex", ipc=2, overrides=overrides, **({"iterations": 40} if learns else {}))
    run, again = host.start(recipe, graph), host.start(recipe, graph)
    run.run_until(until=2)
    again.load_state_dict(copy.deepcopy(run.state_dict()))
    run.run_until()
    again.run_until()
    found = DistilledSet.load(run.export().save(tmp_path / "graph.safetensors"))
    assert torch.equal(found.inputs, again.export().inputs)
    assert found.data == graph.card and found.inputs.shape == (6, 6)
    protocol = replace(host.kind("vertex").adapted(Protocol()), **QUICK)
    scores, _ = evaluate_all(found, graph, protocol, ("whole",), host, "cpu", None)
    assert scores["whole"]["accuracy"]["propagate"].mean > 80
    assert scores["distilled"]["accuracy"]["propagate"].mean > least


def test_edges_take_turns_follow_the_draw_and_are_seen_in_evaluation(nodes_host, graph, tmp_path):
    host = nodes_host
    overrides = {
        "synthetic.name": "linked",
        "update.lr": '{"inputs"=0.1, "edges"=0.1}',
        "update.turns": '{"edges"=1, "inputs"=2}',
    }
    run = host.start(host.recipe("dm", kind="vertex", iterations=4, overrides=overrides), graph)
    moved = []
    for step in range(1, 5):
        before = copy.deepcopy(run.synthetic.groups()) if run.started else None
        run.run_until(until=step)
        if before:
            moved.append({n for n, (p,) in run.synthetic.groups().items() if not torch.equal(p, before[n][0])})
    assert moved == [{"inputs"}, {"inputs"}, {"edges"}]
    assert 0 < float(run.synthetic.carrier.heard) < 4
    found = DistilledSet.load(run.export().save(tmp_path / "graph.safetensors"))
    counts = [n // 10 for n in graph.card.counts]
    assert torch.bincount(found.targets).tolist() == counts
    seen = []
    take = Shown.take

    class Watched(Shown):
        def take(self, index):
            seen.append(len(index))
            return take(self, index)

    plan = host.kind("vertex").adapted(Protocol())
    ddcore.evaluate(found, graph, replace(plan, **QUICK), host=host)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Linked, "shown", lambda self, distilled: Watched(distilled))
        ddcore.evaluate(found, graph, replace(plan, steps=3, repeats=1), host=host)
    assert len(seen) == 3
    with pytest.raises(RecipeRefused, match=r"update\.turns: There is no group of parameters named 'edge'"):
        host.start(host.recipe("dm", kind="vertex", overrides={"update.turns": '{"edge"=1}'}), graph)


@pytest.mark.parametrize("objective", ["feature_match", "gradient_match"])
def test_what_classes_share_of_nodes_is_decoded_once_a_step(nodes_host, graph, objective, monkeypatch):
    overrides = {
        "synthetic.name": "linked",
        "objective.name": objective,
        "update.lr": '{"inputs"=0.1, "edges"=0.1}',
    }
    run = nodes_host.start(nodes_host.recipe("dm", kind="vertex", iterations=1, overrides=overrides), graph)
    run.start()
    decoded, plainly = [], LinkedModule.forward
    monkeypatch.setattr(LinkedModule, "forward", lambda self, index: decoded.append(len(index)) or plainly(self, index))
    run.run_until()
    assert decoded == [len(run.synthetic)]


@pytest.mark.parametrize("scope", ["class", "sum", "both", "all"])
def test_gradients_of_nodes_seen_together_are_those_of_each_class_apart(nodes_host, graph, scope):
    overrides = {"synthetic.init": "real", "objective.scope": scope}
    run = nodes_host.start(nodes_host.recipe("dc", kind="vertex", ipc=2, overrides=overrides), graph)
    run.start()
    draw, found = run.ctx.fresh(), []
    for apart_ in (False, True):
        ctx = replace(run.ctx, card=replace(graph.card, apart=apart_), rng=dd.Streams(0))
        ctx.gate.rng.rewind()
        run.optimiser.zero_grad()
        (loss,) = run.recipe.objective.accumulate(draw, run.synthetic, ctx)
        found.append((loss, run.synthetic.carrier.pixels.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-4 * float(found[1][1].abs().max()))


@dataclass(frozen=True)
class Guarding(dd.GatePlan):
    guards = True

    @property
    def serves(self):
        return frozenset(("gradient", "features", "statistics", "fit", "examples"))

    def build(self, source, rng):
        raise AssertionError("a recipe that is refused builds nothing")


def test_items_that_know_each_other_are_neither_guarded_nor_split(nodes_host, graph):
    recipe = replace(nodes_host.recipe("dm", kind="vertex"), gate=Guarding())
    with pytest.raises(RecipeRefused, match=r"gate = guarding bounds .* know each other \(apart = false\)"):
        recipe.check(graph.card, Catalogue())
    recipe.check(replace(graph.card, apart=True), Catalogue())
    for split in (lambda: graph.subset(torch.arange(5)), lambda: RealData.alone(graph.card, graph.train, [0, 1])):
        with pytest.raises(BadData, match="know each other .* cannot be split among owners"):
            split()


@pytest.mark.parametrize(("target", "missing"), [("x", []), ("c", [2])])
def test_a_guarded_table_has_no_numbers_that_were_computed_from_it(nodes_host, target, missing):
    rows = {"x": [float(i) for i in range(40)], "y": [1.0, 3.0] * 20, "c": ["a", "b"] * 20}
    recipe = replace(nodes_host.recipe("dm", kind="vector"), gate=Guarding())
    for row in missing:
        rows["x"][row] = None
    card = dd.table("rows", rows, rows, target=target).card
    with pytest.raises(RecipeRefused, match=r"gate = guarding bounds .* taken from it past the gate \(x\)"):
        recipe.check(card, Catalogue())
    recipe.check(dd.table("rows", rows, rows, target="c", skip=["x"]).card, Catalogue())


def test_nodes_are_refused_what_is_for_tensors(nodes_host, graph):
    with pytest.raises(RecipeRefused, match="preprocess = standardise is for items of the kind image or signal or vec"):
        nodes_host.start(nodes_host.recipe("dm", kind="vertex", overrides={"preprocess.name": "standardise"}), graph)


# --- values to predict


@dataclass(frozen=True)
class Explained(dd.Measure):
    """The share of the values' variance that is predicted."""

    def __call__(self, draw, data, chunk):
        inputs, targets = data.take(torch.arange(len(data)))
        with torch.no_grad():
            wrong = (draw(repeated(inputs, draw.ensemble), training=False) - targets).square().mean((1, 2))
        return 1 - wrong / targets.var(correction=0)


@pytest.fixture(scope="module")
def line():
    """Vectors whose value is a sum of two of their features."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(120, 5, generator=generator)
    y = (x[:, 0] - x[:, 1]) / 2**0.5
    return RealData.of("line", (x[:80], y[:80]), (x[80:], y[80:]))


@pytest.mark.parametrize("name", ["random", "herding", "frepo", "kip", "mtt", "dsa"])
def test_values_are_learned_by_the_squared_error(host, line, name, distilled_twice, tmp_path):
    learns = name not in ("random", "herding")
    shorter = {"policy.experts": 1} if name == "mtt" else {}
    recipe = host.recipe(name, kind="vector", ipc=20, overrides=shorter, **({"iterations": 4} if learns else {}))
    found = distilled_twice(recipe, line) if learns else host.distill(recipe, line)
    found = DistilledSet.load(found.save(tmp_path / "line.safetensors"))
    assert (found.loss, found.data.values) == ("squared", 1)
    assert found.targets.shape == (20, 1) and found.targets.is_floating_point()
    assert found.nbytes >= 20 * 6 * 4
    if name == "random":
        pairs = {tuple(row) for row in torch.cat([line.train.inputs, line.train.targets], 1).tolist()}
        raw = found.inputs * found.preprocess_state["std"] + found.preprocess_state["mean"]
        apart = torch.cat([raw, found.targets], 1)[:, None] - torch.tensor(sorted(pairs))
        near = apart.norm(dim=2).amin(1)
        assert float(near.max()) < 1e-3, "an item keeps its own value"
    plan = replace(host.kind("vector").adapted(Protocol()), **QUICK, measures=(Explained(),))
    assert ddcore.evaluate(found, line, plan)["explained"]["mlp"].mean > 0.3


@pytest.mark.parametrize(
    ("name", "overrides", "sentence"),
    [
        ("dm", {}, "objective = feature_match is for classes, and the targets of line are values"),
        ("datm", {}, "labels = soft is for classes"),
        ("sldd", {}, 'labels.loss = "squared"'),
    ],
)
def test_what_needs_classes_refuses_values(host, line, name, overrides, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        host.start(host.recipe(name, kind="vector", overrides=overrides), line)
    found = host.distill(host.recipe("random", kind="vector"), line)
    with pytest.raises(RecipeRefused, match="measures = accuracy is for classes"):
        ddcore.evaluate(found, line)


# --- the command line


@pytest.fixture(scope="module")
def cancer(tmp_path_factory):
    """scikit-learn's breast cancer as a person would save it."""
    from sklearn.datasets import load_breast_cancer

    source, path = load_breast_cancer(), tmp_path_factory.mktemp("cancer") / "cancer.npz"
    np.savez(path, x=source.data, y=source.target, class_names=source.target_names)
    return path


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_vectors_go_through_the_front_door(cancer, tmp_path):
    folder = tmp_path / "run"
    few = ("--repeats", "1", "--baselines", "random")
    done = call("distill", "dm", "--data", cancer, "--iterations", "20", "--out", folder, *few)
    assert done.exit_code == 0, done.output
    assert "images.png" not in done.output and not (folder / "images.png").exists()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["scores"]["accuracy"]["mlp"]["mean"] > 70
    assert metrics["baselines"]["random"]["accuracy"]["mlp"]["mean"] > 70
    assert metrics["bytes"] == 2 * (30 * 4 + 1)
    again = call("evaluate", folder, "--protocol", "dsa", *few)
    assert again.exit_code == 0, again.output
    rerun = call("run", folder / "recipe.toml", "--set", "seed=1", "--out", tmp_path / "again", *few)
    assert rerun.exit_code == 0, rerun.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("dm", "--set", "augment.name=siamese"), "augment = siamese is for items of the kind image"),
        (("dm", "--networks", "mlp,vgg11"), "networks = vgg11 is for items of the kind image"),
        (("idc",), "synthetic = formation is for items of the kind image"),
        (("sre2l",), "needs a network that shows BatchNorm layers"),
    ],
)
def test_what_vectors_do_not_go_with_is_told_at_the_front_door(cancer, tmp_path, words, sentence):
    done = call("distill", *words, "--data", cancer, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())
    assert not (tmp_path / "run").exists()
