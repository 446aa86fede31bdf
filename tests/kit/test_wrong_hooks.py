"""A plugin that changes what it was not asked for, and the recorder of calls."""

import pytest
import torch

from ddcore import Host, testing
from ddcore import plugin as dd


class Noisy:
    @dd.hookimpl(wrapper=True)
    def ddcore_step(self, run):
        torch.rand((), generator=run.rng["nets"])
        return (yield)


def test_a_plugin_that_changes_what_it_was_not_asked_for():
    testing.assert_same_as_plain("example")
    with pytest.raises(AssertionError, match=r"With \[plugins.noisy\] .* the inputs of a small run are not those"):
        testing.assert_same_as_plain("noisy", host=Host({"noisy": Noisy()}))


def test_the_recorder_says_who_was_called():
    recorder = testing.HookRecorder()
    host = Host({"recorder": recorder})
    testing.tiny_run(host=host, iterations=3, overrides={"plugins.recorder": {}})
    recorder.assert_called("ddcore_step", times=3)
    recorder.assert_called("ddcore_distill")
    with pytest.raises(AssertionError, match=r"ddcore_step was called 3 times, not 2 times\. All calls: "):
        recorder.assert_called("ddcore_step", times=2)
