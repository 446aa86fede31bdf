"""Every method of the core, from one table, through one set of behaviours."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from ddcore import BadCheckpoint, Host, Recipe, RecipeRefused
from ddcore.augment.affine import Affine
from ddcore.labels.taught import Taught
from ddcore.networks.mlp import MLP
from ddcore.recipes import METHODS
from ddcore.recipes.gradient import LOOPS, loop_lengths
from ddcore.update import Update

TABLE = {
    # method: (asks of T, images a class at ipc 2, bytes of three classes of 1x8x8 images with their labels)
    "random": ({"examples", "statistics"}, 2, 6 * (64 + 1)),
    "herding": ({"examples", "fit", "statistics"}, 2, 6 * (64 + 1)),
    "el2n": ({"examples", "fit", "statistics"}, 2, 6 * (64 + 1)),
    "forgetting": ({"examples", "fit", "statistics"}, 2, 6 * (64 + 1)),
    "k_center": ({"examples", "fit", "statistics"}, 2, 6 * (64 + 1)),
    "dm": ({"examples", "features", "statistics"}, 2, 6 * (64 * 4 + 1)),
    "cafe": ({"examples", "features", "gradient", "statistics"}, 2, 6 * (64 * 4 + 1)),
    "kfs": ({"examples", "features", "statistics"}, 16, 4 * (170 + 3 * 8 * 8) + 24),
    "it_gan": ({"features", "gradient", "statistics"}, 27, 4 * (141 + 3 * 27 * 3) + 81),
    "idm": ({"examples", "features", "fit", "statistics"}, 8, 6 * (64 * 4 + 1)),
    "dance": ({"examples", "features", "fit", "statistics"}, 8, 6 * (64 * 4 + 1)),
    "dsdm": ({"examples", "features", "fit", "statistics"}, 8, 6 * (64 * 4 + 1)),
    "ncfm": ({"examples", "features", "fit", "statistics"}, 8, 6 * (64 * 4 + 1)),
    "fred": ({"examples", "features", "statistics"}, 7, 4 * (3 * 7 * 16 + 16) + 21),
    "m3d": ({"examples", "features", "statistics"}, 8, 6 * (64 * 4 + 1)),
    "taught_tiles": ({"examples", "features", "fit", "statistics"}, 64, 48 * 32 + 8 + 192 * 2 + 8),
    "dc": ({"gradient", "statistics"}, 2, 6 * (64 * 4 + 1)),
    "dsa": ({"examples", "gradient", "statistics"}, 2, 6 * (64 * 4 + 1)),
    "dcc": ({"examples", "gradient", "statistics"}, 2, 6 * (64 * 4 + 1)),
    "intra_inter": ({"examples", "gradient", "statistics"}, 2, 6 * (64 * 4 + 1)),
    "idc": ({"examples", "fit", "gradient", "statistics"}, 8, 6 * (64 * 4 + 1)),
    "accdd": ({"examples", "fit", "gradient", "statistics"}, 8, 6 * (64 * 4 + 1)),
    "mtt": ({"examples", "features", "fit", "statistics"}, 2, 6 * (64 * 4 + 1) + 4),
    "ftd": ({"examples", "features", "fit", "statistics"}, 2, 6 * (64 * 4 + 1) + 4),
    "tesla": ({"examples", "features", "fit", "statistics"}, 2, 6 * (64 * 4 + 1) + 4),
    "datm": ({"examples", "features", "fit", "statistics"}, 2, 6 * (64 * 4 + 3 * 4) + 4),
    "pad": ({"examples", "features", "fit", "statistics"}, 2, 6 * (64 * 4 + 3 * 4) + 4),
    "dd": ({"examples", "gradient", "statistics"}, 2, 6 * (64 * 4 + 1) + 4 * 6),
    "ld": ({"examples", "fit", "gradient", "statistics"}, 2, 6 * (64 + 3 * 4)),
    "sldd": ({"examples", "gradient", "statistics"}, 2, 6 * (64 * 4 + 3 * 4) + 4 * 6),
    "ld_ridge": ({"examples", "fit", "gradient", "statistics"}, 2, 6 * (64 + 3 * 4)),
    "rat_bptt": ({"examples", "gradient", "statistics"}, 2, 6 * (64 * 4 + 1)),
    "rtp": ({"examples", "gradient", "statistics"}, 12, 4 * (7 * 16 + 3 * 12 * 7) + 3),
    "gtn": ({"features", "gradient", "statistics"}, 27, 4 * (141 + 3 * 27 * 3 + 4) + 81),
    "haba": ({"examples", "features", "fit", "statistics"}, 6, 4 * (3 * 3 * 16 + 2 * 103) + 9 + 4),
    "d4m": ({"examples", "gradient", "statistics"}, 12, 4 * (85 + 3 * 12 * 8) + 36),
    "kip": ({"examples", "gradient", "statistics"}, 2, 6 * (64 * 4 + 1)),
    "frepo": ({"examples", "gradient", "statistics"}, 2, 6 * (64 * 4 + 3 * 4)),
    "rfad": ({"examples", "gradient", "statistics"}, 2, 6 * (64 * 4 + 3 * 4)),
    "sre2l": ({"fit", "statistics"}, 2, 6 * (64 * 4 + 3 * 4)),
    "cda": ({"fit", "statistics"}, 2, 6 * (64 * 4 + 3 * 4)),
    "gvbsm": ({"features", "fit", "statistics"}, 2, 6 * (64 * 4 + 3 * 4)),
    "edc": ({"examples", "features", "fit", "statistics"}, 2, 6 * (64 * 4 + 3 * 4)),
    "rded": ({"examples", "fit", "statistics"}, 2, 6 * (64 * 4 + 3 * 4)),
}
CHOSEN = ("random", "herding", "el2n", "forgetting", "k_center", "rded", "d4m")
LEARNED = [name for name in TABLE if name not in CHOSEN]
SHARES = ("datm", "pad", "ld", "sre2l", "cda", "gvbsm", "edc", "rded", "taught_tiles")


def fitted(*ways):
    """Ten steps, and as many snapshots, wherever a network is fitted to T."""
    fit = {"epochs": "none", "steps": 10, "batch": 8, "snapshots": 10}
    return {f"{way}.{name}": value for way in ways for name, value in fit.items()}


GENERATOR = {
    **{"synthetic.size": 3, "synthetic.channels": 2, "synthetic.width": 3},
    **{"synthetic.training.steps": 3, "synthetic.training.batch": 8},
}
HABA = [{"name": "trajectory_match", "steps": 2, "batch": 8}, {"name": "contrast", "weight": 0.1}]
MATCHED = [{"name": "feature_match", "real": 4}, {"name": "recognised"}]
SMALLER = {
    "idm": {"objective.terms": MATCHED, "policy.fit.steps": 2},
    "dance": {"objective.terms": [MATCHED[0], {**MATCHED[1], "expert": True}], "policy.fit.steps": 3},
    "dsdm": {"policy.fit.steps": 3},
    "ncfm": {
        "objective.terms": [{"name": "characteristic_match", "real": 4}, {"name": "recognised", "expert": True}],
        "policy.fit.steps": 3,
    },
    **{name: {"objective.steps": 2, **fitted("policy.fit")} for name in ("mtt", "ftd", "tesla")},
    **{
        name: {"objective.steps": 2, "objective.threshold": "none", **fitted("policy.fit", "labels.fit")}
        for name in ("datm", "pad")
    },
    **{name: {"objective.steps": 6} for name in ("dd", "sldd")},
    "haba": {"objective.terms": HABA, **fitted("policy.policy.fit")},
    **{name: {"synthetic.fit.steps": 3} for name in ("herding", "el2n", "k_center")},
    "forgetting": {"synthetic.fit.steps": 6, "synthetic.fit.snapshots": 3},
    **{name: {"synthetic.fit.steps": 3, "policy.epochs": 1} for name in ("ld", "ld_ridge")},
    "rat_bptt": {"objective.steps": 3, "objective.window": 2},
    "rtp": {"objective.steps": 3, "objective.window": "none", "objective.batch": 6},
    "d4m": {"synthetic.width": 3, "synthetic.training.steps": 3, "synthetic.training.batch": 8},
    "rded": {"synthetic.fit.steps": 3},
    "taught_tiles": {"labels.fit.steps": 3},
    **{name: {"policy.fit.steps": 3} for name in ("sre2l", "cda", "gvbsm", "edc")},
    "kfs": {"synthetic.decoders": 2, "synthetic.channels": 2, "synthetic.width": 3, "synthetic.fit": 3},
    "it_gan": GENERATOR,
    "gtn": {**GENERATOR, "objective.steps": 4, "objective.batch": 27, "objective.checks": 2},
}


def made(host, small, name, ipc=2, seed=3):
    arguments = {"iterations": 3} if name in LEARNED else {}
    return small(host.recipe(name, ipc=ipc, overrides=SMALLER.get(name, {}), **arguments), seed=seed)


def tensors(run):
    inputs, targets = run.synthetic.everything()
    return inputs.detach().clone(), targets.detach().clone()


@pytest.fixture(scope="module")
def distilled(small, tiny):
    """What a method makes of ``tiny``, made once."""
    host = Host()
    return cache(lambda name: host.distill(made(host, small, name), tiny))


def test_the_table_holds_every_method():
    assert set(TABLE) == {method.__name__ for method in METHODS}


@pytest.mark.parametrize("name", TABLE)
def test_asks_and_bytes_are_as_declared(host, small, distilled, name):
    asks, images, nbytes = TABLE[name]
    assert made(host, small, name).asks == asks
    distilled = distilled(name)
    assert distilled.nbytes == nbytes
    assert distilled.inputs.shape == (3 * images, 1, 8, 8)
    if name in SHARES:
        half = 0.5 / (2**distilled.bits - 1) if distilled.bits else 0.0
        assert torch.allclose(distilled.targets.sum(1), torch.ones(3 * images), atol=1e-6 + 3 * half)
    else:
        classes = distilled.targets if distilled.targets.ndim == 1 else distilled.targets.argmax(1)
        assert classes.tolist() == [0] * images + [1] * images + [2] * images


@pytest.mark.parametrize("name", TABLE)
def test_the_same_recipe_after_a_trip_through_toml(host, small, name):
    recipe = made(host, small, name)
    again = Recipe.from_toml(recipe.to_toml(), host.catalogue)
    assert again == recipe
    assert again.to_toml() == recipe.to_toml()


@pytest.mark.parametrize("name", TABLE)
def test_same_seed_same_tensors_and_another_seed_others(host, small, tiny, distilled, name):
    recipe, one = made(host, small, name), distilled(name)
    two, other = (host.distill(replace(recipe, seed=seed), tiny) for seed in (3, 4))
    assert torch.equal(one.inputs, two.inputs)
    assert torch.equal(one.targets, two.targets)
    assert not torch.equal(one.inputs, other.inputs)


@pytest.mark.parametrize("name", LEARNED)
def test_two_steps_move_every_parameter(host, small, tiny, name):
    run = host.start(made(host, small, name), tiny)
    run.start()
    learned = 1 if name in ("ld", "ld_ridge") else 0
    before = tensors(run)[learned]
    run.run_until(until=2)
    moved = (tensors(run)[learned] != before).flatten(1).any(1)
    assert moved.all(), "an image stood still"
    assert run.step == 2


@pytest.mark.parametrize("name", LEARNED)
def test_stopped_and_resumed_equals_straight(host, small, tiny, name, tmp_path):
    recipe = made(host, small, name)
    straight = host.start(recipe, tiny)
    straight.run_until()
    first = host.start(recipe, tiny)
    first.run_until(until=2)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    first.run_until()  # what happens after the save must not reach into it
    second = host.start(recipe, tiny)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.step == 2
    second.run_until()
    for run in (first, second):
        assert all(map(torch.equal, tensors(run), tensors(straight)))


@pytest.mark.gpu
@pytest.mark.parametrize("name", TABLE)
def test_a_gpu_makes_what_the_cpu_makes(host, small, tiny, name, gpu):
    recipe = made(host, small, name)
    here, there = host.distill(recipe, tiny), host.distill(recipe, tiny, device=gpu)
    assert (there.inputs - here.inputs).norm() <= 1e-3 * here.inputs.norm()
    assert torch.allclose(there.targets.float(), here.targets.float(), atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("name", LEARNED)
def test_stopped_and_resumed_on_a_gpu(host, small, tiny, name, gpu, tmp_path):
    """Up to rounding: a GPU adds in no fixed order."""
    recipe = made(host, small, name)
    first = host.start(recipe, tiny, device=gpu)
    first.run_until(until=3)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    first.run_until()
    second = host.start(recipe, tiny, device=gpu)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    second.run_until()
    for a, b in zip(tensors(first), tensors(second), strict=True):
        assert (a.float() - b.float()).norm() <= 1e-3 * a.float().norm()


@pytest.mark.parametrize("name", TABLE)
def test_cites_a_paper_and_says_what_it_does(host, name):
    maker = host.catalogue.find("method", name).maker
    assert maker.cites
    assert all(paper.bibtex().startswith("@") and str(paper.year) in paper.bibtex() for paper in maker.cites)
    assert len(maker.__doc__.splitlines()) > 1 or name == "random"


def test_the_loss_falls_and_the_images_come_to_look_like_their_class(host, small, tiny):
    recipe = small(host.recipe("dm", ipc=1, iterations=60, overrides={"synthetic.init": "noise"}))
    losses = []
    run = host.start(recipe, tiny, on_step=lambda _, record: losses.append(record["loss"]))
    run.run_until()
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_a_learned_network_serves_its_rounds_and_is_trained_between(host, small, tiny):
    recipe = host.recipe("dc", ipc=2, iterations=5, overrides={"policy.rounds": 2, "policy.epochs": 3})
    ages = []
    run = host.start(small(recipe), tiny, on_step=lambda run, _: ages.append(run.draw.age))
    run.run_until()
    assert ages == [0, 3, 0, 3, 0]


def test_at_one_image_per_class_dc_never_trains(host, small, tiny):
    ages = []
    host.start(
        small(host.recipe("dc", iterations=3)), tiny, on_step=lambda run, _: ages.append(run.draw.age)
    ).run_until()
    assert ages == [0, 0, 0]


def test_loop_lengths_at_any_ipc():
    assert {ipc: loop_lengths(ipc) for ipc in LOOPS} == LOOPS
    assert loop_lengths(15) == (15, 38)
    assert loop_lengths(100) == LOOPS[50]
    for ipc in range(1, 60):
        rounds, epochs = loop_lengths(ipc)
        assert 1 <= rounds <= 50
        assert 1 <= epochs <= 50


def test_overrides_reach_every_depth(host):
    recipe = host.recipe("dm", overrides={"objective.real": "64", "update.lr.inputs": 2.0, "augment": "none"})
    assert (recipe.objective.real, recipe.update.lr, recipe.augment) == (64, {"inputs": 2.0}, None)
    other = host.recipe("dm", overrides={"network.width": "9", "network.name": "mlp", "augment.name": "affine"})
    assert other.network == MLP(width=9)
    assert other.augment == Affine()


def test_checks_refuse_in_a_sentence(host, small, tiny):
    def refused(text, recipe):
        with pytest.raises(RecipeRefused, match=text):
            host.start(recipe, tiny)

    dm = small(host.recipe("dm"))
    refused(r"ipc = 21 needs more real images than class 0 of tiny has \(20\)", small(host.recipe("dm", ipc=21)))
    refused("iterations must be at least 1", replace(dm, iterations=0))
    refused("has no objective", replace(host.recipe("random"), iterations=3))
    with pytest.raises(RecipeRefused, match="iterations = -1: it must be at least 0"):
        replace(dm, iterations=-1)
    refused("There is no group of parameters named 'pixels'", replace(dm, update=Update(lr={"inputs": 1, "pixels": 1})))
    refused("needs inputs of S", replace(dm, synthetic=host.recipe("random").synthetic, update=Update(lr={})))
    refused("taught needs a network trained on T that can label", replace(dm, labels=Taught(None)))
    sre2l = small(host.recipe("sre2l"))
    refused(
        "statistic_match needs networks that were trained on T .*policy teacher",
        replace(sre2l, policy=dm.policy),
    )
    refused("gives no rate for it: add update.lr.inputs", replace(dm, update=Update(lr={})))
    with pytest.raises(RecipeRefused, match=r"clip = -1: it must be above 0"):
        Update(clip=-1)
    with pytest.raises(RecipeRefused, match="ipc = 0: it must be at least 1"):
        host.recipe("dm", ipc=0)


def test_a_checkpoint_of_another_recipe_or_other_data_is_refused(host, small, tiny, digits):
    dm = small(host.recipe("dm", iterations=2))
    run = host.start(dm, tiny)
    run.run_until(until=1)
    state = run.state_dict()
    with pytest.raises(BadCheckpoint, match="belongs to another recipe"):
        host.start(replace(dm, seed=9), tiny).load_state_dict(state)
    other = replace(tiny, card=replace(tiny.card, counts=(20, 20, 19)))
    with pytest.raises(BadCheckpoint, match="other data"):
        host.start(dm, other).load_state_dict(state)
    with pytest.raises(BadCheckpoint, match="damaged"):
        host.start(dm, tiny).load_state_dict({**state, "synthetic": {}})
