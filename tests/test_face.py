"""The face of the command line: whatever happens is a sentence with an exit status, and names are shown as they are."""

import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from ddcore import load_distilled
from ddcore.cli import app
from ddcore.cli.base import screen, show


def call(*words, **fields):
    return CliRunner().invoke(app, [str(word) for word in words], **fields)


@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        (
            ZeroDivisionError("division by zero"),
            "Error: ZeroDivisionError: division by zero. This error is unexpected",
            1,
        ),
        (MemoryError(), "Error: MemoryError: no further message. This error is unexpected", 1),
        (RecursionError("too deep"), "Error: RecursionError: too deep.", 1),
        (RuntimeError("[red]two\nlines[/]"), "Error: RuntimeError: [red]two lines[/].", 1),
        (OSError("no name"), "Error: OSError: no name.", 1),
        (OSError(28, "No space left on device", "a[b]/[/c]"), "Error: a[b]/[/c] cannot be used: No space left", 2),
        (KeyError("[/]"), "Error: KeyError: '[/]'.", 1),
        (KeyboardInterrupt(), "Stopped.", 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_of_any_kind_is_a_sentence(monkeypatch, error, said, status):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("ddcore.host.Host", fails)
    done = call("list", "methods")
    assert done.exit_code == status
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.output
    for words, env in ((["--debug"], {}), ([], {"DDCORE_DEBUG": "1"})):
        debugged = call(*words, "list", "methods", env=env)
        assert debugged.exit_code == status
        assert "Traceback" in debugged.stderr and said in debugged.stderr


def test_a_reader_that_has_enough_is_no_error():
    program = [sys.executable, "-m", "ddcore", "list", "parts"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        run.stdout.readline()
        run.stdout.close()
        assert run.stderr.read() == ""


def test_names_with_brackets_go_through_every_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "a[b]" / "[/c]"
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (60, 8, 8), dtype=np.uint8), np.arange(60) % 2
    names = ["[/red]", ":smile: [bold]$x^"]
    np.savez(place / "x[red].npz", images=images, labels=labels, class_names=names)
    words = ["--networks", "mlp(width=4)", "--repeats", 1, "--set", "protocol.steps=2"]
    small = ["--iterations", 2, "--set", "network.width=4", "--set", "network.depth=2", "--set", "objective.real=4"]
    run = place / "[i]run"
    for command in (
        ["distill", "dm", "--data", place / "x[red].npz", *small, *words, "--out", run],
        ["run", run / "recipe.toml", "--out", place / "[again]"],
        ["resume", run],
        ["evaluate", run, *words],
        ["evaluate", run / "distilled.safetensors", "--data", place / "x[red].npz", *words],
        ["compare", run, place / "[again]", "--out", place / "[/compared]"],
    ):
        done = call(*command)
        assert done.exit_code == 0, done.output
        if command[0] != "compare":
            assert "[i]run" in done.stdout or "[again]" in done.stdout
    assert list(load_distilled(run / "distilled.safetensors").data.class_names) == names
    for command in (
        ["resume", place],
        ["compare", place],
        ["cite", "[/]"],
        ["bench", "[/]"],
        ["run", place / "no.toml"],
        ["list", "methods", "[/]"],
        ["study", "[/]"],
        ["distill", "dm", "--data", place / "no[/].npz"],
    ):
        done = call(*command)
        assert done.exit_code == 2, done.output
        assert "[/" in done.stderr


def test_tables_show_what_they_are_given(capsys):
    show(["[/head]"], [["[red]a[/red]"], [":smile:"]])
    screen.print("[/]")
    said = capsys.readouterr().out
    assert all(text in said for text in ("[/head]", "[red]a[/red]", ":smile:", "[/]"))
