"""The plugin of pytest: fixtures for the tests of a plugin of ddcore. Nothing is imported before one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ddcore.artefact import DistilledSet
    from ddcore.data import RealData
    from ddcore.testing.hooks import HookRecorder


@pytest.fixture(scope="session")
def tiny_images() -> RealData:
    """Three classes of small grey images."""
    from ddcore.testing.tiny import TINY

    return TINY["image"]()


@pytest.fixture(scope="session")
def tiny_vectors() -> RealData:
    """Three classes of vectors."""
    from ddcore.testing.tiny import TINY

    return TINY["vector"]()


@pytest.fixture(scope="session")
def tiny_signals() -> RealData:
    """Three classes of signals along time."""
    from ddcore.testing.tiny import TINY

    return TINY["signal"]()


@pytest.fixture(scope="session")
def tiny_videos() -> RealData:
    """Three classes of videos."""
    from ddcore.testing.tiny import TINY

    return TINY["video"]()


@pytest.fixture(scope="session")
def tiny_nodes() -> RealData:
    """Vertices of a graph, of the kind that the plugin ``ddcore.testing.vertices`` brings."""
    from ddcore.testing.tiny import TINY

    return TINY["vertex"]()


@pytest.fixture
def tiny_run() -> Callable[..., DistilledSet]:
    """Distils in a few real steps with the parts that it is given: ``tiny_run(MyObjective(), method="dm")``."""
    from ddcore.testing.trial import tiny_run as run

    return run


@pytest.fixture
def hook_recorder() -> HookRecorder:
    """A plugin that notes which hooks are called."""
    from ddcore.testing.hooks import HookRecorder

    return HookRecorder()
