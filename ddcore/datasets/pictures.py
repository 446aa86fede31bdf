"""Image files that are read when they are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddcore.errors import BadData
from ddcore.store import Items

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""Formats that are read, by what a file holds, whatever it is called; Pillow knows others that run programs."""
PIXELS = 2**25
"""Most pixels of one image, and of all that are decoded at a time."""
GREY = ("1", "L", "LA", "La")
"""Pillow's modes of images without colour."""
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
PLAIN = (*GREY, *TRANSPARENT, "P", "RGB")
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded."""

    height: int
    """Of the image as it is shown: turned as its EXIF orientation says."""
    width: int
    grey: bool
    changes: tuple[str, ...]
    """What decoding changes, as a note says it after a count of images."""

    @staticmethod
    def of(path: Path) -> Header:
        """Raises BadData where the file is no image that is read."""
        with _opened(path, str(path)) as image:
            turn = image.getexif().get(ORIENTATION, 1) if image.format != "PNG" or "exif" in image.info else 1
            width, height = image.size
            if turn in range(5, 9):
                # some releases of Pillow swap the sides of a TIFF file when it is opened, others when it is decoded
                width, height = _upright(image).size if image.format == "TIFF" else (height, width)
            found = {
                "turned as their EXIF orientation says": turn in range(2, 9),
                "with transparency laid on white": _transparent(image),
                "converted to RGB from other colours, such as CMYK": image.mode not in PLAIN,
                "reduced from 16 bits per channel to 8": any(";16" in str(tile[3]) for tile in image.tile),
                "of which there are several in the file: the first is taken": getattr(image, "is_animated", False),
            }
            return Header(height, width, image.mode in GREY, tuple(said for said, true in found.items() if true))


@dataclass(frozen=True, eq=False)
class Pictures(Items):
    """Image files (n, channels, height, width), decoded when they are taken, up to ``threads`` at a time.

    Where ``crop`` is true they are resized, so that the shorter side fits, and cropped in the centre. ``kept`` holds
    those that were taken first, up to ``memory`` bytes, for all that came from these by :meth:`at`.
    """

    paths: tuple[Path, ...]
    channels: int
    height: int
    width: int
    crop: bool
    threads: int
    kept: dict[Path, Tensor]
    memory: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.paths), self.channels, self.height, self.width

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Raises BadData where a file is not an image that can be read."""
        found = torch.empty(len(rows), *self.shape[1:], dtype=self.dtype)
        paths = [self.paths[row] for row in rows.tolist()]
        with ThreadPoolExecutor(self.threads) as pool:
            for place, image in enumerate(pool.map(self._image, paths)):
                found[place] = image
                if paths[place] not in self.kept and (len(self.kept) + 1) * image.nbytes <= self.memory:
                    self.kept[paths[place]] = image
        return found

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and times of modification, and of how they are cropped: none is read."""
        digest = hashlib.sha256(f"{self.shape} {self.crop}".encode())
        for path in self.paths:
            told = path.stat()
            digest.update(f"\n{path.parent.name}/{path.name} {told.st_size} {told.st_mtime_ns}".encode())
        return digest.hexdigest()

    def at(self, rows: Tensor) -> Pictures:
        return replace(self, paths=tuple(self.paths[row] for row in rows.tolist()))

    def _image(self, path: Path) -> Tensor:
        if path in self.kept:
            return self.kept[path]
        found = decoded(path, str(path), self.channels)
        if self.crop:
            return _cropped(found, self.height)
        if found.shape != self.shape[1:]:
            raise BadData(f"{path} has changed since the folder was read: it is {found.shape[2]}x{found.shape[1]} now.")
        return found


def threads_for(pixels: int) -> int:
    """How many images of up to ``pixels`` are decoded at a time."""
    return max(1, min(torch.get_num_threads(), PIXELS // pixels))


def decoded(file: Path | bytes, called: str, channels: int) -> Tensor:
    """The image in ``file``, a path or what lies there, as (channels, h, w) uint8: 1 for grey, 3 for RGB.

    Raises:
        BadData: it is no image that is read; ``called`` names it.
    """
    with _opened(file, called) as image:
        image.verify()  # checksums that decoding passes over
    with _opened(file, called) as image:
        pixels = np.array(_on_white(_upright(image)).convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(pixels).view(*pixels.shape[:2], -1).movedim(2, 0)


@contextmanager
def _opened(file: Path | bytes, called: str) -> Iterator[Any]:
    """The image in ``file`` while it is open. Raises BadData for whatever stands in the way of reading it."""
    from PIL import Image

    try:
        with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS) as image:
            if image.width * image.height > PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels, of which at most {PIXELS} are read")
            if image.mode[0] in "IF":
                raise ValueError(f"{image.mode}: more than 8 bits per channel. Save it with 8")
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise ValueError("it holds several. Save the one that is meant by itself")
            yield image
    except Exception as error:  # Pillow lets through whatever its readers make of a damaged file
        raise BadData(f"{called} is not an image that can be read ({error}). Repair or remove it.") from error


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _transparent(image: Any) -> bool:
    return image.mode in TRANSPARENT or "transparency" in image.info


def _on_white(image: Any) -> Any:
    from PIL import Image

    if not _transparent(image):
        return image
    own = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", own.size, "white"), own)


def _cropped(image: Tensor, size: int) -> Tensor:
    from torchvision.transforms.v2 import functional as tv

    return tv.center_crop(tv.resize(image, [size], antialias=True), [size, size])
