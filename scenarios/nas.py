"""Architectures ranked by proxies, held against full training, with early stopping at equal total cost beside them.

Shows whether a distilled set is worth its cost when one of many ConvNets is to be chosen: rank correlations over all
candidates and over the truly best, the regret of the choice, and seconds. Full training is --full steps on the part of
T that --items and --validation leave. Needs the plugin nas; for --data mnist or fashion, the files below --root
(MNIST/raw, FashionMNIST/raw). --device cuda --jobs 12 runs twelve cases at a time on one GPU.

    python scenarios/nas.py                             # digits: tens of minutes on one core; it goes on after a stop
    python scenarios/nas.py --data fashion --root data --items 10000 --widths 32 64 128 --full 400 --batch 128 \\
        --effort 2 --device cuda --jobs 14              # minutes on a large GPU
    python scenarios/nas.py --smoke                     # four candidates, two steps: a minute

Seen: nothing yet.
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
    engine = dd.Local() if options.jobs == 1 else dd.Processes(options.jobs)
    with ddcore.progress() as told:
        finding = ddcore.run_study(study(options), options.out, device=options.device, progress=told, engine=engine)
    print(finding, Path(options.out) / "report.md")


if __name__ == "__main__":
    main()
