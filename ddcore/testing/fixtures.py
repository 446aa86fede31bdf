"""The plugin of pytest: fixtures for the tests of a plugin of ddcore. Nothing is imported before one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ddcore import testing

if TYPE_CHECKING:
    from ddcore.artefact import DistilledSet
    from ddcore.data import RealData
    from ddcore.testing.hooks import HookRecorder


@pytest.fixture(scope="session")
def tiny_images() -> RealData:
    """Three classes of small grey images."""
    return testing.tiny_images()


@pytest.fixture(scope="session")
def tiny_vectors() -> RealData:
    """Three classes of vectors."""
    return testing.tiny_vectors()


@pytest.fixture(scope="session")
def tiny_signals() -> RealData:
    """Three classes of signals along time."""
    return testing.tiny_signals()


@pytest.fixture(scope="session")
def tiny_nodes() -> RealData:
    """Vertices of a graph, of the kind that the plugin ``ddcore.testing.vertices`` brings."""
    return testing.tiny_nodes()


@pytest.fixture
def tiny_run() -> Callable[..., DistilledSet]:
    """Distils in a few real steps with the parts that it is given: ``tiny_run(MyObjective(), method="dm")``."""
    return testing.tiny_run


@pytest.fixture
def hook_recorder() -> HookRecorder:
    """A plugin that notes which hooks are called."""
    return testing.HookRecorder()
