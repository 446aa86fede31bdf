# %% [markdown]
# # A federated study
#
# Four clients hold unequal shares of the digits. In one exchange they send weights, which are averaged, as usual; in
# the other they send distilled images, on which the server trains. Both run in this process, without a network;
# `ddcore study federated` does the same from the command line.

# %%
from ddcore_federated import Averaging, Dirichlet, Distilling, Federated, TrainOnUnion

import ddcore

# %% [markdown]
# What is compared. A few steps of small networks show how it goes; the defaults take minutes.

# %%
averaging = Averaging(fit=ddcore.Fit(steps=10, batch=32, lr=0.05))
training = ddcore.Protocol(steps=30, repeats=1, augment=None)
small = {"iterations": 5, "objective": {"real": 16}}
distilling = Distilling("feddm", ipc=1, overrides=small, server=TrainOnUnion(training))
study = Federated(
    split=Dirichlet(alpha=0.5),
    clients=4,
    rounds=2,
    network=ddcore.MLP(width=16),
    exchanges=(averaging, distilling),
)

# %% [markdown]
# Each case has a folder of its own below `runs/federated`: run this again, with more rounds or seeds, and what is there
# is used again.

# %%
finding = ddcore.run_study(study, "runs/federated")
print(finding)

# %% [markdown]
# Accuracy against bytes, and against rounds, are pictures in that folder; all numbers are in `finding.json`.

# %%
for exchange, numbers in zip(study.exchanges, finding.numbers["exchanges"], strict=True):
    print(exchange.label, f"{numbers['up']:.0f} bytes up, {numbers['accuracy']['mean']:.1f} %")
