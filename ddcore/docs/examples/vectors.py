"""A table of numbers: vectors of 13 measurements, three classes."""

from sklearn.datasets import load_wine

import ddcore

x, y = load_wine(return_X_y=True)
test = slice(None, None, 5)
train = [row for row in range(len(y)) if row % 5]
data = ddcore.RealData.of("wine", (x[train].astype("float32"), y[train]), (x[test].astype("float32"), y[test]))
recipe = ddcore.recipe("dm", data=data, ipc=5, iterations=20)  # the kind of the items decides the defaults
distilled = ddcore.distill(recipe, data)
scores = ddcore.evaluate(distilled, data, ddcore.protocol("quick", data=data, steps=50, repeats=2))
print(distilled.inputs.shape, {name: round(score.mean) for name, score in scores["accuracy"].items()})
