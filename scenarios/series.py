"""Time series: windows of two days that teach to forecast the next hour (film ratings per hour, MovieTweetings).

Shows R squared on the last 30 % of the hours, of ridge regression, an MLP and a ConvNet along time, learned from
--windows windows: distilled, random, centres of k-means, and all; beside persistence ("the next hour as this one").
Needs MovieTweetings/100K/ratings.dat below --root.

    python scenarios/series.py --root data     # about 3 minutes on one core, three seeds
    python scenarios/series.py --smoke         # the EEG that comes with matplotlib, a few steps: seconds

Seen, one thread of a busy two-core machine, 20 windows of 3 064, mean ± std over three seeds (persistence 0.278):

               ridge            mlp              convnet
    whole      0.540 ± 0.000    0.541 ± 0.002    0.407 ± 0.013
    frepo      0.520 ± 0.029    0.435 ± 0.028    0.178 ± 0.236
    k-means    0.506 ± 0.002    0.483 ± 0.017    0.278 ± 0.040
    random     0.360 ± 0.170    0.284 ± 0.180   -0.009 ± 0.450

Distilled windows teach ridge regression nearly what all teach. They are above random ones for each learner, but random
ones differ so much from seed to seed that no difference is outside one standard deviation; and centres of k-means,
which cost nothing, teach the networks more. FrePo learns through a linear network, chosen on the last 30 % of T
beside an MLP and a ConvNet.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

import ddcore
from ddcore import plugin as dd

LENGTH, TRAINED = 48, 0.7
"""Hours of a window; the share of the series, from its begin, that is T."""
LEARNERS = {"ridge": dd.Linear(10.0), "mlp": dd.MLP(width=64, depth=2), "convnet": ddcore.ConvNet(width=16, depth=3)}


def series(root: Path | None) -> np.ndarray:
    """log(1 + ratings) of each hour, in order; without ``root`` one electrode of an EEG."""
    if root is None:
        from matplotlib import cbook

        return np.fromfile(cbook.get_sample_data("eeg.dat", asfileobj=False))[::4]
    lines = (root / "MovieTweetings" / "100K" / "ratings.dat").read_text().splitlines()
    seconds = np.array([int(line.split("::")[3]) for line in lines])
    return np.log1p(np.bincount((seconds - seconds.min()) // 3600))


def windows(values: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """All windows (n, 1, LENGTH) of a stretch of a series, and the value (n, 1) that follows each."""
    found = torch.from_numpy(values).float().unfold(0, LENGTH + 1, 1)
    return found[:, None, :LENGTH].contiguous(), found[:, LENGTH:].contiguous()


def forecasting(name: str, values: np.ndarray) -> ddcore.RealData:
    """The standardised series, cut in time, and each part into windows: no window looks over the cut."""
    cut = int(TRAINED * len(values))
    values = (values - values[:cut].mean()) / values[:cut].std()
    return ddcore.RealData.of(name, windows(values[:cut]), windows(values[cut:]), kind="signal")


def persistence(data: ddcore.RealData) -> float:
    """R squared of the last value as the forecast."""
    shown = data.test.take(torch.arange(len(data.test)))
    wrong = (shown.inputs[:, 0, -1:] - shown.targets).square().mean()
    return float(1 - wrong / shown.targets.var(correction=0))


def recipes(host: ddcore.Host, n: int, seed: int, smoke: bool) -> dict[str, ddcore.Recipe]:
    plain = host.recipe("random", kind="signal", ipc=n)
    found = {"random": plain, "k-means": replace(plain, name="k-means", synthetic=dd.KMeans(n))}
    found["frepo"] = host.recipe("frepo", kind="signal", ipc=n, iterations=2 if smoke else 300)
    found["frepo"] = replace(found["frepo"], network=ddcore.MLP(depth=1))
    return {label: replace(recipe, preprocess=dd.Identity(), seed=seed) for label, recipe in found.items()}


def measured(seed: int, data: ddcore.RealData, host: ddcore.Host, n: int, smoke: bool) -> dict[str, float]:
    """R squared by set and learner."""
    protocol = ddcore.Protocol(
        networks=(LEARNERS["mlp"], LEARNERS["convnet"]),
        estimators=(LEARNERS["ridge"],),
        measures=(dd.RSquared(),),
        augment=None,
        steps=3 if smoke else 250,
        repeats=2,
    )
    sets = {label: host.distill(recipe, data) for label, recipe in recipes(host, n, seed, smoke).items()}
    return dd.scored({"whole": data.train, **sets}, data, protocol, preprocess=dd.Identity(), seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds MovieTweetings/100K/ratings.dat")
    parser.add_argument("--out", default="runs/series", help="where the figures go; a seed there is not run again")
    parser.add_argument("--windows", type=int, default=20, help="synthetic windows")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds")
    parser.add_argument("--smoke", action="store_true", help="a short series, a few steps, one seed")
    options = parser.parse_args()
    host, smoke, seeds = ddcore.Host(), options.smoke, options.seeds
    data = forecasting("eeg", series(None)) if smoke else forecasting("ratings", series(Path(options.root)))
    measure = partial(measured, data=data, host=host, n=options.windows, smoke=smoke)
    print(f"persistence | {persistence(data):.3f}")
    settings = {"windows": options.windows, "smoke": smoke}
    print(dd.repeated(measure, seeds[: 1 if smoke else None], options.out, settings, digits=3))


if __name__ == "__main__":
    dd.program(main)
