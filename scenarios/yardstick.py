"""Whether the yardstick is right: real images under the papers' protocol, beside what the survey reports of them.

Shows random and herded images at 1, 10 and 50 per class, and the whole set, on MNIST and FashionMNIST: a ConvNet-3 of
width 128 under the protocol `dc`, on MNIST `dc_mnist`, the whole set for 20 epochs of it. Where these rows agree with the survey's (Lei and
Tao, TPAMI 2024, Table 1), what a method gains over them can be read beside a paper's. Needs the files below --root
(MNIST/raw and FashionMNIST/raw, packed or not).

    python scenarios/yardstick.py --root data --device cuda    # minutes on a GPU, a day on two cores
    python scenarios/yardstick.py --root data --smoke          # tiny networks, three epochs: two minutes
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import ddcore


@dataclass(frozen=True)
class Yardstick(ddcore.Experiments):
    """Real images of one data set, chosen at random and by herding, and all of them."""

    chooses: ClassVar[frozenset[str]] = frozenset({"ipcs", "seeds"})

    data: ddcore.DataSet
    ipcs: tuple[int, ...] = (1, 10, 50)
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = 20
    """Passes over the whole set, whose 300 would change little and take fifteen times as long; 0 leaves it out."""
    smoke: bool = False

    def experiments(self, host: ddcore.Host) -> list[ddcore.Experiment]:
        network = ddcore.ConvNet(width=4 if self.smoke else 128)
        of_papers = "dc_mnist" if self.data.part_name() == "mnist" else "dc"
        protocol = host.protocol(of_papers, networks=(network,), repeats=1 if self.smoke else 3)
        if self.smoke:
            protocol = replace(protocol, epochs=3)
        found = []
        for ipc, method, seed in product(self.ipcs, ("random", "herding"), self.seeds):
            recipe = replace(host.recipe(method, ipc=ipc), seed=seed, network=network)
            found.append(ddcore.Experiment(recipe, ddcore.Settings(self.data, protocol, ())))
        if self.epochs:
            whole = replace(protocol, epochs=1 if self.smoke else self.epochs, repeats=1)
            found.append(ddcore.Experiment(host.recipe("random"), ddcore.Settings(self.data, whole, ("whole",))))
        return found

    def summarise(self, found: Sequence[ddcore.Found]) -> ddcore.Finding:
        finding = super().summarise(found)
        published = [
            ddcore.plugin.published_accuracy(row["method"], row["data"], row["ipc"]) for row in finding.numbers["rows"]
        ]
        rows = [[*row, "-" if one is None else str(one)] for row, one in zip(finding.rows, published, strict=True)]
        return replace(finding, head=[*finding.head, "published"], rows=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw and FashionMNIST/raw")
    parser.add_argument("--out", default="runs/yardstick", help="where the runs and the table go")
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion"], choices=["mnist", "fashion"], help="which")
    parser.add_argument("--ipc", nargs="*", type=int, default=[1, 10, 50], help="images per class")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the whole set; 0 leaves it out")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--smoke", action="store_true", help="three epochs on tiny networks")
    options = parser.parse_args()
    for name in options.data:
        data = ddcore.plugin.data_set(ddcore.Host().catalogue, name, root=options.root)
        seeds = tuple(range(1 if options.smoke else options.seeds))
        plan = Yardstick(data, tuple(options.ipc), seeds, options.epochs, options.smoke)
        with ddcore.progress() as told:
            print(ddcore.run_study(plan, f"{options.out}/{name}", device=options.device, progress=told))


if __name__ == "__main__":
    main()
