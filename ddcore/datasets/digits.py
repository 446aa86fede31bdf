"""The embedded handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ddcore.data import RealData
from ddcore.datasets.base import DataSet


@dataclass(frozen=True)
class Digits(DataSet):
    """scikit-learn's 1 797 handwritten digits, 8x8 brought to 16x16; 1 437 to train on, 360 to test.

    Bilinear, corner on corner, so that no edge is doubled. They come with scikit-learn: nothing is downloaded.
    """

    def load(self) -> RealData:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        source: Any = load_digits()
        small = torch.from_numpy(source.images).float()[:, None]
        images = F.interpolate(small, size=(16, 16), mode="bilinear", align_corners=True)
        x, y = (images * (255 / 16)).round().to(torch.uint8), torch.from_numpy(source.target)
        train, test = train_test_split(np.arange(len(y)), test_size=360, stratify=source.target, random_state=0)
        return RealData.of(
            "digits",
            (x[train], y[train]),
            (x[test], y[test]),
            class_names=[str(c) for c in range(10)],
            flips=False,
            mean=(0.326,),
            std=(0.323,),
        )
