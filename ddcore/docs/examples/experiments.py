"""A study of experiments: DM on networks of several widths."""

from dataclasses import dataclass
from itertools import product

from ddcore import plugin as dd


@dataclass(frozen=True)
class Widths(dd.Experiments):
    """How much the width of the networks that DM distils on matters."""

    chooses = frozenset({"widths", "seeds"})
    several = ("widths", "seeds")

    data: dd.DataSet = dd.Digits()
    """What is distilled."""
    widths: tuple[dd.Count, ...] = (8, 16)
    """Channels of the networks."""
    seeds: tuple[dd.Whole, ...] = (0, 1)
    """Seeds of the runs."""
    iterations: dd.Count = 5
    """Updates of each run."""
    protocol: dd.Protocol = dd.Protocol(steps=20, repeats=1)
    """How networks are trained on what comes out."""

    def experiments(self, host):
        settings, kind = dd.Settings(self.data, self.protocol, ("random",)), self.data.item_kind()
        found = []
        for width, seed in product(self.widths, self.seeds):
            changes = {"network.width": width, "seed": seed}
            recipe = host.recipe("dm", kind=kind, iterations=self.iterations, overrides=changes)
            found.append(dd.Experiment(recipe, settings))
        return found


finding = dd.run_study(Widths(), "widths")
print(finding.head, *finding.rows, sep="\n")
