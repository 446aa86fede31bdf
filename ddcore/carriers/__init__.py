"""Carriers: how the inputs of S are represented."""

from ddcore.carriers.canvas import Canvas
from ddcore.carriers.centres import Centres, Reconstruct
from ddcore.carriers.chosen import Herding, KMeans, KMedoids, Mosaic, Random
from ddcore.carriers.codes import Codes
from ddcore.carriers.cosines import Cosines
from ddcore.carriers.formation import Formation
from ddcore.carriers.hallucinator import Hallucinated
from ddcore.carriers.latents import Adversarial, Latents
from ddcore.carriers.palette import Palette
from ddcore.carriers.pixels import Pixels
from ddcore.carriers.ranked import Covering, Forgotten, Scored
from ddcore.carriers.shared_bases import SharedBases
from ddcore.carriers.still import Still

PARTS = (
    Adversarial,
    Canvas,
    Centres,
    Codes,
    Cosines,
    Covering,
    Forgotten,
    Formation,
    Hallucinated,
    Herding,
    KMeans,
    KMedoids,
    Latents,
    Mosaic,
    Palette,
    Pixels,
    Random,
    Reconstruct,
    Scored,
    SharedBases,
    Still,
)
