"""Rounds that go on where they were stopped, the engines, and the study."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ddcore_federated import REPLAY, Averaging, Distilling, Dynafed, Federated, Iid, ReplayEach, TrainOnUnion
from ddcore_federated.flower import Refined, averaging, central, go, told_so_far, training_client

import ddcore
from ddcore import CasesFailed, RecipeRefused
from ddcore.study.watchdog import inside

NET = ddcore.MLP(width=8)
FIT = ddcore.Fit(steps=2, batch=16, lr=0.05)
TRAINING = ddcore.Protocol(steps=5, repeats=1, augment=None)
SMALL = {"iterations": 2, "objective": {"real": 8}}


def study(*exchanges, **fields):
    usual = (Averaging(fit=FIT), Distilling(ipc=1, overrides=SMALL, server=TrainOnUnion(TRAINING)))
    return Federated(exchanges=exchanges or usual, network=NET, **{"clients": 3, "rounds": 2, **fields})


def numbers(finding):
    """What does not depend on the time that it took."""
    told = json.loads(json.dumps(finding.numbers))
    for exchange in told["exchanges"]:
        del exchange["seconds"]
        for entry in (entry for course in exchange["courses"] for entry in course):
            del entry["seconds"]
    return told


def test_it_tells_of_each_exchange_over_the_seeds_and_goes_on(tmp_path, federated_host):
    told = []
    plan = study(seeds=(0, 1))

    def conducted(folder, **named):
        return ddcore.run_study(plan, folder, host=federated_host, **named)

    finding = conducted(tmp_path / "a", progress=lambda *x: told.append(x))
    assert ("case 4 of 4: feddm, 1 per class, seed 1: rounds", 2, 2) in told
    assert ("case 1 of 4: fedavg, seed 0: clients", 3, 3) in told
    assert [row[0] for row in finding.rows] == ["fedavg", "feddm, 1 per class"]
    assert all(len(row) == len(finding.head) for row in finding.rows)
    average, distilled = finding.numbers["exchanges"]
    assert average["accuracy"]["n"] == 2
    weights = sum(value.numel() for value in NET.build(ddcore.load("digits").card).init(torch.Generator())[0].values())
    for exchange in (average, distilled):
        assert 0 < exchange["down"] - 2 * 3 * 4 * weights < 2 * 3 * 1500
    assert 0 < average["up"] - 2 * 3 * 4 * weights < 2 * 3 * 1500
    assert distilled["up"] < average["up"]
    assert average["reached"] == [
        next(e["up"] for e in course if e["accuracy"] >= course[-1]["accuracy"]) for course in average["courses"]
    ]
    for plot in ("bytes.png", "rounds.png"):
        assert (tmp_path / "a" / plot).stat().st_size > 5000
        assert plot in (tmp_path / "a" / "report.md").read_text()
    splits = [path.read_text() for path in (tmp_path / "a" / "cases").glob("*-1-*/split.json")]
    assert splits[0] == splits[1]
    split = json.loads(splits[0])
    assert sum(map(sum, split["items"])) == sum(map(len, split["rows"])) == sum(ddcore.load("digits").card.counts)
    kept = sorted((tmp_path / "a" / "cases").glob("*/rounds.safetensors"))
    assert len(kept) == 4
    before = {path: path.stat().st_mtime_ns for path in kept}
    kept[1].unlink()
    kept[1].with_name("case.json").unlink()
    again = conducted(tmp_path / "a")
    assert [path for path in kept if path.stat().st_mtime_ns != before[path]] == [kept[1]]
    assert numbers(again) == numbers(finding)
    assert numbers(conducted(tmp_path / "b")) == numbers(finding)


class Stopped(KeyboardInterrupt):
    pass


EXCHANGES = {
    "fedadam": Averaging("fedadam", fit=FIT),
    "fedprox": Averaging("fedprox", fit=FIT, mu=0.5),
    "dynafed": Averaging(
        fit=FIT, refined=Dynafed(2, overrides=SMALL | {"objective": {}}, tuning=TrainOnUnion(TRAINING))
    ),
    "meta_knowledge": Distilling(
        "meta_knowledge",
        ipc=1,
        overrides={"iterations": 1, "objective": {"objective": {"real": 8, "steps": 1}}},
        server=TrainOnUnion(TRAINING),
    ),
    "goetz_tewari": Distilling("goetz_tewari", ipc=1, overrides={"iterations": 1}),
}


def test_sets_go_to_the_server_that_their_method_is_made_for(federated_host, tmp_path):
    def server(method, **named):
        problem = study()._problem(0, "cpu", federated_host)
        return Distilling(method, ipc=1, **named).build(problem, tmp_path)[1].server

    assert server("fedsynth") == server("goetz_tewari") == ReplayEach()
    assert server("fedd3") == TrainOnUnion(fresh=True)
    assert server("dosfl") == TrainOnUnion(REPLAY)
    assert server("feddm") == server("random") == TrainOnUnion()
    assert server("dosfl", server=ReplayEach(0.5)) == ReplayEach(0.5)


@pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=EXCHANGES)
def test_a_run_that_was_stopped_ends_as_if_it_never_had(exchange, tmp_path, federated_host):
    plan = study(exchange, rounds=4, fraction=0.67)

    def conducted(folder, progress=None):
        return ddcore.run_study(plan, folder, host=federated_host, progress=progress)

    def stopping(what, done, of):
        if "rounds" in what and done == 3:
            raise Stopped

    whole = conducted(tmp_path / "whole")
    with pytest.raises(Stopped):
        conducted(tmp_path / "halved", stopping)
    (kept,) = (tmp_path / "halved" / "cases").glob("*/rounds.safetensors")
    assert len(told_so_far(kept)) == 4
    assert numbers(conducted(tmp_path / "halved")) == numbers(whole)
    assert len(whole.numbers["exchanges"][0]["courses"][0]) == 5


def test_a_torn_record_of_rounds_is_refused(tmp_path, federated_host):
    ddcore.run_study(study(), tmp_path, host=federated_host)
    (kept,) = (tmp_path / "cases").glob("fedavg*/rounds.safetensors")
    kept.write_bytes(kept.read_bytes()[:100])
    kept.with_name("case.json").unlink()
    with pytest.raises(CasesFailed, match="rounds.safetensors is not a whole safetensors file"):
        ddcore.run_study(study(), tmp_path, host=federated_host)


def test_the_report_prints_the_largest_epsilon(tmp_path, federated_host):
    private = {"epsilon": 50.0, "delta": 1e-4, "noise_multiplier": 2.0}
    whole = {"iterations": 2, "objective": {"real": 1000}}
    overrides = {**whole, "synthetic": {"init": "noise"}, "plugins": {"private": private}}
    exchange = Distilling(ipc=1, overrides=overrides, server=TrainOnUnion(TRAINING))
    finding = ddcore.run_study(study(exchange), tmp_path, host=federated_host)
    (told,) = finding.numbers["exchanges"]
    first, last = (entry["epsilon"] for entry in told["courses"][0][1:])
    assert 0 < first < last == told["epsilon"] <= 50
    assert finding.rows[0][finding.head.index("epsilon")] == f"{last:.3g}"


@pytest.mark.parametrize(
    ("method", "overrides", "items"),
    [
        ("taught_tiles", {**SMALL, "labels": {"fit": {"steps": 2}}}, 32),
        ("kfs", {**SMALL, "synthetic": {"fit": 2}}, 12),
        ("idc", {"iterations": 1}, 4),
        ("dm", {**SMALL, "synthetic.coarse": 8}, 4),
        ("random", {"synthetic.coarse": 4}, 8),
    ],
)
def test_sets_with_more_items_than_stored_images_are_sent(tmp_path, federated_host, method, overrides, items):
    exchange = Distilling(method, ipc=1, overrides=overrides, server=TrainOnUnion(TRAINING))
    plan = replace(study(exchange, rounds=1, split=Iid()), network=ddcore.ConvNet(width=4, depth=1))
    finding = ddcore.run_study(plan, tmp_path, host=federated_host)
    (told,) = finding.numbers["exchanges"]
    assert told["refused"] == 0
    assert told["courses"][0][1]["images"] == 3 * 10 * items


def test_accuracy_and_the_worst_clients_by_hand(tiny):
    network = NET.build(tiny.card)
    params, _ = network.init(torch.Generator().manual_seed(0))
    test = ddcore.plugin.Preprocessed(tiny.test, ddcore.Standardise().fitted(tiny.card).start(tiny.card, dict))
    shares = torch.tensor([[10, 0, 0], [0, 3, 1], [1, 1, 1]])
    score = central(network, test, shares)(params)
    inputs, targets = test.take(torch.arange(len(test)))
    right = network(params, {}, inputs).argmax(1) == targets
    each = [float(right[targets == c].double().mean()) for c in range(3)]
    assert score["accuracy"] == pytest.approx(100 * float(right.double().mean()))
    mixed = [each[0], (3 * each[1] + each[2]) / 4, sum(each) / 3]
    assert score["worst"] == pytest.approx(100 * min(mixed), abs=1e-4)


def test_dynafed_trains_only_after_its_way_and_leaves_clients_alone(tiny, thirds, in_process, federated_host, tmp_path):
    network = NET.build(tiny.card)
    start, _ = network.init(torch.Generator().manual_seed(0))
    server = Dynafed(2, overrides={"iterations": 1, "synthetic.ipc": 1}, tuning=TrainOnUnion(TRAINING))

    def walked(refined):
        strategy = averaging("fedavg", 3, mu=0.1, lr=0.1)
        if refined:
            strategy = Refined(strategy, server, tiny.card, NET, tmp_path, federated_host)
        weights = []

        def score(params):
            weights.append(params)
            return {"accuracy": 0.0}

        place = tmp_path / f"{refined}.safetensors"
        in_process(lambda grid: go(strategy, grid, start, 3, place, score), training_client(thirds, NET, FIT))
        return weights

    plain, refined = walked(False), walked(True)
    same = [all(torch.equal(a[name], b[name]) for name in start) for a, b in zip(plain, refined, strict=True)]
    assert same == [True, True, True, False]


@pytest.mark.parametrize("path", ["network.network.width", "preprocess.name"])
def test_what_is_the_studys_is_not_an_exchanges(path):
    with pytest.raises(RecipeRefused, match=f"overrides.{path} cannot be set"):
        Distilling(overrides={path: 4})


def test_a_tuning_that_diverges_keeps_the_averages(tmp_path, federated_host):
    far = Dynafed(1, overrides=SMALL | {"objective": {}}, tuning=TrainOnUnion(replace(TRAINING, lr=(1e30,))))
    plan = study(Averaging(fit=FIT, refined=far, title="far"), Averaging(fit=FIT), rounds=3)
    finding = ddcore.run_study(plan, tmp_path, host=federated_host)
    one, two = (exchange["courses"][0] for exchange in finding.numbers["exchanges"])
    assert "The average is kept" in one[-1]["failed"] and "Rounds without an effect" in finding.says
    assert one[-1]["accuracy"] == two[-1]["accuracy"]


def test_where_no_client_can_take_part_the_study_says_so_and_keeps_nothing(tmp_path, federated_host):
    plan = study(Averaging(fit=replace(FIT, lr=1e30), title="wild"))
    with pytest.raises(CasesFailed, match="In the first round no client could take part.*no longer finite"):
        ddcore.run_study(plan, tmp_path, host=federated_host)
    assert not list(tmp_path.glob("cases/*/rounds.safetensors"))


INTERRUPTED = """
import signal, sys, threading
import ddcore, ddcore_federated
from ddcore_federated import Distilling, Federated

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
study = Federated(
    exchanges=(Distilling(ipc=5, overrides={"iterations": 10**6}),), network=ddcore.ConvNet(width=8, depth=2), clients=2
)
update, at_work = ddcore.Run.update, []


