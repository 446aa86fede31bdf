"""What a carrier is held to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch

from ddcore.carriers.base import Carrier
from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.host import Host
from ddcore.run import Run
from ddcore.store import plain
from ddcore.testing.base import Check
from ddcore.testing.contract import check_part
from ddcore.testing.trial import run_faults, trial, undeclared


@Check
def check_carrier(
    part: Carrier, *, recipe: Recipe | None = None, data: RealData | None = None, host: Host | None = None
) -> Iterator[str]:
    """It keeps the contract of parts; its inputs have the shape and the classes that the card asks for, any rows of
    them are those of the whole, it counts the bytes of all that it stores, and a small run of it goes on bit for bit
    after a stop and comes back whole from its artefact.

    It is tried in ``recipe``, by default DM or an installed method that has one like it.
    """
    name = part.part_name()
    yield from check_part.faults(part, host.catalogue if host else None)
    found = trial(part, recipe, data, host)
    run = found.start()
    run.start()
    allowed = run.recipe.preprocess.asks | run.recipe.labels.asks | run.recipe.synthetic.asks
    yield from undeclared(run.trace.asked, allowed, name)
    yield from _shape_faults(run, name)
    yield from _byte_faults(run, name)
    yield from run_faults(found, name)


def _shape_faults(run: Run, name: str) -> Iterator[str]:
    carrier, card = run.synthetic.carrier, run.card
    classes = carrier.classes
    known = torch.arange(card.classes)
    if classes.dtype != torch.long or classes.ndim != 1 or not bool(torch.isin(classes, known).all()):
        yield (
            f"{name}: its classes are {classes.dtype} {tuple(classes.shape)}: register a buffer `classes` (n,) of whole"
            f" numbers from 0 to {card.classes - 1}, the class of each item."
        )
        return
    counts, wanted = Counter(classes.tolist()), run.recipe.synthetic.per_class(card)
    if none := [c for c, n in enumerate(wanted) if n and not counts[c]]:
        yield f"{name}: class {none[0]} has no item, and per_class(card) says {wanted[none[0]]}: make some of each."
    rows = torch.arange(len(classes))
    with torch.no_grad():
        whole = plain(carrier(rows))
        if whole.shape != (len(rows), *card.shape):
            yield f"{name}: its inputs are {tuple(whole.shape)}: answer {(len(rows), *card.shape)}, one per row asked."
            return
        some = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))][: max(1, len(rows) // 2)]
        if not torch.allclose(plain(carrier(some)), whole[some], rtol=1e-4, atol=1e-5):
            yield f"{name}: the inputs at some rows are others than those of the whole: answer by index, in its order."
    if not bool(whole.isfinite().all()):
        yield f"{name}: its first inputs are not finite."


def _byte_faults(run: Run, name: str) -> Iterator[str]:
    """Whether what is counted is what is stored: what the module holds, or what the artefact holds of it, with the
    inputs where the latent tensors do not decode to them, at a byte per value where those of T are bytes."""
    carrier = run.synthetic.carrier
    said = carrier.nbytes()
    learned = sum(p.nbytes for p in carrier.parameters())
    held = sum(b.nbytes for key, b in carrier.named_buffers() if key not in ("classes", "values"))
    latent = sum(value.nbytes for value in carrier.latent().values())
    with torch.no_grad():
        inputs = plain(carrier(torch.arange(len(carrier.classes)))).nbytes
    stored = {learned, learned + held, latent, latent + inputs}
    if run.card.unit_range:
        stored.add(inputs // 4)
    if said not in stored:
        yield (
            f"{name} counts {said} bytes and stores {' or '.join(map(str, sorted(stored - {0})))}: let nbytes() add up"
            " all tensors that the inputs are made of, as latent() lists them."
        )
