"""A study whose cases are about a part, and which measures more than accuracy."""

from dataclasses import dataclass, replace

from ddcore import plugin as dd


@dataclass(frozen=True)
class Augments(dd.Study):
    """How augmentation changes what networks are sure of."""

    chooses = frozenset({"augments"})
    several = ("augments",)

    data: dd.DataSet = dd.Digits()
    """What the items are drawn from."""
    augments: tuple[dd.Augment, ...] = (dd.Crop(), dd.Siamese())
    """The augmentations that are compared."""
    steps: dd.Count = 20
    """Training steps of each network."""

    def cases(self, host):
        return [dd.Case(augment.part_name(), 0, {"augment": augment}) for augment in self.augments]

    def run(self, case, folder, host, device, progress):
        data, kind = dd.loaded(self.data), self.data.item_kind()
        chosen = host.distill(host.recipe("random", kind=kind, ipc=5), data, seed=case.seed, device=device)
        measures = (dd.Accuracy(), dd.CalibrationError())
        plan = host.protocol("quick", kind=kind)
        plan = replace(plan, augment=case.description["augment"], measures=measures, steps=self.steps, repeats=1)
        scores = dd.evaluate(chosen, data, plan, seed=case.seed or 0, host=host, device=device)
        names = [measure.part_name() for measure in measures]
        return {name: score.mean for name in names for score in scores[name].values()}

    def summarise(self, found):
        names = list(found[0].numbers)
        rows = [[one.case.label, *(f"{one.numbers[name]:.2f}" for name in names)] for one in found]
        return dd.Finding(["augment", *names], rows, {one.case.label: one.numbers for one in found})


finding = dd.run_study(Augments(), "augments")
print(finding.head, *finding.rows, sep="\n")
