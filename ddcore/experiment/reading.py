"""Reading: a data set by name or path, and what a distilled set needs to be used again."""

from __future__ import annotations

import os
from dataclasses import MISSING, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import torch

from ddcore.artefact import DistilledSet
from ddcore.catalogue import Catalogue, Entry
from ddcore.composition import Recipe
from ddcore.crops import PackedCrops
from ddcore.data import RealData
from ddcore.datasets.base import DataSet
from ddcore.device import all_sent, check_device
from ddcore.errors import BadArtefact, RecipeRefused, UnknownName
from ddcore.evaluation.protocol import Protocol
from ddcore.evaluation.teaching import LiveTeacher, StoredCrops, TeacherTargets
from ddcore.experiment.folder import Folder
from ddcore.experiment.hub import HUB, Address, downloaded
from ddcore.experiment.plan import Experiment
from ddcore.host import Host
from ddcore.packing import from_dict
from ddcore.preprocess import Fitted, Preprocess
from ddcore.types import Citation, Draw

NOTHING_TO_TEACH_BY = (
    "The protocol has networks taught at temperature {:g}, but the set brings neither a teacher nor what one says of"
    " views: distil it with labels.name=taught and labels.keep=true or labels.crops=30, or take a protocol without a"
    " temperature (quick)."
)

AT_PATHS = MappingProxyType({".npz": "npz", ".csv": "table"})
"""The data set that a file is, by its suffix."""


