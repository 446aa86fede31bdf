"""A table of numbers, and a number to predict: how a disease progresses, of 10 measurements."""

from dataclasses import replace

from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

import ddcore
from ddcore import plugin as dd

x, y = load_diabetes(return_X_y=True)
x, y = scale(x).astype("float32"), scale(y).astype("float32")
data = ddcore.RealData.of("diabetes", (x[:350], y[:350]), (x[350:], y[350:]))
distilled = ddcore.distill(ddcore.recipe("dsa", data=data, ipc=20, iterations=50), data)
protocol = replace(ddcore.protocol("quick", data=data, steps=300, repeats=2), measures=(dd.RSquared(),))
scores = ddcore.evaluate(distilled, data, protocol)
print({name: round(score.mean, 2) for name, score in scores["r_squared"].items()})
