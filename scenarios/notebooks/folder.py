# %% [markdown]
# # Distil your own folder
#
# Pictures in `folder/train/<class>/` and `folder/test/<class>/`. Here a small folder is made first, of the embedded
# digits; put the path of yours in its place.

# %%
from pathlib import Path

import torch
from PIL import Image

import ddcore
from ddcore import plugin as dd

folder = Path("pictures")
digits = ddcore.load("digits")
for split, store in (("train", digits.train), ("test", digits.test)):
    batch = store.take(torch.arange(0, len(store), 4))
    for number, (image, label) in enumerate(zip(batch.inputs, batch.targets.tolist(), strict=True)):
        place = folder / split / f"digit {label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * image[0]).byte().numpy()).save(place / f"{number}.png")

# %% [markdown]
# How is it read, and what was changed in reading? The same is told on the command line by `ddcore list data pictures`.

# %%
data = dd.ImageFolder(str(folder)).load()
print(data.card.shape, data.card.class_names)
print(*data.notes, sep="\n")

# %% [markdown]
# Distil it to one image per class. A few steps of a small network show that it works; leave `overrides` and
# `iterations` out for the method's own settings, which take minutes.

# %%
small = {"network.width": 16, "objective.real": 32}
recipe = ddcore.recipe("dm", data=data, ipc=1, iterations=20, overrides=small)
distilled = ddcore.distill(recipe, data, seed=0)
distilled.save("pictures.safetensors")

# %% [markdown]
# What is it worth? Networks trained on the set, beside others trained on as many random images.

# %%
protocol = ddcore.Protocol(steps=50, repeats=2, networks=(recipe.network,))
random = ddcore.distill(ddcore.recipe("random", data=data, ipc=1), data, seed=0)
for name, made in (("distilled", distilled), ("random", random)):
    score = ddcore.evaluate(made, data, protocol)["accuracy"]["convnet"]
    print(f"{name}: {score.mean:.1f} ± {score.std:.1f} %")
