# %% [markdown]
# # Write a plugin
#
# A view: real images are seen with a few of their pixels dark, and the card says so. In a notebook a plugin can be an
# object; `ddcore plugins new NAME --kind view` writes a distribution that others can install.

# %%
from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch

import ddcore
from ddcore import plugin as dd
from ddcore import testing


@dataclass(frozen=True)
class Dark(dd.View):
    """A share of the pixels of each real image is dark, others each time it is seen."""

    itemwise = True

    share: dd.Share = 0.1
    """Share of the pixels."""

    def build(self, store, rng):
        return LiveDark(self.share, rng["dark"])


class LiveDark(dd.LiveView):
    def __init__(self, share, generator):
        self.share, self.generator = share, generator

    def apply(self, batch, draw):
        kept = torch.rand(batch.inputs.shape, generator=self.generator) >= self.share
        return replace(batch, inputs=batch.inputs * kept.to(batch.inputs.device))

    def facts(self):
        return {"dark": self.share}


@dd.hookimpl
def ddcore_parts():
    return [Dark]


# %% [markdown]
# The check of its kind: items one by one and together, stopping and going on, facts that can be written.

# %%
host = ddcore.Host({"dark": SimpleNamespace(ddcore_parts=ddcore_parts)})
testing.check_view(Dark(), host=host)

# %% [markdown]
# It goes with any method, by its name.

# %%
small = {"network.width": 16, "objective.real": 32, "views": [{"name": "dark", "share": 0.2}]}
recipe = host.recipe("dm", ipc=1, iterations=10, overrides=small)
distilled = host.distill(recipe, ddcore.load("digits"), seed=0)
print(distilled.facts["dark"])
