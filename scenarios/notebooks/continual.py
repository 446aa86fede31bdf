# %% [markdown]
# # Continual learning in Avalanche
#
# Digits come two classes at a time. `Naive` forgets the earlier ones; a replay buffer holds some of them. Here the
# buffer holds distilled images in the place of real ones, in the stock `ReplayPlugin`.

# %%
import torch
from avalanche.benchmarks import class_incremental_benchmark
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.supervised import Naive
from ddcore_replay.avalanche import DistilledBuffer
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images).float().view(-1, 1, 8, 8) / 16, torch.tensor(labels)


def split(rows):
    data = TensorDataset(images[rows], labels[rows])
    data.targets = labels[rows].tolist()
    return data


# %% [markdown]
# The same strategy with and without a buffer.


# %%
def accuracy(plugins):
    torch.manual_seed(0)
    benchmark = class_incremental_benchmark(
        {"train": split(slice(0, 1400)), "test": split(slice(1400, None))}, num_experiences=5, seed=0
    )
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        train_mb_size=32,
        train_epochs=2,
        plugins=plugins,
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
    )
    for experience in benchmark.train_stream:
        strategy.train(experience)
    (found,) = strategy.eval(benchmark.test_stream).values()
    return 100 * found


print(f"nothing kept: {accuracy([]):.1f} %")

# %%
buffer = DistilledBuffer(20, "dm", classes=10, flips=False, overrides={"iterations": 20, "network.width": 16})
replay = ReplayPlugin(mem_size=20, storage_policy=buffer)
print(f"two distilled images of each class: {accuracy([replay]):.1f} %, {buffer.nbytes} bytes")
