"""Every method that installed distributions bring, under the private gate: it runs, or is refused in a sentence."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

import ddcore
from ddcore import Recipe, RecipeRefused
from ddcore.gate.record import SpendRecord


def noise(*ways, mixing=False, requests=7, **fit):
    """Starts from noise; networks are fitted to T in unmixed batches, drawn at the rate of the updates."""
    fit = {"batch": 12, **fit, **({"cutmix": 0.0} if mixing else {})}
    said = {f"{way}.{name}": value for way in ways for name, value in fit.items()}
    return {"synthetic.init": "noise", "plugins.private.requests": requests, **said}


MATCHED = [{"name": "feature_match", "real": 4}, {"name": "recognised"}]
TRAJECTORY = {"epochs": "none", "steps": 10, "snapshots": 10, "requests": 10}
RUNS = {
    # method: what must be said so that it asks nothing that cannot be served, and the requests of three updates
    "dm": ({"synthetic.init": "noise"}, 3),
    "cafe": ({"synthetic.init": "noise", "policy.real": 4, "plugins.private.requests": 8}, 8),
    "kfs": ({"synthetic.init": "noise", "synthetic.decoders": 2, "synthetic.channels": 2, "synthetic.width": 3}, 3),
    "it_gan": (
        {
            **{"synthetic.size": 3, "synthetic.channels": 2, "synthetic.width": 3, "synthetic.real": 4},
            **{"synthetic.training.steps": 2, "synthetic.training.batch": 12, "plugins.private.requests": 6},
        },
        6,
    ),
    "idm": ({**noise("policy.fit", steps=2), "policy.trained": 1, "objective.terms": MATCHED}, 3 + 2 * 2),
    "dance": (
        {
            **noise("policy.fit", steps=4),
            **{"policy.experts": 1, "objective.terms": [MATCHED[0], {**MATCHED[1], "expert": True}]},
        },
        4 + 3,
    ),
    "dsdm": ({**noise("policy.fit", requests=5, steps=2), "policy.networks": 1}, 3 + 2),
    "ncfm": (
        {
            **noise("policy.fit", steps=4),
            "policy.experts": 1,
            "objective.terms": [{"name": "characteristic_match", "real": 4}, {**MATCHED[1], "expert": True}],
        },
        4 + 3,
    ),
    "fred": ({"synthetic.init": "noise", "synthetic.chosen": "low"}, 3),
    "m3d": ({"synthetic.init": "noise"}, 3),
    "taught_tiles": (noise("labels.fit", requests=5, steps=2), 3 + 2),
    "dc": ({}, 3),
    "dsa": ({"synthetic.init": "noise"}, 3),
    "dcc": ({"synthetic.init": "noise"}, 3),
    "intra_inter": ({"synthetic.init": "noise"}, 3),
    "idc": ({**noise("policy.fit", mixing=True, steps=2), "policy.rounds": 3}, 3 + 2 * 2),
    "accdd": (
        {**noise("policy.policy.fit", mixing=True, epochs="none", steps=4), "policy.policy.networks": 1},
        3 + 4,
    ),
    "mtt": ({**noise("policy.fit", **TRAJECTORY), "policy.experts": 1}, 10),
    "tesla": ({**noise("policy.fit", **TRAJECTORY), "policy.experts": 1}, 10),
    "ftd": ({**noise("policy.fit", **{**TRAJECTORY, "requests": 20}), "policy.experts": 1}, 2 * 10),
    "datm": (
        {**noise("policy.fit", "labels.fit", **{**TRAJECTORY, "requests": 20}), "policy.experts": 1},
        10 + 10,
    ),
    "pad": (
        {
            **noise("policy.fit", "labels.fit", **{**TRAJECTORY, "requests": 20}),
            **{"policy.experts": 1, "policy.fit.curriculum": "none"},
        },
        10 + 10,
    ),
    "dd": ({"synthetic.init": "noise"}, 3),
    "sldd": ({"synthetic.init": "noise"}, 3),
    "rat_bptt": ({"synthetic.init": "noise", "objective.steps": 3, "objective.window": 2}, 3),
    "rtp": ({"synthetic.init": "noise", "objective.steps": 3, "objective.window": "none"}, 3),
    "gtn": (
        {
            **{"synthetic.size": 3, "synthetic.channels": 2, "synthetic.width": 3, "synthetic.tries": 1},
            **{"synthetic.training.steps": 2, "synthetic.training.batch": 4, "plugins.private.requests": 11},
            **{"objective.steps": 4, "objective.checks": 3},
        },
        2 + 3 * 3,
    ),
    "haba": ({**noise("policy.policy.fit", **TRAJECTORY), "policy.policy.experts": 1}, 10),
    "d4m": (
        {
            **{"synthetic.ipc": 1, "synthetic.centres": "means", "synthetic.real": 4, "synthetic.width": 3},
            **{"synthetic.training.steps": 2, "synthetic.training.batch": 12, "plugins.private.requests": 3},
        },
        2 + 1,
    ),
    "kip": ({"synthetic.init": "noise"}, 3),
    "frepo": ({"synthetic.init": "noise"}, 3),
    "rfad": ({"synthetic.init": "noise"}, 3),
    "distilled_replay": (
        {
            **{"synthetic.init": "noise", "objective.steps": 4, "objective.checks": 4},
            "plugins.private.requests": 12,
        },
        3 * 4,
    ),
    "ccmcl": ({"synthetic.init": "noise"}, 3),
    "dm_bases": ({"synthetic.init": "noise", "synthetic.bases": 2}, 3),
    "stable_sequence": (
        {"synthetic.size": 3, "synthetic.channels": 2, "synthetic.width": 3, "objective.steps": 4},
        3,
    ),
    "feddm": ({"synthetic.init": "noise"}, 3),
    "dosfl": ({"synthetic.init": "noise"}, 3),
    "fedd3": ({"synthetic.init": "noise"}, 3),
    "fedsynth": (noise("policy.fit", epochs="none", steps=4, requests=4), 4),
    "goetz_tewari": (noise("policy.fit", epochs="none", steps=4, requests=4), 4),
    "meta_knowledge": ({"synthetic.init": "noise", "objective.objective.real": 4}, 3),
    "adv_kip": ({"synthetic.init": "noise"}, 3),
    "robust_ridge": ({"synthetic.init": "noise"}, 3),
    "tri_level": ({"synthetic.init": "noise", "objective.steps": 3}, 3),
    "adv_dm": ({"synthetic.init": "noise"}, 3),
    "guard": ({"synthetic.init": "noise"}, 3),
    "psg": ({}, 3),
    "ndpdc": ({}, 3),
    "dosser": ({"plugins.private.signals": 2}, 2),
}
RUN_AS_THEY_STAND = ("dc", "it_gan", "gtn", "stable_sequence", "psg", "ndpdc", "dosser")
REFUSED = dict.fromkeys(
    [
        "random",
        "herding",
        "ld",
        "ld_ridge",
        "rded",
        "edc",
        "el2n",
        "forgetting",
        "k_center",
        *(name for name in RUNS if name not in RUN_AS_THEY_STAND),
    ],
    "asks examples",
) | dict.fromkeys(["sre2l", "cda", "gvbsm"], "The network uses batch statistics")
OWN = ("psg", "ndpdc", "dosser")
NOTHING_ASKED = {"dynafed"}


def of(host, small, name, iterations=3, **fields):
    arguments = {"iterations": iterations} if name in RUNS.keys() - {"d4m"} else {}
    said, _ = RUNS.get(name, ({}, None))
    recipe = host.recipe(name, ipc=2, overrides=said, **arguments)
    if "step_size" in recipe.update.lr:  # what noise does to a step size in one step would be its end
        recipe = replace(recipe, update=replace(recipe.update, lr={**recipe.update.lr, "step_size": 1e-3}))
    recipe = replace(recipe, plugins={"private": {**recipe.plugins.get("private", {}), "epsilon": 8.0}})
    return small(recipe, **fields)


def test_the_table_holds_every_method(host):
    """Those for nodes of one graph, which no guarding gate admits, and for histories are those plugins' own test."""
    others = ("ddcore-example", "ddcore-graph", "ddcore-recommender")
    listed = {entry.name for entry in host.catalogue.of("method") if entry.distribution not in others}
    assert listed == RUNS.keys() | REFUSED.keys() | NOTHING_ASKED


