"""Checkpoints: damaged to the bit, of other data, of a wrong shape; the records beside them."""

import copy
import math
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import ddcore
from ddcore import BadCheckpoint, Folder
from ddcore.checkpoint import read_checkpoint, write_checkpoint
from ddcore.datasets.folder import ImageFolder
from ddcore.plugin import MLP, Early, Experts, Fit, Pool, Rival, Taught

FIT = Fit(steps=4, batch=8)
ON_THE_WAY = {
    "dm": {},
    "dc": {},
    "mtt": {"policy": Experts(experts=2, fit=replace(FIT, snapshots=2), last=1, span=1)},
    "sre2l": {"labels": Taught(fit=None, keep=True)},
    "cafe": {},
    "frepo": {"policy": Pool(networks=2)},
    "early": {"policy": Early(networks=2, fit=FIT)},
    "haba": {"policy": Rival(Experts(experts=2, fit=replace(FIT, snapshots=2), last=1, span=1))},
}
"""Recipes whose policies remember something, each of another kind."""


def recipe_of(host, small, name):
    overrides = {"policy.fit.steps": 4} if name == "sre2l" else {"synthetic.ipc": 6} if name == "haba" else {}
    recipe = host.recipe({"early": "dc"}.get(name, name), overrides=overrides)
    return small(recipe, iterations=6, **ON_THE_WAY[name])


def left(host, recipe, data, pause):
    """The states in which a run can be left: after two steps, and at the pause of that number, if there is one."""
    states = []
    run = host.start(recipe, data, on_pause=lambda run: states.append(copy.deepcopy(run.state_dict())))
    run.run_until(2)
    return [run.state_dict(), *states[pause : pause + 1]]


# --- the file --------------------------------------------------------------------------------------------


@pytest.fixture
def file(host, small, tiny, tmp_path):
    run = host.start(small(host.recipe("dc", iterations=3)), tiny)
    run.run_until(2)
    write_checkpoint(tmp_path / "run.pt", run.state_dict(), private=False)
    return tmp_path / "run.pt"


def test_a_file_is_read_as_it_was_written_and_by_torch_alone(file):
    state = read_checkpoint(file)
    assert state["step"] == 2
    assert torch.load(file, weights_only=True)["step"] == 2


