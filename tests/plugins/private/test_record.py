"""What a private run has told is on record before it is told, whatever becomes of the run."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

import ddcore
from ddcore import BadCheckpoint, StopRun
from ddcore.gate.record import SpendRecord, Told, digest

METHODS = {
    # requests of three steps, each way of asking among them
    "psg": ({}, 3),
    "ndpdc": ({}, 3),
    "dosser": ({"plugins.private.signals": 2}, 2),
    "it_gan": (
        {
            **{"synthetic.size": 3, "synthetic.channels": 2, "synthetic.width": 3, "synthetic.real": 4},
            **{"synthetic.training.steps": 2, "synthetic.training.batch": 12},
        },
        6,
    ),
    "idc": (
        {
            **{"synthetic.init": "noise", "policy.fit.cutmix": 0.0, "policy.fit.batch": 12, "policy.fit.steps": 2},
            "policy.rounds": 3,
        },
        7,
    ),
}


@pytest.fixture
def lives(host, small, tiny, tmp_path):
    """Runs of one recipe on one record: the first begins it, each later one goes on from a state."""

    def live(recipe, state=None, data=tiny):
        record = SpendRecord(tmp_path / "spent.jsonl")
        run = host.start(recipe, data, record=record)
        if state is None:
            record.begin()
        else:
            record.read()
            run.load_state_dict(deepcopy(state))
        told = []
        for name in ("gradient", "features"):
            setattr(run.gate, name, _overheard(getattr(run.gate, name), told))
        return run, told

    return live


def _overheard(ask, told):
    def asked(*request):
        told.append(ask(*request))
        return told[-1]

    return asked


def private(host, small, name="ndpdc", **options):
    said, _ = METHODS[name]
    recipe = small(host.recipe(name, overrides={"iterations": 3, **said} if name != "it_gan" else said))
    options = {"epsilon": 1e6, "noise_multiplier": 2.0, **recipe.plugins.get("private", {}), **options}
    return replace(recipe, iterations=3, plugins={"private": {**options, "epsilon": options["epsilon"]}})


# --- the file --------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    record = SpendRecord(tmp_path / "spent.jsonl")
    record.begin()
    for number in range(3):
        record.append(Told(digest(number), digest("answer", number), {"spent": number, "kinds": [[0.1, 2.0, number]]}))
    return record


def reread(record, data):
    record.path.write_bytes(data)
    again = SpendRecord(record.path)
    again.read()
    return again


def test_a_record_is_read_as_it_was_written(written):
    again = reread(written, written.path.read_bytes())
    assert (again.run, again.count, again.spent) == (written.run, 3, written.spent)
    assert [told.answer for told in again.after(1)] == [digest("answer", 1), digest("answer", 2)]
    again.append(Told("x", "y", {}))
    assert reread(written, written.path.read_bytes()).count == 4


def test_a_line_that_was_cut_off_was_not_told_and_the_record_goes_on(written):
    data = written.path.read_bytes()
    whole = data.rindex(b"\n", 0, -1) + 1
    for end in range(whole, len(data)):
        again = reread(written, data[:end])
        assert again.count == 2
        assert written.path.read_bytes() == data[:whole]
    again.append(Told(digest(2), digest("answer", 2), {"spent": 2, "kinds": [[0.1, 2.0, 2]]}))
    assert written.path.read_bytes() == data


def test_any_bit_that_turned_is_seen(written):
    data = bytearray(written.path.read_bytes())
    for place in range(0, len(data)):
        for bit in (place % 8, 7 - place % 8):
            turned = bytearray(data)
            turned[place] ^= 1 << bit
            with pytest.raises(BadCheckpoint, match=r"damaged in line \d. What a private run has told stays told"):
                reread(written, bytes(turned))


@pytest.mark.parametrize("keep", [[0, 2, 3], [0, 2, 1, 3], [1, 2, 3], [0, 1, 1, 2, 3], []])
def test_lines_left_out_moved_or_repeated_are_seen(written, keep):
    lines = written.path.read_bytes().splitlines(keepends=True)
    with pytest.raises(BadCheckpoint, match="damaged in line"):
        reread(written, b"".join(lines[number] for number in keep))


def test_a_hash_tells_requests_apart_and_does_not_change():
    draw = ddcore.Draw(ddcore.MLP(), {"w": torch.ones(2)}, {})
    group = ddcore.Group((0,), 4, ddcore.plugin.Siamese().draw(torch.Generator().manual_seed(0), (1, 8, 8)))
    asked = [draw, [group]]
    others = [
        [replace(draw, params={"w": torch.tensor([1.0, 1.0 + 1e-7])}), [group]],
        [replace(draw, params={"v": torch.ones(2)}), [group]],
        [replace(draw, buffers={"b": torch.ones(1)}), [group]],
        [draw, [replace(group, size=5)]],
        [draw, [replace(group, classes=(1,))]],
        [draw, [replace(group, transform=None)]],
        [draw, [group, group]],
    ]
    hashes = {digest(*request) for request in [asked, *others]}
    assert len(hashes) == 1 + len(others)
    assert digest(*deepcopy(asked)) == digest(*asked)


# --- a run that goes on ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("step", [0, 1])
def test_what_comes_again_is_the_same_and_costs_nothing(host, small, lives, name, step):
    recipe, (_, requests) = private(host, small, name), METHODS[name]
    run, told = lives(recipe)
    if step:
        run.run_until(until=step)
    state, before = deepcopy(run.state_dict()), len(told)
    run.run_until()
    again, retold = lives(recipe, state)
    again.run_until()
    assert digest(told[before:]) == digest(retold)
    assert again.record.count == again.gate.spent().requests == requests
    assert again.gate.facts() == run.gate.facts()
    assert torch.equal(again.export().inputs, run.export().inputs)
    assert again.gate.state_dict()["told"] == requests


def moved(run):
    """Another S: it asks at other networks, or asks the same and learns something else."""
    with torch.no_grad():
        for value in run.synthetic.parameters():
            value += 0.3


def test_no_noise_stands_in_two_answers(host, small, lives):
    """psg's second network has been trained on S: with another S the same noise would expose the difference."""
    recipe = private(host, small, "psg")
    recipe = replace(recipe, policy=replace(recipe.policy, steps=1, epochs=1, rounds=9))
    run, told = lives(recipe)
    run.start()
    state = deepcopy(run.state_dict())
    run.run_until()
    again, retold = lives(recipe, state)
    moved(again)
    again.run_until()
    assert digest(told[0]) == digest(retold[0]), "the first network knows no S"
    differences = [flat(a) - flat(b) for a, b in zip(told[1:], retold[1:], strict=True)]
    expected = 2**0.5 * 2.0 * 0.1 / 4
    assert all(float(d.std()) == pytest.approx(expected, rel=0.15) for d in differences), "noise of its own in each"
    assert again.gate.spent().requests == again.record.count == 3 + 2
    assert run.gate.spent().requests == 3


