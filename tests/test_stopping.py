"""What ends a run early, from outside: a signal, a full disk, a folder that is gone, another process in its folder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import ddcore
from ddcore import Folder, FolderHeld
from ddcore.checkpoint import read_checkpoint
from ddcore.experiment.interrupts import Interrupts
from ddcore.files import check_target, held, replaced_whole, write_whole

SMALL = [
    "--set",
    "network.width=4",
    "--set",
    "network.depth=2",
    "--set",
    "objective.real=4",
    "--networks",
    "mlp(width=8)",
]
SMALL += ["--repeats", 1, "--set", "protocol.steps=3", "--baselines", "none"]
DISTIL = ["distill", "dm", "--iterations", 200, *SMALL]
RARELY = ["--checkpoint-seconds", 1000]


def steps(folder):
    path = Folder(folder).records
    return path.read_bytes().count(b"\n") if path.exists() else 0


def until(process, happened):
    while not happened():
        assert process.alive, process.ended()
        time.sleep(0.002)


@pytest.fixture(scope="module")
def straight(program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "run"
    status, said = program(*DISTIL, "--out", folder).ended()
    assert status == 0, said
    return folder


def same(one, other):
    sets = [ddcore.load_distilled(Folder(folder).distilled) for folder in (one, other)]
    assert torch.equal(sets[0].inputs, sets[1].inputs)
    scores = [json.loads(Folder(folder).metrics.read_text())["scores"] for folder in (one, other)]
    assert scores[0] == scores[1]


# --- signals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_step_in_hand_and_says_how_to_go_on(program, straight, tmp_path, number, status):
    folder = tmp_path / "a [b] run"
    run = program(*DISTIL, *RARELY, "--out", folder)
    until(run, lambda: steps(folder) >= 3)
    run.send(number)
    left, said = run.ended()
    assert left == status, said
    assert said.endswith(f"Stopped. Go on with: ddcore resume '{folder}'\n")
    assert "Traceback" not in said
    assert 3 <= read_checkpoint(Folder(folder).state)["step"] == steps(folder) < 200
    assert program("resume", folder).ended()[0] == 0
    same(straight, folder)


def test_a_signal_before_the_first_step_is_answered_at_once(program, tmp_path):
    waits = "import signal, ddcore.run as r\nr.Run.start = lambda run: signal.raise_signal(signal.SIGTERM)"
    status, said = program(*DISTIL, "--out", tmp_path / "run", before=waits).ended()
    assert status == 143
    assert f"Stopped. Go on with: ddcore resume {tmp_path / 'run'}" in said
    assert not Folder(tmp_path / "run").state.exists()


def test_the_second_signal_does_not_wait():
    def signalled(times, error=None):
        interrupts = Interrupts()
        with interrupts.held_back(lambda: True):
            for _ in range(times):
                assert not interrupts.waiting or times == 2
                signal.raise_signal(signal.SIGINT)
            reached.append(times)
            if error:
                raise error

    reached = []
    for times, error, raised in ((1, None, KeyboardInterrupt), (2, None, KeyboardInterrupt), (1, OSError(), OSError)):
        with pytest.raises(raised):
            signalled(times, error)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert reached == [1, 1]


@pytest.mark.slow
def test_sigterm_ends_a_study_with_its_processes(tmp_path):
    """The pipe closes when the last process that holds it ends."""
    words = [
        "study",
        "grid",
        "--workers",
        2,
        "--set",
        "seeds=[0,1]",
        "--set",
        "methods=['dm']",
        "--set",
        "iterations=100000",
    ]
    words += ["--set", "overrides={dm = {'network.width' = 4, 'objective.real' = 4}}", "--out", tmp_path / "s"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    run = subprocess.Popen([sys.executable, "-m", "ddcore", *map(str, words)], cwd=tmp_path, **pipes)
    while not list((tmp_path / "s" / "cases").glob("*/records.jsonl")):
        assert run.poll() is None, run.communicate()
        time.sleep(0.01)
    run.send_signal(signal.SIGTERM)
    said, _ = run.communicate()
    assert run.returncode == 143, said
    assert "Stopped. The same command goes on." in said
    assert "Traceback" not in said


# --- disks -----------------------------------------------------------------------------------------------

AT = """
import resource, shutil
left = 60
def count(event, args):
    global left
    if event == "open" and {folder!r} in str(args[0]):
        left -= 1
        if not left:
            {deed}