@pytest.mark.parametrize("name", RUNS)
def test_it_runs_privately_and_the_ledger_counts_over_stops(host, small, tiny, tmp_path, name):
    """Killed at its end and gone on with from its beginning, it tells the same and nothing more."""
    recipe, record = of(host, small, name), SpendRecord(tmp_path / "spent.jsonl")
    run = host.start(recipe, tiny, record=record)
    record.begin()
    begun = deepcopy(run.state_dict())
    distilled = run.hooks.ddcore_distill(run=run)
    again = host.start(recipe, tiny, record=record)
    again.load_state_dict(begun)
    assert again.gate.spent().requests == RUNS[name][1]
    assert torch.equal(again.hooks.ddcore_distill(run=again).inputs, distilled.inputs)
    assert again.gate.spent().requests == record.count == RUNS[name][1]
    facts = distilled.facts["privacy"]
    assert facts["requests"] == RUNS[name][1]
    assert 7.5 < facts["epsilon"] <= 8.0 == facts["budget"]
    assert facts["noise_multiplier"] > 0.3
    assert torch.isfinite(distilled.inputs).all()
    assert Recipe.from_toml(distilled.recipe, host.catalogue) == run.recipe


@pytest.mark.parametrize("name", NOTHING_ASKED)
def test_it_asks_nothing_of_t(host, tiny, name):
    assert host.recipe(name).fitted(tiny.card).asks == frozenset()


