"""Whether a set is what its card says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ddcore import plugin as dd
from ddcore_backdoor.poison import Poison, poisonings


def faults(distilled: dd.DistilledSet, data: dd.RealData | None = None, host: dd.Host | None = None) -> list[str]:
    """In which ways the card of ``distilled`` does not agree with itself, or with ``data``; in sentences.

    A card that agrees proves nothing: whoever can write a set can write its card. :func:`remade` does.
    """
    return list(_faults(distilled, data, host or dd.Host()))


def _faults(distilled: dd.DistilledSet, data: dd.RealData | None, host: dd.Host) -> Iterator[str]:
    facts, told = distilled.facts, poisonings(distilled, host)
    recipe = dd.Recipe.from_toml(distilled.recipe, host.catalogue)
    plans = [view for view in recipe.views if isinstance(view, Poison)]
    wanted = [(p.trigger.part_name(), p.target, p.share, p.learning) for p in plans]
    said = [(t.trigger.part_name(), t.target, t.share, t.learned) for t in told]
    if wanted != said:
        yield f"its recipe poisons T with {_in_words(wanted)}, and its card tells of {_in_words(said)}"
    if missing := [one.sentence for one in told if one.sentence not in distilled.warnings]:
        yield f"its card lacks the warning {missing[0]!r}"
    if facts.get("seed", 0) != recipe.seed:
        yield f"it says that its seed was {facts.get('seed', 0)}, and its recipe has {recipe.seed}"
    if facts.get("steps", 0) != recipe.iterations and "stopped" not in facts:
        yield f"it made {facts.get('steps', 0)} of the {recipe.iterations} steps of its recipe, and does not say why"
    if recipe.name != distilled.method:
        yield f"it is called {distilled.method}, and its recipe {recipe.name}"
    made = facts.get("fingerprint")
    if made is None and not recipe.gate.guards:
        yield "it does not say what the content of T was"
    if data is not None and made not in (None, data.train.content):
        yield f"it was made from another content than that of {data.card.name}"


def _in_words(poisons: list[tuple[str, int, float, str]]) -> str:
    said = [f"a {trigger} trigger on {100 * share:g} % for class {c} ({how})" for trigger, c, share, how in poisons]
    return " and ".join(said) or "nothing"


def remade(distilled: dd.DistilledSet, data: dd.RealData, host: dd.Host | None = None, device: str = "cpu") -> float:
    """The largest difference of an input from what its recipe makes of ``data`` here, once more.

    Zero on the machine that made it, close to zero on one with other kernels; a set that was made otherwise than its
    recipe says is far off.

    Raises:
        RecipeRefused: the recipe reads files of its own choice, or its randomness is secret, so that nothing comes out
            again.
    """
    host = host or dd.Host()
    recipe = dd.Recipe.from_toml(distilled.recipe, host.catalogue)
    if files := list(recipe.files()):
        raise dd.RecipeRefused(f"The recipe of the set reads files of its choice ({', '.join(files)}): not run.")
    if recipe.gate.guards:
        raise dd.RecipeRefused("The set was made under a guard, with noise that nobody knows: it cannot be made again.")
    again = host.distill(recipe, data, device=device)
    if again.inputs.shape != distilled.inputs.shape:
        return float("inf")
    return float((again.inputs - distilled.inputs).abs().max())


@dataclass(frozen=True)
class Provenance(dd.Study):
    """Whether given sets are what their cards say: the card is read, held against recipe and data, and then the set is
    made again by its recipe and compared number by number.

    A distiller who poisons T and writes a clean recipe is found by the last check alone.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"sets"})

    data: dd.DataSet = field(default_factory=dd.Digits)
    """The data that the sets claim to be made from."""
    sets: tuple[dd.FilePath, ...] = ()
    """Files of distilled sets."""
    again: bool = True
    """Whether each is made again, which takes as long as it took."""
    tolerance: dd.NotNegative = 1e-3
    """The largest difference of a number, in units of the networks' inputs, that other hardware explains."""

    def cases(self, host: dd.Host) -> list[dd.Case]:
        if not self.sets:
            raise dd.RecipeRefused("There is no set to check. Name some: --set 'sets=[\"given.safetensors\"]'.")
        return [dd.Case(file, None, {"file": file}) for file in self.sets]

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        data, made = dd.loaded(self.data), dd.DistilledSet.load(case.description["file"])
        found = faults(made, data, host)
        apart = remade(made, data, host, device) if self.again else None
        if apart is not None and apart > self.tolerance:
            found.append(f"its recipe makes another set of these data (numbers differ by up to {apart:.2g})")
        said = [one.sentence for one in poisonings(made, host)]
        return {"method": made.method, "told": said, "faults": found, "apart": apart}

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        rows, says = [], []
        for one in found:
            told, wrong, apart = (one.numbers[name] for name in ("told", "faults", "apart"))
            difference = "not made again" if apart is None else f"{apart:.2g}"
            rows.append([one.case.label, one.numbers["method"], str(len(told)), str(len(wrong)), difference])
            says += [f"{one.case.label}: {sentence.rstrip('.')}." for sentence in (*told, *wrong)]
        head = ["set", "method", "triggers on the card", "faults", "difference when made again"]
        return dd.Finding(head, rows, {"sets": [one.numbers for one in found]}, " ".join(says))