def test_each_flipped_bit_is_noticed(file):
    whole, draw = file.read_bytes(), random.Random(0)
    places = [0, 8 * len(whole) - 1, *(draw.randrange(8 * len(whole)) for _ in range(300))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        with pytest.raises(BadCheckpoint, match="run.pt is damaged: its checksum"):
            read_checkpoint(file)


def test_a_file_that_is_short_long_or_swapped_is_noticed(file):
    whole, draw = file.read_bytes(), random.Random(0)
    cuts = [0, 1, 63, 64, 65, *(draw.randrange(len(whole)) for _ in range(50))]
    swapped = []
    for _ in range(50):
        a, b = sorted(draw.sample(range(0, len(whole) - 64, 64), 2))
        blocks = whole[:a] + whole[b : b + 64] + whole[a + 64 : b] + whole[a : a + 64] + whole[b + 64 :]
        swapped += [blocks] if blocks != whole else []
    assert len(swapped) > 20
    for damaged in [*(whole[:cut] for cut in cuts), whole + b"0", whole + whole, *swapped]:
        file.write_bytes(damaged)
        with pytest.raises(BadCheckpoint, match="damaged"):
            read_checkpoint(file)


def test_a_file_of_another_program_is_refused(tmp_path):
    file = tmp_path / "run.pt"
    torch.save({"step": 1}, file)
    with pytest.raises(BadCheckpoint, match="checksum"):
        read_checkpoint(file)
    for value, sentence in ((MLP(), "more than tensors and plain values"), ([1], "no state of a run")):
        write_checkpoint(file, value, private=False)
        with pytest.raises(BadCheckpoint, match=sentence):
            read_checkpoint(file)


def test_only_the_owner_reads_the_checkpoint_of_a_guarding_gate(host, small, tiny, tmp_path):
    for name, folder_mode, file_mode in (("dm", 0o755, 0o644), ("ndpdc", 0o700, 0o600)):
        recipe = small(host.recipe(name, iterations=1))
        folder = Folder(tmp_path / name)
        folder.checkpoint(host.start(recipe, tiny))
        assert folder.state.parent.stat().st_mode & 0o777 == folder_mode
        assert folder.state.stat().st_mode & 0o777 == file_mode


# --- the data --------------------------------------------------------------------------------------------


def changed(data, items=False, label=False):
    """``data`` with one pixel, or the labels of two items, changed: its counts stay."""
    inputs, targets = data.train.inputs.clone(), data.train.targets.clone()
    if items:
        inputs[7, 0, 0, 0] ^= 1
    if label:
        targets[[0, -1]] = targets[[-1, 0]]
    store = type(data.train).of(inputs, targets, data.train.classes)
    return replace(data, train=store)


@pytest.mark.parametrize("name", ["dm", "mtt", "ndpdc", "random"])
def test_a_run_goes_on_only_on_the_data_that_it_began_on(host, small, tiny, name):
    recipe = small(host.recipe(name), **ON_THE_WAY.get(name, {}))
    run = host.start(recipe, tiny)
    if not recipe.gate.guards:
        run.run_until(1)
    state = run.state_dict()
    host.start(recipe, changed(tiny)).load_state_dict(state)
    for change in ({"items": True}, {"label": True}):
        other = changed(tiny, **change)
        assert other.card == tiny.card
        with pytest.raises(BadCheckpoint, match="made on other data than tiny as it is now: items or labels have"):
            host.start(recipe, other).load_state_dict(state)
    fewer = tiny.subset(torch.arange(len(tiny.train) - 1))
    with pytest.raises(BadCheckpoint, match="as it is now: counts differ"):
        host.start(recipe, fewer).load_state_dict(state)


def test_the_card_says_which_data_unless_a_gate_guards_them(host, small, tiny):
    assert host.distill(small(host.recipe("random")), tiny).facts["fingerprint"] == tiny.train.content
    private = host.recipe(
        "ndpdc", iterations=1, overrides={"plugins.private.epsilon": 50.0, "plugins.private.delta": 1e-3}
    )
    assert "fingerprint" not in host.distill(small(private), tiny).facts


def test_content_is_of_items_labels_and_form(tiny):
    store = tiny.train
    assert changed(tiny).train.content == store.content
    others = [
        changed(tiny, items=True).train,
        changed(tiny, label=True).train,
        replace(store, inputs=store.inputs.int()),
    ]
    others.append(replace(store, inputs=store.inputs.view(-1, 1, 4, 16)))
    assert len({store.content, *(other.content for other in others)}) == 5


def test_pictures_on_disk_are_known_without_being_read(tmp_path, monkeypatch):
    for c in ("ash", "birch"):
        (tmp_path / "train" / c).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(tmp_path / "train" / c / f"{i}.png")

    def content():
        return ImageFolder(str(tmp_path), memory=0).load().train.content

    first = content()
    monkeypatch.setattr("ddcore.datasets.folder.Pictures._image", lambda *_: pytest.fail("read"))
    assert content() == first
    picture = tmp_path / "train" / "ash" / "0.png"
    picture.write_bytes(picture.read_bytes() + b" ")
    assert content() != first


# --- the state -------------------------------------------------------------------------------------------


def mutated(value, draw):
    """``value`` with something in it exchanged for what it cannot be, and where that is."""
    path, at = [], value
    while isinstance(at, dict | list) and at and (not path or draw.random() < 0.8):
        key = draw.choice(list(at)) if isinstance(at, dict) else draw.randrange(len(at))
        path.append(key)
        at = at[key]
    wrong = copy.deepcopy(value)
    holder = wrong
    for key in path[:-1]:
        holder = holder[key]
    others = [None, [], {}, "x", -1, 10**6, math.nan, True, torch.zeros(3), [1, 2], {"x": 1}]
    if isinstance(at, torch.Tensor):
        others.append(at[None])
    deed = draw.randrange(len(others) + 1)
    if deed == len(others) and isinstance(holder, dict):
        del holder[path[-1]]
    else:
        holder[path[-1]] = others[deed % len(others)]
    return wrong, path


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_a_state_that_cannot_be_is_refused_or_gone_on_with(host, small, tiny, name):
    """Every mutation is refused as a damaged checkpoint, or else the run takes its next step."""
    recipe, draw, refused = recipe_of(host, small, name), random.Random(name), 0
    states = left(host, recipe, tiny, pause=2)
    for state in states:
        host.start(recipe, tiny).load_state_dict(copy.deepcopy(state))
    for case in range(40):
        wrong, path = mutated(states[case % len(states)], draw)
        run = host.start(recipe, tiny)
        try:
            run.load_state_dict(wrong)
        except BadCheckpoint:
            refused += 1
            continue
        try:
            run.run_until(run.step + 1)
        except ddcore.DdcoreError:
            continue
        except Exception as error:
            raise AssertionError(f"{path} was taken") from error
    assert refused > 20


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"step": -5}, "step: .* greater than or equal to 0"),
        ({"step": 10**6}, "it has done 1000000 steps of 3"),
        ({"step": True}, "step: .* valid integer"),
        ({"seconds": math.nan}, "seconds: .* finite number"),
        ({"seconds": -1.0}, "seconds: "),
        ({"synthetic": []}, "synthetic: .* valid dictionary"),
        ({"policy": [1]}, "policy: .* valid dictionary"),
        ({"policy": {"age": 3}}, "policy|Extra inputs"),
        ({"gate": {"ledger": 1}}, "OpenGate remembers nothing"),
        ({"rng": {"streams": {"real": torch.zeros(3)}, "secret": {}}}, "damaged"),
        ({"preprocess": None}, "without its preprocessing"),
        ({"more": 1}, "more: Extra inputs"),
    ],
)
def test_what_is_wrong_with_a_state_is_said(host, small, tiny, change, sentence):
    recipe = small(host.recipe("dm", iterations=3))
    run = host.start(recipe, tiny)
    run.run_until(2)
    with pytest.raises(BadCheckpoint, match=sentence):
        host.start(recipe, tiny).load_state_dict({**run.state_dict(), **change})