@pytest.mark.parametrize(("name", "sentence"), REFUSED.items())
def test_it_is_refused_as_it_stands(host, small, tiny, name, sentence):
    recipe = replace(small(host.recipe(name)), plugins={"private": {}})
    with pytest.raises(RecipeRefused, match=sentence):
        host.start(recipe, tiny)


@pytest.mark.parametrize("name", ["idc", "accdd"])
def test_batches_that_are_mixed_are_refused(host, small, tiny, name):
    way = {"idc": "policy.fit.cutmix", "accdd": "policy.policy.fit.cutmix"}[name]
    recipe = host.recipe(name, ipc=2, overrides={**RUNS[name][0], way: 0.5})
    with pytest.raises(RecipeRefused, match=r"mixes items of T.*cutmix = 0"):
        host.start(small(recipe), tiny)


@pytest.mark.parametrize("name", OWN)
def test_two_steps_move_every_parameter(host, small, tiny, name):
    run = host.start(of(host, small, name), tiny)
    run.start()
    before = run.synthetic.everything()[0].detach().clone()
    run.run_until(until=2)
    assert (run.synthetic.everything()[0] != before).flatten(1).any(1).all()


@pytest.mark.parametrize("name", OWN)
def test_a_stopped_run_ends_as_a_straight_one(host, small, tiny, name):
    recipe = of(host, small, name)
    straight = host.start(recipe, tiny)
    straight.run_until(until=1)
    again = host.start(recipe, tiny)
    state = straight.state_dict()
    again.load_state_dict(torch.load(_saved(state), weights_only=True))
    for run in (straight, again):
        run.run_until()
    assert torch.equal(straight.export().inputs, again.export().inputs)


def _saved(state):
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("name", OWN)
def test_it_cites_a_paper_and_comes_back_from_toml(host, name):
    recipe = host.recipe(name)
    assert Recipe.from_toml(recipe.to_toml(), host.catalogue) == recipe
    assert ddcore.cite(name, host=host)


def test_psg_matches_mixed_batches_of_the_whole_set(host, small, tiny):
    """One request a step over all classes; a network serves ten, then is trained on S."""
    recipe = of(host, small, "psg", iterations=12)
    run = host.start(replace(recipe, policy=replace(recipe.policy, epochs=1)), tiny)
    run.start()
    drawn = []
    for _ in range(12):
        run.update()
        drawn.append(run.draw)
    assert run.gate.unwrapped.account.history == [(run.gate.unwrapped.noise_multiplier, 4 / 60, 12)]
    assert all(draw.params is drawn[0].params for draw in drawn[:10])
    assert drawn[10].params is not drawn[0].params
    assert drawn[10].age == 1


def test_without_noise_the_private_recipe_learns_what_the_plain_one_does(host, small, tiny):
    """DM through the gate with neither noise nor bound, whole classes: the same images."""
    base = small(host.recipe("dm", iterations=5), synthetic=ddcore.Pixels(1), augment=None)
    base = replace(base, objective=ddcore.plugin.FeatureMatch(real=20))
    guard = {"epsilon": float("inf"), "noise_multiplier": 0.0}
    guard |= {"max_gradient_norm": float("inf"), "max_feature_norm": float("inf")}
    plain, private = (host.distill(replace(base, plugins=p), tiny) for p in ({}, {"private": guard}))
    assert torch.allclose(plain.inputs, private.inputs, atol=1e-5)