def interrupted(run):
    if run.step == 3:
        at_work.append(threading.current_thread())
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    return update(run)


ddcore.Run.update = interrupted
try:
    ddcore.run_study(study, sys.argv[1], host=ddcore.Host({"federated": ddcore_federated}))
finally:
    print("ended", [work.ended(0) for work in at_work])
"""


def test_an_interrupt_ends_the_client_that_is_at_work(tmp_path):
    words = [sys.executable, "-c", INTERRUPTED, tmp_path / "study"]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (-signal.SIGINT, "ended [True]"), run.stderr


def test_dynafed_takes_the_studys_preprocessing(federated_host, tmp_path):
    exchange = Averaging(fit=FIT, refined=Dynafed(1), rounds=3)
    plan = replace(study(exchange), preprocess=ddcore.Standardise((0.5,), (0.5,)))
    _, strategy = exchange.build(plan._problem(0, "cpu", federated_host), tmp_path)
    recipe = strategy.dynafed.recipe(strategy.card, federated_host, strategy.preprocess)
    assert recipe.preprocess == plan.preprocess


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"seeds": ()}, "seeds is empty: the study needs at least one"),
        ({"exchanges": ()}, "exchanges is empty: the study needs at least one"),
        ({"clients": 0}, "clients = 0: it must be at least 1"),
        ({"rounds": 0}, "rounds = 0: it must be at least 1"),
        ({"exchanges": (Averaging(), Averaging())}, "have the same name"),
        ({"exchanges": (Averaging(title="a"), Averaging(title="a", lr=0.5))}, "have the same name"),
        ({"fraction": 0.0}, "fraction = 0.0: it must be above 0 and at most 1"),
        ({"seeds": (1, 1)}, "name each once"),
        ({"exchanges": (Averaging(refined=Dynafed(5)),)}, "of 5 rounds leave none for"),
    ],
)
def test_a_study_that_says_too_little_is_refused(said, sentence):
    with pytest.raises(RecipeRefused, match=sentence):
        Federated(**said)


@pytest.mark.parametrize(
    ("exchange", "network", "sentence"),
    [
        (Distilling(ipc=1, overrides={**SMALL, "plugins": {"private": {"epsilon": 8.0}}}), NET, "Start from noise"),
        (Distilling("nothing_known"), NET, "no method named 'nothing_known'"),
        (Distilling(ipc=10**4), NET, "Choose a smaller ipc"),
        (Distilling("dynafed"), NET, "By dynafed the server makes a set"),
        (Averaging(refined=Dynafed(1, method="dm")), NET, "The server has no real data, but dm asks"),
        (Averaging(), ddcore.ConvNet(width=4, depth=1, norm="batch"), "keeps running statistics"),
    ],
)
def test_what_no_client_could_run_is_refused_before_any_does(tmp_path, federated_host, exchange, network, sentence):
    plan = replace(study(Averaging(fit=FIT, title="before"), exchange), network=network)
    with pytest.raises((RecipeRefused, ddcore.UnknownName)) as refused:
        ddcore.run_study(plan, tmp_path, host=federated_host)
    assert sentence in str(refused.value)
    assert not (tmp_path / "cases").exists()


def test_the_report_says_why_replies_were_left_out(tmp_path, federated_host):
    spent = {"epsilon": 10.0, "delta": 1e-4, "noise_multiplier": 2.0}
    overrides = {"iterations": 1, "objective": {"real": 1000}, "synthetic": {"init": "noise"}}
    exchange = Distilling(
        ipc=1, overrides={**overrides, "plugins": {"private": {**spent, "epsilon": 2.5}}}, title="poor"
    )
    finding = ddcore.run_study(study(exchange, rounds=4), tmp_path, host=federated_host)
    (told,) = finding.numbers["exchanges"]
    assert told["refused"] > 0
    assert told["epsilon"] <= 2.5
    assert "Left out, for example: " in finding.says
    assert "Nothing was distilled: the privacy budget (epsilon 2.5" in finding.says


def test_its_parts_can_be_named(federated_host):
    entries = {(e.kind, e.name) for e in federated_host.catalogue}
    assert {("study", "federated"), ("exchange", "distilling"), ("exchange", "averaging")} <= entries
    assert {("split", name) for name in ("iid", "dirichlet", "by_classes")} <= entries


# --- Ray -------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
import ddcore, ddcore_federated
from ddcore_federated import Averaging, Distilling, Federated, TrainOnUnion

training = ddcore.Protocol(steps=5, repeats=1, augment=None)
exchanges = (
    Averaging(fit=ddcore.Fit(steps=2, batch=16, lr=0.05)),
    Distilling(ipc=1, overrides={"iterations": 2, "objective": {"real": 8}}, server=TrainOnUnion(training)),
)
study = Federated(
    exchanges=exchanges, network=ddcore.MLP(width=8), clients=3, fraction=0.67, rounds=int(sys.argv[2]),
    engine=sys.argv[3], cores=2,
)
host = ddcore.Host({"federated": ddcore_federated})
ddcore.run_study(study, sys.argv[1], host=host, progress=lambda *told: print(*told, flush=True))
"""