# --- the records -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """An experiment that has done its four steps and is to be evaluated."""
    folder = Folder(tmp_path_factory.mktemp("stopped") / "run")
    host = ddcore.Host()
    recipe = host.recipe("dm", iterations=4, overrides={"network.width": 4, "network.depth": 2, "objective.real": 4})
    settings = ddcore.Settings(
        ddcore.plugin.Digits(), ddcore.Protocol(steps=1, repeats=1, networks=(MLP(width=4),)), ()
    )
    ddcore.run_experiment(ddcore.Experiment(recipe, settings), folder.path, host=host)
    return folder


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: None,
        lambda lines: [],
        lambda lines: lines[:3],
        lambda lines: [*lines[:1], *lines[2:], lines[0]],
        lambda lines: [*lines[:3], lines[3][:-5]],
        lambda lines: ["[]", *lines[1:]],
    ],
    ids=["missing", "empty", "short", "another order", "torn", "no records"],
)
def test_steps_without_records_are_not_passed_over(stopped, tmp_path, spoil):
    folder = Folder(shutil.copytree(stopped.path, tmp_path / "run"))
    lines = spoil(folder.records.read_text().splitlines())
    if lines is None:
        folder.records.unlink()
    else:
        folder.records.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(BadCheckpoint, match="records.jsonl does not hold the 4 steps that the checkpoint has done"):
        ddcore.resume(folder.path)


def test_records_of_steps_that_the_checkpoint_has_not_done_are_dropped(stopped, tmp_path):
    folder = Folder(shutil.copytree(stopped.path, tmp_path / "run"))
    whole = folder.records.read_text()
    folder.records.write_text(whole + '{"step": 5, "lo')
    ddcore.resume(folder.path)
    assert folder.records.read_text() == whole
