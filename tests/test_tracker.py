"""The example that writes curves: off unless named, and its logger is closed however the run ends."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ddcore import Host
from ddcore import plugin as dd

SOURCE = Path(__file__).parent / "tracker_plugin" / "ddcore_tracker" / "__init__.py"


class Logger:
    def __init__(self, folder):
        self.folder, self.scalars, self.images, self.closed = folder, [], [], False

    def add_scalar(self, name, value, step):
        self.scalars.append((name, step, value))

    def add_images(self, name, images, step):
        self.images.append((name, step, tuple(images.shape)))

    def close(self):
        self.closed = True


@pytest.fixture
def tracker():
    spec = importlib.util.spec_from_file_location("ddcore_tracker", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def loggers(tracker, monkeypatch):
    made = []
    monkeypatch.setattr(tracker, "opened", lambda folder: made.append(Logger(folder)) or made[-1])
    return made


def run_of(small, host, tiny, **plugins):
    recipe = replace(small(host.recipe("dm", iterations=4)), plugins=plugins)
    return host.distill(recipe, tiny)


def test_it_tells_each_loss_and_now_and_then_the_images(tracker, loggers, small, tiny):
    host = Host({"tracker": tracker})
    tracked = run_of(small, host, tiny, tracker={"folder": "here", "every": 2})
    (logger,) = loggers
    assert (logger.folder, logger.closed) == ("here", True)
    assert [(name, step) for name, step, _ in logger.scalars] == [("loss", step) for step in (1, 2, 3, 4)]
    assert logger.images == [("S", 2, (3, 1, 8, 8)), ("S", 4, (3, 1, 8, 8))]
    assert torch.equal(tracked.inputs, run_of(small, Host(), tiny).inputs), "it watches, and changes nothing"


def test_it_is_not_heard_where_it_is_not_named(tracker, loggers, small, tiny):
    run_of(small, Host({"tracker": tracker}), tiny)
    assert loggers == []


def test_its_logger_is_closed_when_a_run_fails(tracker, loggers, small, tiny):
    @dd.hookimpl(wrapper=True)
    def ddcore_step(run):
        yield
        raise ZeroDivisionError

    host = Host({"tracker": tracker, "failing": SimpleNamespace(ddcore_step=ddcore_step)})
    with pytest.raises(ZeroDivisionError):
        run_of(small, host, tiny, tracker={}, failing={})
    assert loggers[0].closed


def test_it_writes_what_tensorboard_reads(tracker, small, tiny, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed here")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_of(small, Host({"tracker": tracker}), tiny, tracker={"folder": str(tmp_path), "every": 4})
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in found.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.step for event in found.Images("S")] == [4]
