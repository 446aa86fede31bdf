"""The markers of the four hooks, and the version of the hook interface."""

from importlib.metadata import version

import pluggy

HOOK_API = (1, 0)
PROJECT = "ddcore"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
__version__ = version("ddcore")
