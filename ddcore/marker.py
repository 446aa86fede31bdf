"""The markers of the four hooks, and the version of the hook interface."""

from importlib.metadata import version

import pluggy

HOOK_API = (1, 0)
"""The version of the hooks, which ``ddcore_api`` of a plugin is compared with."""
PROJECT = "ddcore"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as the implementation of the hook that has its name."""
__version__ = version("ddcore")
