"""Wrong studies: each check can fail, and says what to do."""

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest

from ddcore import plugin as dd
from ddcore import testing


@dataclass(frozen=True)
class Counts(dd.Study):
    """Numbers, wrong in some way."""

    several = ("sizes",)

    sizes: tuple[dd.Count, ...] = (1, 2)
    """Sizes."""

    def cases(self, host):
        return [dd.Case(f"size {n}", None, {"n": n}) for n in self.sizes]

    def run(self, case, folder, host, device, progress):
        return {"n": case.description["n"]}

    def summarise(self, found):
        return dd.Finding(["n"], [[str(one.numbers["n"])] for one in found])


@dataclass(frozen=True)
class Caseless(Counts):
    """Without cases."""

    def cases(self, host):
        return []


@dataclass(frozen=True)
class Ragged(Counts):
    """Its table has holes."""

    chooses = frozenset({"seeds"})

    def summarise(self, found):
        return dd.Finding(["n", "m"], [["1"]], {"set": {1}})


@dataclass(frozen=True)
class Drifting(Counts):
    """Its cases are others each time."""

    seen: ClassVar = [0]

    def cases(self, host):
        self.seen[0] += 1
        return [dd.Case(f"size {self.seen[0]}", None, {"n": self.seen[0]})]


@pytest.mark.parametrize(
    ("study", "sentence"),
    [
        (Counts, r"^$"),
        (Caseless, r"caseless has no cases"),
        (Ragged, r"names seeds in chooses or several, which is no field of it"),
        (Drifting, r"drifting: its cases are others the second time"),
    ],
)
def test_a_wrong_study(study, sentence, told):
    assert re.search(sentence, told(testing.check_study, study()))
