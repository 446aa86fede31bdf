"""Architectures ranked by proxies, held against full training, with early stopping at equal total cost beside them.

Shows whether a distilled set is worth its cost when one of many ConvNets is to be chosen: rank correlations over all
candidates and over the truly best, the regret of the choice, and seconds. Full training is --full steps on the part of
T that --items and --validation leave. Needs the plugin nas; for --data mnist or fashion, the files below --root
(MNIST/raw, FashionMNIST/raw). --device cuda --jobs 12 runs twelve cases at a time on one GPU.

    python scenarios/nas.py                             # digits: tens of minutes on one core; it goes on after a stop
    python scenarios/nas.py --data fashion --root data --items 10000 --widths 32 64 128 --full 400 --batch 128 \\
        --effort 2 --device cuda --jobs 14              # minutes on a large GPU
    python scenarios/nas.py --smoke                     # four candidates, two steps: a minute

Seen (digits, --candidates 36 --widths 8 16 --full 120 --effort 0.5 --seeds 0 1 --proxies early random herding dm; a
busy core; rho over all and over the truly best 20 %, regret in points; the best after full training has 98.2 ± 0.6 %):

    proxy                 steps   s condensing   s a search   rho    top 20 %   regret
    T, stopped early      4       0              28           0.87   0.66       0.14
                          16      0              16           0.90   0.78       0.00
                          64      0              74           0.98   0.43       0.37
    random, 10 per class  16      0              10           0.88   0.80       0.69
                          64      0              51           0.80   0.64       0.90
    herding, 10 per class 16      24             11           0.89   0.63       0.21
                          64      24             56           0.91   0.49       0.14
    dm, 10 per class      16      30             14           0.88   0.81       0.28
                          64      30             53           0.86   0.36       0.76
    full, another seed    120     0              69           0.97   0.42       0.56

No proxy is surely ahead of early stopping at equal total cost: the best lead over the top 20 % is +0.26 [-1.03, +0.80]
(dm, 16 steps, one search), and +0.12 [-1.06, +0.46] where 10 or 100 searches share it (random). Sixteen steps on T
choose the best for 16 s. Full training with another seed agrees with itself over the top 20 % only by 0.42, so seven
candidates within a point of each other cannot be told apart here; that would need more of them, and more seeds.
Condensing, training and measuring account for 94.6 % of the wall time.

Seen (the command for FashionMNIST above, --proxies early random herding dm ftd --lengths 4 16 64, on an H100): of 144
candidates, all of width 64 and 128 and 23 of the 62 of width 32 had come to the end of full training, with three seeds
each. Over these 105:

    proxy                 steps   s condensing   s a search   rho    top 20 %   top 10 %   top 5 %   regret
    T, stopped early      4       0              19           0.77   0.14       0.16       0.63      1.57
                          16      0              42           0.82   0.05       0.37       0.80      1.87
                          64      0              143          0.80   0.06       0.73       0.96      1.25
    random, 10 per class  16      4              38           0.82   0.27       0.31       0.67      0.44
                          64      4              126          0.76   0.58       0.56       0.82      0.85
    herding, 10 per class 16      6              39           0.84   0.21       0.29       0.77      0.76
                          64      6              127          0.84   0.47       0.59       0.77      0.37
    dm, 10 per class      16      19             39           0.81   0.23       0.35       0.80      1.49
                          64      19             131          0.82   0.29       0.55       0.60      0.63
    ftd, 10 per class     16      90             46           0.82   0.33       0.30       0.80      0.82
                          64      90             156          0.80   0.49       -0.06      -0.17     1.19
    full, another seed    400     0              753          0.99   0.81       0.55       0.93      0.00

Here ten images per class tell the best 20 % apart where early stopping at equal total cost does not: by 0.41 to 0.52
more for random, herding and ftd at 64 steps, for 1, 10 and 100 searches alike, though not surely (random: +0.52 [-0.08,
+1.09], of bootstraps over candidates and seeds). Distilled ones are no better at it than random real images, which cost
nothing to make: that would have to change. Condensing, training and measuring account for 83.6 % of the wall time; what
the rest went into on the GPU was not found out.
"""