def told_in(folder):
    return numbers(ddcore.Finding([], [], json.loads((folder / "finding.json").read_text())))


@pytest.fixture
def program(tmp_path):
    """Starts the study above in a folder, with a home and a temporary folder of its own."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    short = Path(tempfile.mkdtemp(prefix="f"))  # Ray's sockets want short paths
    for name in ("home", "tmp"):
        (short / name).mkdir(parents=True)
    env = {**os.environ, "HOME": str(short / "home"), "FLWR_HOME": str(short / "home"), "TMPDIR": str(short / "tmp")}

    def start(folder, rounds, engine):
        words = [sys.executable, script, folder, str(rounds), engine]
        return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    yield start, short / "tmp"
    shutil.rmtree(short)


@pytest.mark.slow
def test_on_ray_all_is_as_in_process(program, tmp_path):
    start, temporary = program
    for engine in ("process", "ray"):
        run = start(tmp_path / engine, 2, engine)
        said, _ = run.communicate()
        assert run.returncode == 0, said
    assert told_in(tmp_path / "process") == told_in(tmp_path / "ray")
    assert not list(temporary.glob("ddray-*"))


@pytest.mark.slow
def test_a_killed_simulation_leaves_no_process_and_goes_on(program, tmp_path):
    start, temporary = program
    run = start(tmp_path / "killed", 4, "ray")
    for line in run.stdout:
        if "rounds 2 4" in line:
            break
    (folder,) = temporary.glob("ddray-*")
    assert len(list(inside(str(folder)))) > 3
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    for _ in range(60):
        if not folder.exists() and not list(inside(str(folder))):
            break
        time.sleep(0.5)
    assert not list(inside(str(folder)))
    assert not folder.exists()
    before = len(told_so_far(next((tmp_path / "killed" / "cases").glob("fedavg*/rounds.safetensors"))))
    assert before >= 3
    again = start(tmp_path / "killed", 4, "ray")
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert f"fedavg, seed 0: rounds {before - 1} 4" not in said
    whole = start(tmp_path / "whole", 4, "process")
    whole.communicate()
    first, second = told_in(tmp_path / "killed"), told_in(tmp_path / "whole")
    assert first == second