def flat(answers):
    return torch.cat([value.flatten() for answer in answers for value in answer.values()])


def test_the_same_request_on_other_data_is_another_answer(host, small, tiny, lives):
    """One item changed under the run, past every check: its difference is not told."""
    recipe = private(host, small)
    recipe = replace(recipe, objective=replace(recipe.objective, real=20))
    run, told = lives(recipe)
    run.start()
    state = deepcopy(run.state_dict())
    run.run_until()
    images = tiny.train.inputs.clone()
    images[3] = 255 - images[3]
    other = replace(tiny, train=replace(tiny.train, inputs=images))
    run, retold = lives(recipe, {**state, "content": other.train.content}, other)
    run.run_until()
    differences = torch.stack([a - b for x, y in zip(told, retold, strict=True) for a, b in zip(x, y, strict=True)])
    assert float(differences.flatten(1).std(1).min()) > 0.5 * 2**0.5 * 2.0 / 20
    assert run.gate.spent().requests == 6


def test_what_other_lives_told_counts_before_it_comes_again_and_after(host, small, lives):
    recipe = private(host, small)
    run, _ = lives(recipe)
    run.start()
    state, ends = deepcopy(run.state_dict()), []
    run.run_until()
    for _ in range(3):
        run, _ = lives(recipe, state)
        moved(run)
        assert run.gate.spent().requests == run.gate.facts()["privacy"]["requests"] == run.record.count
        run.run_until(until=1)
        assert run.gate.spent().requests == run.record.count == run.gate.ledger()["ledger"]["history"][0][2]
        run.run_until()
        ends.append(run.gate.spent())
    assert [one.requests for one in ends] == [3, 3, 3], "networks that know no S ask the same"
    again, _ = lives(recipe, state)
    again.rng.renew_secrets()
    again.run_until()
    assert again.export().facts["privacy"]["requests"] == 6
    assert again.gate.spent().epsilon > ends[0].epsilon


def test_a_budget_is_for_all_lives(host, small, lives):
    recipe = private(host, small, epsilon=4.0)
    recipe = replace(recipe, iterations=200)
    run, _ = lives(recipe)
    run.start()
    state, counts = deepcopy(run.state_dict()), []
    for until in (5, 5, 5, 200):
        run, _ = lives(recipe, state)
        run.rng.renew_secrets()
        if until < 200:
            run.run_until(until=until)
        else:
            with pytest.raises(StopRun, match="the privacy budget"):
                run.run_until()
        counts.append(run.record.count)
    assert counts[:3] == [5, 10, 15] < counts[3:]
    assert run.gate.spent().requests == counts[3]
    assert 0 < run.gate.spent().epsilon <= 4.0


def test_a_state_knows_its_record(host, small, lives, tmp_path):
    recipe = private(host, small)
    run, _ = lives(recipe)
    run.run_until(until=2)
    state = run.state_dict()
    path = tmp_path / "spent.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(BadCheckpoint, match="ends after 1 requests, and the checkpoint was made after 2"):
        lives(recipe, state)
    lives(recipe)
    with pytest.raises(BadCheckpoint, match="is the record of another run than the checkpoint"):
        lives(recipe, state)


def test_an_answer_that_cannot_be_recorded_is_not_told(host, small, lives, monkeypatch):
    run, told = lives(private(host, small))
    run.start()
    monkeypatch.setattr("ddcore.gate.record.os.fsync", lambda file: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        run.run_until()
    assert told == []


def test_losses_are_functions_of_what_was_told(host, small, tiny, lives):
    """T replaced by other items, and the answers by those of the first run: the same losses and the same S."""
    found = []
    for name in ("psg", "ndpdc"):
        recipe = private(host, small, name)
        run, told = lives(recipe)
        losses = [[], []]
        run.on_step = lambda _, record, at=losses[0]: at.append(record["loss"])
        run.run_until()
        noise = torch.randint(0, 256, tiny.train.inputs.shape, dtype=torch.uint8)
        other = host.start(recipe, replace(tiny, train=replace(tiny.train, inputs=noise)))
        answers = iter(told)
        for disclosure in ("gradient", "features"):
            setattr(other.gate, disclosure, lambda *_, answers=answers: next(answers))
        other.on_step = lambda _, record, at=losses[1]: at.append(record["loss"])
        other.run_until()
        assert losses[0] == losses[1]
        assert torch.equal(run.synthetic.everything()[0], other.synthetic.everything()[0])
        found += losses[0]
    assert len(found) == 6
    assert all(map(math.isfinite, found))