import argparse
from pathlib import Path

from ddcore_nas import Condensed, ConvNets, Proxy, Ranking, Whole

import ddcore
from ddcore import plugin as dd

ITERATIONS = {"dm": 200, "dc": 20, "mtt": 50, "ftd": 50, "gtn": 50}
"""Of the methods that learn, times --effort."""
FIELDS = {
    "dm": {"objective": {"real": 128}},
    "dc": {"objective": {"real": 128}},
    "mtt": {"policy": {"experts": 2}},
    "ftd": {"policy": {"experts": 2}},
    "gtn": {"synthetic": {"training": {"steps": 200}}},
}


def proxy(method: str, options: argparse.Namespace) -> Proxy:
    if method == "early":
        return Whole()
    fields = {"network": {"width": options.proxy_width}, **FIELDS.get(method, {})}
    if method in ITERATIONS:
        fields["iterations"] = 2 if options.smoke else max(1, round(options.effort * ITERATIONS[method]))
    return Condensed(method, options.ipc, fields, replay=method == "gtn")


def study(options: argparse.Namespace) -> Ranking:
    root = {} if options.data == "digits" else {"root": options.root}
    source = dd.data_set(ddcore.Host().catalogue, options.data, **root)
    training = ddcore.Protocol(augment=None, batch=options.batch)
    return Ranking(
        source,
        options.items,
        validation=options.validation,
        space=ConvNets(widths=tuple(options.widths), subsample=options.candidates),
        proxies=tuple(proxy(method, options) for method in options.proxies),
        lengths=tuple(options.lengths),
        training=training,
        full=ddcore.Protocol(augment=None, batch=options.batch, steps=options.full),
        seeds=tuple(options.seeds),
        trainings=str(Path(options.out).absolute() / "trainings"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="digits, mnist or fashion")
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw and FashionMNIST/raw")
    parser.add_argument("--out", default="runs/nas", help="where the study goes")
    parser.add_argument("--items", type=int, help="items of T; all by default")
    parser.add_argument("--validation", type=float, default=0.2, help="share of T that candidates are ranked on")
    parser.add_argument("--candidates", type=int, default=144, help="architectures drawn from the grid")
    parser.add_argument("--widths", nargs="+", type=int, default=[8, 16, 32], help="channels in the grid")
    parser.add_argument(
        "--proxies", nargs="+", default=["early", "random", "herding", "el2n", *ITERATIONS], help="which"
    )
    parser.add_argument("--ipc", type=int, default=10, help="images per class of a proxy")
    parser.add_argument(
        "--proxy-width", type=int, default=32, help="channels of the network that proxies are made with"
    )
    parser.add_argument("--effort", type=float, default=1.0, help="times the iterations of the methods that learn")
    parser.add_argument("--lengths", nargs="+", type=int, default=[4, 8, 32, 128], help="steps on proxies")
    parser.add_argument("--full", type=int, default=250, help="steps of full training")
    parser.add_argument("--batch", type=int, default=64, help="items of a step")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--jobs", type=int, default=1, help="cases side by side, each in a process on one thread")
    parser.add_argument("--smoke", action="store_true", help="four candidates, two steps, one seed")
    options = parser.parse_args()
    if options.smoke:
        options.out, options.seeds, options.candidates = f"{options.out}-smoke", options.seeds[:1], 4
        options.widths, options.lengths, options.full, options.items = [4], [2], 2, 200
    engine = dd.Local() if options.jobs == 1 else dd.Loky(options.jobs)
    with ddcore.progress() as told:
        finding = ddcore.run_study(study(options), options.out, device=options.device, progress=told, engine=engine)
    print(finding, Path(options.out) / "report.md")


if __name__ == "__main__":
    dd.program(main)
