"""Who used what: tables of users and items, and made ones."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Generator

from ddcore import plugin as dd

Holding = Literal["shares", "leave_one_out"]


class Holds(dd.DataSet):
    """Histories, of which some interactions of each user are held out."""

    def item_kind(self) -> str:
        return "history"


@dataclass(frozen=True)
class Interactions(Holds):
    """A file with one interaction per line: user, item, and maybe a rating and a time.

    Fields stand apart by commas, tabs, semicolons, ``::`` or blanks; MovieTweetings' and MovieLens' ``ratings.dat`` and
    tables of ``user,item`` are such. A first line without digits is taken for names. Users and items without enough
    interactions are left out, again and again until all have enough.
    """

    root: str
    """The file."""
    holding: Holding = "shares"
    """``shares`` holds a tenth of each user's interactions for validation and a tenth for the test, at least one each;
    ``leave_one_out`` holds one each, the last in time where times are there."""
    least: dd.Count = 5
    """Interactions that each user and each item has at least."""
    rating: dd.Number | None = None
    """The rating from which on an interaction counts; None for all."""
    seed: dd.Whole = 0
    """Seed of which interactions are held out."""

    def load(self) -> dd.RealData:
        path = Path(self.root).expanduser()
        rows = [row for row in _lines(path) if self.rating is None or (len(row) > 2 and float(row[2]) >= self.rating)]
        times = {(row[0], row[1]): float(row[3]) for row in rows if len(row) > 3}
        kept = _core({(row[0], row[1]) for row in rows}, self.least)
        if not kept:
            raise dd.BadData(f"{path}: no user and no item has {self.least} interactions. Lower least, or rating.")
        timed = times if len(times) >= len(kept) else {}
        return histories(
            path.parent.name if path.stem == "ratings" else path.stem, kept, timed, self.holding, self.seed
        )


@dataclass(frozen=True)
class Tastes(Holds):
    """Made histories: each user likes a few kinds of items, and uses popular ones of these more often."""

    users: dd.Count = 200
    """Users."""
    items: dd.Count = 40
    """Items, of five kinds."""
    length: dd.Count = 10
    """Draws of a user, of which some fall together."""
    holding: Holding = "shares"
    """As of ``interactions``."""
    seed: dd.Whole = 0
    """Seed of all of it."""

    def load(self) -> dd.RealData:
        generator = Generator().manual_seed(self.seed)
        kinds, place = torch.arange(self.items) % 5, torch.arange(self.items) // 5
        liked = torch.rand(self.users, 5, generator=generator).topk(2).indices
        wanted = (liked[:, :, None] == kinds).any(1) + 0.05
        drawn = torch.multinomial(wanted / (1 + place), self.length, replacement=True, generator=generator)
        pairs = {(str(user), str(item)) for user, row in enumerate(drawn.tolist()) for item in row}
        return histories("tastes", _core(pairs, 4), {}, self.holding, self.seed)


def histories(
    name: str,
    pairs: Iterable[tuple[str, str]],
    times: dict[tuple[str, str], float],
    holding: Holding = "shares",
    seed: int = 0,
) -> dd.RealData:
    """A data set of the histories in ``pairs`` of a user and an item, each once.

    The items to train on are the users with what is not held out, which is also what is seen of them in the splits to
    choose and to test on; the targets there are what is held out. Users with fewer than three interactions are only
    trained on.
    """
    pairs = sorted(pairs)
    users, items = ({each: i for i, each in enumerate(sorted({pair[end] for pair in pairs}))} for end in (0, 1))
    generator = Generator().manual_seed(seed)
    order = torch.randperm(len(pairs), generator=generator).tolist()
    by_user: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for place in order:
        user, item = pairs[place]
        when = times.get((user, item), 0.0) if holding == "leave_one_out" else 0.0
        by_user[users[user]].append((when, items[item]))
    seen, chosen, held = (torch.zeros(len(users), len(items)) for _ in range(3))
    for user, found in by_user.items():
        found.sort(key=lambda pair: pair[0])
        each = 0 if len(found) < 3 else 1 if holding == "leave_one_out" else max(1, round(len(found) / 10))
        places = [item for _, item in found]
        seen[user, places[: len(places) - 2 * each]] = 1
        chosen[user, places[len(places) - 2 * each : len(places) - each]] = 1
        held[user, places[len(places) - each :]] = 1
    tested = held.any(1)
    if not tested.any():
        raise dd.BadData(f"{name}: no user has three interactions, of which one could be held out to test on.")
    note = f"{len(users)} users, {len(items)} items, {len(pairs)} interactions; held out by {holding}."
    return dd.RealData.of(
        name,
        (seen, seen),
        (seen[tested], held[tested]),
        validation=(seen[tested], chosen[tested]),
        kind="history",
        notes=[note],
    )


def _lines(path: Path) -> list[list[str]]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise dd.BadData(f"{path} cannot be read ({error}). Wanted: text, one interaction per line.") from error
    rows = [re.split(r"::|[,;\t]| +", line) for line in lines]
    if rows and not any(character.isdigit() for character in lines[0]):
        rows = rows[1:]
    for number, row in enumerate(rows, 1):
        try:
            if len(row) < 2 or not all(row[:2]):
                raise ValueError("no user and item")
            _ = [float(value) for value in row[2:4]]
        except ValueError as error:
            raise dd.BadData(
                f"{path}: interaction {number} is {'|'.join(row)!r} ({error}). Wanted: user, item, and maybe rating and"
                " time."
            ) from error
    return rows


def _core(pairs: set[tuple[str, str]], least: int) -> set[tuple[str, str]]:
    """``pairs`` of users and items that all have ``least`` of them."""
    while True:
        counts: dict[tuple[int, str], int] = defaultdict(int)
        for pair in pairs:
            for end in (0, 1):
                counts[end, pair[end]] += 1
        kept = {pair for pair in pairs if all(counts[end, pair[end]] >= least for end in (0, 1))}
        if len(kept) == len(pairs):
            return kept
        pairs = kept
