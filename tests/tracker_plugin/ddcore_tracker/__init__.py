"""The loss of each step, and the images of S now and then, in TensorBoard or another logger with the same calls.

[plugins.tracker]
folder = "curves"    # where the logger writes
every = 50           # steps from one look at the images to the next
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from ddcore import plugin as dd

ddcore_api = ">=1.0,<2"

LOGGERS = WeakKeyDictionary()
"""The logger of each run that is at work."""


def opened(folder):
    """The logger: put another one here, with add_scalar, add_images and close."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder)


@dataclass(frozen=True)
class Options(dd.Part, kind="options"):
    """What ``[plugins.tracker]`` may say."""

    folder: str = "curves"
    """Where the logger writes."""
    every: dd.Count = 50
    """Steps from one look at the images to the next."""


@dd.hookimpl(wrapper=True)
def ddcore_distill(run):
    LOGGERS[run] = opened(run.recipe.options("tracker", Options).folder)
    try:
        return (yield)
    finally:
        LOGGERS.pop(run).close()


@dd.hookimpl(wrapper=True)
def ddcore_step(run):
    loss = yield
    LOGGERS[run].add_scalar("loss", loss, run.step)
    if run.card.kind == "image" and run.step % run.recipe.options("tracker", Options).every == 0:
        inputs, _ = run.synthetic.everything()
        LOGGERS[run].add_images("S", run.preprocess.inverse(inputs).clamp(0, 1), run.step)
    return loss
