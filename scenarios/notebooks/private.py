# %% [markdown]
# # A private release with its certificate
#
# A distilled set is not private because it is distilled. Under the plugin `private` each answer about the real items is
# clipped and noised, and what all of them tell together is counted.

# %%
import json

import ddcore

data = ddcore.load("digits")
private = {"epsilon": 8.0, "delta": 1e-4}
small = {"synthetic.init": "noise", "network.width": 16, "objective.real": 64, "plugins": {"private": private}}
recipe = ddcore.recipe("dm", ipc=1, iterations=20, overrides=small)

# %% [markdown]
# What would not be private is refused before anything is read, such as a start from real images.

# %%
try:
    ddcore.distill(ddcore.recipe("dm", ipc=1, iterations=20, overrides={"plugins": {"private": private}}), data)
except ddcore.DdcoreError as refusal:
    print(refusal)

# %% [markdown]
# The release: one file, with its certificate on the card.

# %%
distilled = ddcore.distill(recipe, data, seed=0)
distilled.save("private.safetensors")
certificate = ddcore.load_distilled("private.safetensors").facts["privacy"]
print(json.dumps(certificate, indent=1))

# %% [markdown]
# From here on it is an ordinary set: train on it, choose by it, pass it on, at no further cost. Twenty steps of a small
# network say little of the accuracy; `scenarios/private.py` measures it.

# %%
protocol = ddcore.Protocol(steps=50, repeats=2, networks=(recipe.network,))
score = ddcore.evaluate(distilled, data, protocol)["accuracy"]["convnet"]
print(f"{score.mean:.1f} ± {score.std:.1f} % at epsilon {certificate['epsilon']:.2f}")
