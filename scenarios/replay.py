"""Distilled memories on Split-MNIST and Split-FashionMNIST: five experiences of two classes, one after another.

Shows what 10 and 100 remembered images are worth, real and distilled, at the same bytes (a byte a value), beside
nothing and everything. Needs the plugin replay and the data sets below --root (MNIST/raw, FashionMNIST/raw).

    python scenarios/replay.py --root data            # hours on two cores; it goes on where it stopped
    python scenarios/replay.py --root data --smoke    # two steps, tiny networks: two minutes

Seen (average accuracy in percent after the last experience, ± over seeds 0 and 1, of a fresh network trained on the
memory alone, --ways scratch; seconds of condensing an experience, one thread of a busy machine; training took 1 to 5):

    Split-MNIST                     10 images              100 images
    reservoir                       47.4 ± 8.3             not run
    balanced (GDumb)                48.6 ± 9.0             91.2 ± 1.2
    herding                         83.0 ± 1.3   6 s       not run
    distilled_replay, 10 steps      58.1 ± 1.0   13 s      not run
    dm, 50 steps                    79.6 ± 1.2   2 to 5 s  90.3 ± 0.6   2 to 3 s
    nothing 13.4, everything 94.3 (seed 0)
    Split-FashionMNIST, 10 images, seed 0: balanced 50.4, dm 68.4

At 10 images dm beats random real ones by far, and herded ones not; at 100 such short runs gain nothing. Beside 50 steps
of the experience (--ways rehearse) 10 images of any kind, real or distilled, are forgotten: 13 to 26 for all.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from ddcore_replay import Balanced, Distilled, Everything, Memory, Nothing, Olcgm, Replay, Reservoir, Training

import ddcore

OVERRIDES = {
    "herding": {"network": {"width": 16}, "synthetic": {"fit": {"steps": 50}}},
    "dm": {"network": {"width": 16}, "objective": {"real": 64}, "iterations": 50},
    "distilled_replay": {"iterations": 5},
}
SMOKE = {
    "herding": {"network": {"width": 4}, "synthetic": {"fit": {"steps": 2}}},
    "dm": {"network": {"width": 4}, "objective": {"real": 8}, "iterations": 2},
    "dm_bases": {"network": {"width": 4}, "objective": {"real": 8}, "iterations": 2, "synthetic": {"most": 4}},
    "distilled_replay": {"objective": {"steps": 2, "checks": 2}, "iterations": 2},
}


def memory(name: str, nbytes: int, smoke: bool) -> Memory:
    plain = {"nothing": Nothing(), "everything": Everything()}
    if name in plain:
        return plain[name]
    if name in ("reservoir", "balanced"):
        return (Reservoir if name == "reservoir" else Balanced)(nbytes=nbytes)
    if name == "olcgm":
        often = {"batch": 1000, "outer": 1, "inner": 1} if smoke else {"batch": 100, "outer": 2}
        return Olcgm(nbytes=nbytes, network=ddcore.LeNet(), **often)
    return Distilled(nbytes=nbytes, method=name, classes=10, overrides=(SMOKE if smoke else OVERRIDES).get(name, {}))


def study(data: str, options: argparse.Namespace) -> Replay:
    """A memory of n images has n times the bytes of one with its label, and 90 for the ranges of distilled ones."""
    bounded = [name for name in options.memories if name not in ("nothing", "everything")]
    memories = [memory(name, 785 * size + 90, options.smoke) for size in options.sizes for name in bounded]
    memories += [memory(name, 0, options.smoke) for name in options.memories if name not in bounded]
    length = {"steps": None, "epochs": 1, "batch": 10} if options.online else {"steps": 50, "batch": 32}
    training = Training(
        network=ddcore.LeNet(),
        rehearsal=ddcore.Protocol(lr=(1e-3,), augment=None, repeats=1, **length),
        replayed=length["batch"],
        alone=ddcore.Protocol(steps=200, batch=32, augment=None, repeats=1),
    )
    if options.smoke:
        short = {"steps": 2, "epochs": None}
        training = replace(
            training,
            network=ddcore.MLP(width=8),
            rehearsal=replace(training.rehearsal, **short),
            alone=replace(training.alone, **short),
        )
    source = ddcore.data_set(ddcore.Host().catalogue, data, root=options.root)
    return Replay(
        source, memories=tuple(memories), ways=tuple(options.ways), training=training, seeds=tuple(options.seeds)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ["nothing", "reservoir", "balanced", "herding", "olcgm", "distilled_replay", "dm", "dm_bases", "everything"]
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw and FashionMNIST/raw")
    parser.add_argument("--out", default="runs/replay", help="where the studies go, a folder each")
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion"], help="which data sets")
    parser.add_argument("--sizes", nargs="+", type=int, default=[10, 100], help="images in the memory")
    parser.add_argument("--memories", nargs="+", default=usual, help="which memories, methods among them")
    parser.add_argument("--ways", nargs="+", default=["rehearse", "scratch"], help="how they are used")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="seeds")
    parser.add_argument("--online", action="store_true", help="rehearse in one pass, in batches of 10")
    parser.add_argument("--smoke", action="store_true", help="two steps on tiny networks, one seed, ten images")
    options = parser.parse_args()
    if options.smoke:
        options.out, options.seeds, options.sizes = f"{options.out}-smoke", options.seeds[:1], options.sizes[:1]
    for data in options.data:
        folder = Path(options.out) / data

        def said(what: str, done: int, of: int) -> None:
            print(f"{what}: {done} of {of}", flush=True)

        finding = ddcore.conduct_study(study(data, options), folder, progress=said)
        for row in [finding.head, *finding.rows]:
            print(" | ".join(row))
        print(finding.says, folder / "report.md")


if __name__ == "__main__":
    main()