def data_set(catalogue: Catalogue, source: str, **fields: Any) -> DataSet:
    """The data set of that name, or the one that lies at that path (an ``.npz`` or ``.csv`` file, a folder of images).

    A name comes before a folder that is called so too, whose path is ``./NAME``. ``fields`` that are None are left to
    their defaults; paths are made absolute, so that a run can be resumed from anywhere.

    Raises:
        UnknownName: neither a name nor a path. RecipeRefused: a field that this data set does not have, or a root
            beside a path.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    suffix = Path(source).suffix
    named = source in {entry.name for entry in catalogue.of("data")}
    if not named and (os.sep in source or suffix in AT_PATHS or Path(source).is_dir()):
        if "root" in given:
            raise RecipeRefused(
                f"The data {source} are a path, which says where they lie, and so does --root {given['root']}: give one"
                " of them."
            )
        given["root"], source = source, AT_PATHS.get(suffix, "image_folder")
    if "root" in given:
        given["root"] = str(Path(given["root"]).expanduser().absolute())
    plan = catalogue.find("data", source).maker
    if unknown := given.keys() - {f.name for f in dataclass_fields(cast(type, plan))}:
        raise RecipeRefused(f"The data {source} take no {' and no '.join(sorted(unknown))}: leave it out.")
    return from_dict(cast(type[DataSet], plan), given, catalogue, source)


ZOO = "zoo:"
"""What the name of a set of the zoo begins with, in the place of a path."""


def zoo() -> dict[str, Path]:
    """The sets that come with ddcore, by name."""
    folder = Path(__file__).resolve().parents[1] / "zoo"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def distilled_at(place: str | os.PathLike[str]) -> DistilledSet:
    """The set in a file, of the experiment in a folder, of the zoo (``zoo:digits-kfs-ipc1``), or of the Hugging Face
    Hub (``hf:OWNER/NAME@REVISION``), from where alone anything is downloaded.

    Raises:
        BadArtefact: there is none, or it is damaged. UnknownName: the zoo has none of that name.
        RecipeRefused: an address of the Hub without huggingface_hub, or one that names no set.
    """
    return DistilledSet.load(file_at(place))


def file_at(place: str | os.PathLike[str]) -> Path:
    """The file of the set that :func:`distilled_at` reads."""
    name = os.fspath(place)
    if name.startswith(HUB):
        return downloaded(name)
    if name.startswith(ZOO):
        found = zoo()
        if name.removeprefix(ZOO) not in found:
            raise UnknownName("set of the zoo", name.removeprefix(ZOO), found)
        return found[name.removeprefix(ZOO)]
    path = Path(place)
    return Folder(path).distilled if path.is_dir() else path


def address_stem(place: str | os.PathLike[str]) -> str | None:
    """What files about the set at the address ``place`` are named after; None where ``place`` is a path."""
    name = os.fspath(place)
    if name.startswith(HUB):
        where = Address.of(name)
        return Path(where.file).stem if where.file else where.repository.partition("/")[2]
    return name.removeprefix(ZOO) if name.startswith(ZOO) else None


def data_set_of(distilled: DistilledSet, catalogue: Catalogue, **fields: Any) -> DataSet:
    """The data set that ``distilled`` was made from, where ddcore knows it by its name alone.

    The name may be a stranger's: it never chooses a path.

    Raises:
        RecipeRefused: it is no data set's name, or one's that has to be told where its files lie.
    """
    name = distilled.data.name
    for entry in catalogue.of("data"):
        if entry.name == name and all(f.default is not MISSING for f in dataclass_fields(cast(type, entry.maker))):
            return data_set(catalogue, name, **fields)
    raise RecipeRefused(
        f"The set says that it was made from {name!r}, which is no data set that ddcore finds by its name. Say with"
        " --data on which data it is to be evaluated."
    )


def preprocess_of(distilled: DistilledSet, catalogue: Catalogue) -> Fitted:
    """The preprocessing that ``distilled`` went through, from its own tensors.

    Raises:
        UnknownName: nothing brings it. BadArtefact: the tensors are not its.
    """
    plan = cast(type[Preprocess], catalogue.find("preprocess", distilled.preprocess).maker)()
    for fault in plan.state_faults(distilled.preprocess_state, distilled.data):
        raise BadArtefact(f"The set cannot be used: its preprocessing is none of {distilled.data.name}: {fault}.")
    return plan.load(distilled.preprocess_state)


def teacher_targets_of(distilled: DistilledSet, catalogue: Catalogue, device: str = "cpu") -> TeacherTargets | None:
    """What ``distilled`` brings to be taught by, from its own tensors; views come before a teacher.

    Raises:
        BadArtefact: its teacher is not of the network that its recipe names.
    """
    card, held = distilled.data, distilled.teaching
    if packed := PackedCrops.read(held, len(distilled), card.outputs):
        held = {"boxes": packed.boxes.values(), "logits": packed.logits(card.outputs)}
    held = all_sent(held, torch.device(device))
    if "logits" in held:
        return StoredCrops(held["boxes"], held["logits"])
    if not held:
        return None
    network = Recipe.from_toml(distilled.recipe, catalogue).network.ready(card)
    params, buffers = (
        {name.removeprefix(kind): value for name, value in held.items() if name.startswith(kind)}
        for kind in ("params.", "buffers.")
    )
    for mine, own in zip((params, buffers), network.init(torch.Generator()), strict=True):
        if {n: (v.shape, v.dtype) for n, v in mine.items()} != {n: (v.shape, v.dtype) for n, v in own.items()}:
            raise BadArtefact("The set's teacher is not of the network that its recipe names: it cannot teach.")
    return LiveTeacher(Draw(network, params, buffers))


def needed_targets(
    distilled: DistilledSet, protocol: Protocol, catalogue: Catalogue, device: str
) -> TeacherTargets | None:
    """What ``protocol`` has networks taught by. Raises RecipeRefused where the set brings nothing of the kind."""
    if protocol.temperature is None:
        return None
    found = teacher_targets_of(distilled, catalogue, device)
    if found is None:
        raise RecipeRefused(NOTHING_TO_TEACH_BY.format(protocol.temperature))
    return found


def cite(name: str, *, host: Host | None = None) -> list[Citation]:
    """The papers of a method and of the parts it uses, each once."""
    host = host or Host()
    return papers_of(host.recipe(name), host)


def papers_of(recipe: Recipe, host: Host, protocol: Protocol | None = None) -> list[Citation]:
    """The papers of the method that ``recipe`` is called after, of its parts, and of ``protocol``, each once."""
    makers = [entry.maker for entry in host.catalogue.of("method") if entry.name == recipe.name]
    named = preset_of(protocol, host) if protocol else None
    presets = [host.catalogue.find("protocol", named).maker] if named else []
    found = [paper for maker in (*makers, *presets) for paper in getattr(maker, "cites", ())]
    return list(dict.fromkeys([*found, *recipe.papers(), *(protocol.papers() if protocol else ())]))


def presets(host: Host) -> list[Entry]:
    """The protocols that have a name."""
    return [entry for entry in host.catalogue.of("protocol") if not isinstance(entry.maker, type)]


def preset_of(protocol: Protocol, host: Host) -> str | None:
    """The preset that ``protocol`` is, for any kind of items, whatever its networks, repeats and measures; or None."""
    alike = {name: getattr(protocol, name) for name in ("networks", "repeats", "measures", "chosen_by")}
    for entry in presets(host):
        for kind in host.catalogue.of("item_kind"):
            if replace(host.protocol(entry.name, kind=kind.name), **alike) == protocol:
                return entry.name
    return None


def checked_data(experiment: Experiment, host: Host, device: str) -> RealData:
    """The data of ``experiment``, whose protocol can be followed on them, on a device that is there.

    Raises:
        RecipeRefused, BadData: in a sentence that says what cannot be, and what would help.
    """
    check_device(device)
    data = experiment.settings.load(experiment.recipe.seed)
    experiment.settings.protocol.check(data, host.catalogue)
    if experiment.settings.protocol.temperature is not None and not experiment.recipe.labels.teaches:
        raise RecipeRefused(NOTHING_TO_TEACH_BY.format(experiment.settings.protocol.temperature))
    return data
