"""Studies whose cases are experiments: distilled sets, evaluated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from ddcore.experiment.plan import Experiment
from ddcore.experiment.running import run_or_resume
from ddcore.host import Host
from ddcore.naming import table_labels
from ddcore.packing import dotted, packed
from ddcore.published import published_accuracy
from ddcore.report.comparison import compare, flat
from ddcore.study.base import Case, Found, Study
from ddcore.study.finding import Finding
from ddcore.types import Progress


class Experiments(Study):
    """A study of experiments; the folder of each case is that of an experiment, which ``ddcore compare`` reads."""

    in_part: ClassVar[bool] = True
    beside_published: ClassVar[bool] = False
    """Whether the table has a last column of the accuracies in percent that papers report."""

    @abstractmethod
    def experiments(self, host: Host) -> Sequence[Experiment]:
        """What is to be run, the first first."""

    def cases(self, host: Host) -> list[Case]:
        found = [case_of(experiment) for experiment in self.experiments(host)]
        tables = [{"name": case.label, **dotted(packed(case.description))} for case in found]
        return [replace(case, label=label) for case, label in zip(found, table_labels(tables), strict=True)]

    def run(self, case: Case, folder: Path, host: Host, device: str, progress: Progress | None) -> dict[str, Any]:
        recipe, settings = case.description["recipe"], case.description["settings"]
        experiment = Experiment(replace(recipe, seed=case.seed), settings)
        return numbers_of(run_or_resume(experiment, folder, host=host, device=device, progress=progress))

    def summarise(self, found: Sequence[Found]) -> Finding:
        """The comparison: one row for what differs by its seed alone, and one for each baseline."""
        comparison = compare([one.folder for one in found])
        rows = [flat(row) for row in comparison.rows]
        says = " ".join([comparison.says(), *comparison.warnings()])
        head, cells = comparison.table()
        if self.beside_published:
            known = [published_accuracy(row["method"], row["data"], row["ipc"]) for row in rows]
            cells = [[*row, "-" if one is None else str(one)] for row, one in zip(cells, known, strict=True)]
            head = [*head, "published"]
        return Finding(head, cells, {"rows": rows}, says, (comparison.picture("compare"),))


def case_of(experiment: Experiment) -> Case:
    """The case of ``experiment``; experiments that differ by their seed alone are repetitions of each other."""
    recipe, settings = experiment.recipe, experiment.settings
    label = f"{settings.data.part_name()}-{recipe.name}-ipc{recipe.ipc}"
    return Case(label, recipe.seed, {"recipe": replace(recipe, seed=0), "settings": settings})


def numbers_of(metrics: dict[str, Any]) -> dict[str, Any]:
    """What a study keeps of an experiment's metrics: scores, bytes, seconds, memory, facts."""
    kept = ("scores", "chosen_by", "baselines", "bytes", "baseline_bytes", "seconds", "peak_mib", "facts")
    return {"method": metrics["method"], "ipc": metrics["ipc"], **{name: metrics[name] for name in kept}}
