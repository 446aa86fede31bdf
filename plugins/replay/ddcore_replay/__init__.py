"""Continual learning: streams of classes, memories of distilled images, and buffers for Avalanche.

``ddcore_replay.avalanche`` holds what stands in an Avalanche program; all else knows nothing of it.
"""

from ddcore import plugin as dd
from ddcore_replay.composite import Composite
from ddcore_replay.course import Course, Training, average_accuracy, backward_transfer, forgetting, go
from ddcore_replay.distilled import Distilled
from ddcore_replay.memory import Balanced, Everything, Memory, Nothing, Reservoir
from ddcore_replay.olcgm import Olcgm
from ddcore_replay.recipes import ccmcl, distilled_replay, dm_bases, stable_sequence
from ddcore_replay.stream import Experience, Stream
from ddcore_replay.study import Replay

__all__ = [
    "Balanced",
    "Composite",
    "Course",
    "Distilled",
    "Everything",
    "Experience",
    "Memory",
    "Nothing",
    "Olcgm",
    "Replay",
    "Reservoir",
    "Stream",
    "Training",
    "average_accuracy",
    "backward_transfer",
    "ccmcl",
    "distilled_replay",
    "dm_bases",
    "forgetting",
    "go",
    "stable_sequence",
]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    memories = [Nothing, Everything, Reservoir, Balanced, Distilled, Olcgm]
    return [Replay, *memories, Training, Composite, distilled_replay, ccmcl, dm_bases, stable_sequence]