sys.addaudithook(count)
"""


def test_a_full_disk_has_a_sentence_and_the_last_checkpoint_is_whole(program, straight, tmp_path):
    folder = tmp_path / "run"
    full = "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    code = AT.format(folder=str(folder), deed=full)
    status, said = program(*DISTIL, "--checkpoint-seconds", 0, "--out", folder, before=code).ended()
    assert status == 2, said
    assert f"Error: {Folder(folder).state} cannot be used: File too large. Go on with: ddcore resume" in said
    assert 0 < read_checkpoint(Folder(folder).state)["step"] < 200
    assert [path.name for path in folder.rglob(".*")] == []
    assert program("resume", folder).ended()[0] == 0
    same(straight, folder)


def test_a_folder_that_goes_in_mid_run_has_a_sentence(program, tmp_path):
    folder = tmp_path / "run"
    code = AT.format(folder=str(folder), deed=f"shutil.rmtree({str(folder)!r})")
    status, said = program(*DISTIL, *RARELY, "--out", folder, before=code).ended()
    assert status == 2, said
    assert f"Error: {folder}" in said and "cannot be used: No such file or directory." in said
    assert "Traceback" not in said


def test_an_error_of_the_disk_names_the_file_and_not_the_temporary_one(tmp_path):
    def full(temporary):
        raise OSError(28, "No space left on device")

    (tmp_path / "x").write_text("old")
    with pytest.raises(OSError, match="No space left") as error:
        replaced_whole(tmp_path / "x", full)
    assert error.value.filename == str(tmp_path / "x")
    assert os.listdir(tmp_path) == ["x"] and (tmp_path / "x").read_text() == "old"


def test_where_a_file_cannot_be_written_is_said_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "x.json", Path("/proc/x.json")):
        with pytest.raises(OSError, match=str(target)):
            check_target(target)
    check_target(tmp_path / "a" / "b" / "x.json")
    assert os.listdir(tmp_path) == ["file"]


def test_files_have_the_rights_that_the_umask_leaves(tmp_path):
    for mask in (0o022, 0o027, 0o077):
        before = os.umask(mask)
        path = write_whole(tmp_path / f"{mask}", b"x")
        os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask


# --- one process -----------------------------------------------------------------------------------------


def test_a_second_process_is_refused_while_one_is_at_work(program, straight):
    before = sorted(straight.rglob("*"))
    with held(straight):
        for words in (["resume", straight], ["evaluate", straight, *SMALL[6:]], [*DISTIL, "--out", straight]):
            status, said = program(*words).ended()
            assert (status, f"Another process is at work in {straight}" in said) == (2, True), said
    assert sorted(straight.rglob("*")) == before


def test_a_killed_process_holds_nothing_and_what_it_left_is_removed(tmp_path):
    with held(tmp_path), pytest.raises(FolderHeld, match="Another process is at work"), held(tmp_path):
        pass
    (tmp_path / ".lock").touch()
    (tmp_path / ".x.json.0123abcd.partial").touch()
    (tmp_path / "x.partial").touch()
    with held(tmp_path):
        assert sorted(os.listdir(tmp_path)) == [".lock", "x.partial"]


def test_a_folder_in_which_nothing_has_come_is_not_left(tmp_path):
    with held(tmp_path / "a" / "b"):
        pass
    assert os.listdir(tmp_path) == []
    with held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "x").touch()
    assert os.listdir(tmp_path / "a" / "b") == ["x"]


def test_a_study_is_held_too(tmp_path):
    with held(tmp_path), pytest.raises(FolderHeld):
        ddcore.run_study(ddcore.Grid(methods=("random",)), tmp_path)
