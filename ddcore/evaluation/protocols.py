"""Protocols by name."""

from __future__ import annotations

from ddcore.augment.crop import Crop
from ddcore.augment.siamese import Siamese

_DC = {
    "steps": None,
    "epochs": 300,
    "batch": 256,
    "optimiser": "sgd",
    "lr": (0.01,),
    "weight_decay": 5e-4,
    "schedule": "half",
    "augment": None,
}
_DSA = {**_DC, "epochs": 1000, "augment": Siamese()}
_IDC = {
    **_DSA,
    "batch": 64,
    "schedule": "thirds",
    "augment": Siamese(("color", "crop", "flip", "scale", "rotate")),
    "cutmix": 0.5,
}
_FKD = {
    "steps": None,
    "epochs": 300,
    "optimiser": "adamw",
    "lr": (1e-3,),
    "weight_decay": 0.01,
    "augment": Crop(),
    "temperature": 20.0,
}
_FREPO = {"steps": 1000, "batch": 500, "lr": (3e-4,), "schedule": "warm", "augment": Siamese()}
_DD = {"steps": 30, "optimiser": "sgd", "lr": (0.02,), "momentum": 0.0, "augment": None, "replay": True}
_RTP = {**_DC, "batch": 640, "weight_decay": 0.0, "schedule": "constant"}
PRESETS = {
    "quick": {},
    "dc": _DC,
    "dsa": _DSA,
    "mtt": {**_DSA, "learned_lr": True},
    "idc": _IDC,
    "dd": _DD,
    "rtp": _RTP,
    "frepo": _FREPO,
    "fkd": _FKD,
}
TOLD = {
    "quick": "250 steps of Adam at 2e-3, cosine, batches of 64 under affine changes: minutes on two cores.",
    "dc": (
        "The protocol of Zhao et al. (ICLR 2021): 300 epochs of SGD at 0.01, momentum 0.9, weight decay 5e-4, batches "
        "of 256, a tenth of the rate from half way on, no augmentation. Differs: 5 nets, not 20; 300 epochs, not 301."
    ),
    "dsa": "As `dc` for 1 000 epochs under siamese augmentation, each item its own (Zhao and Bilen, ICML 2021).",
    "mtt": "As `dsa`, at the step size that the set brings (Cazenavette et al., CVPR 2022).",
    "dd": (
        "The steps that the set brings, in their order, at their step sizes and momentum, by SGD (Wang et al., 2018); "
        "a set that brings none is trained for 30 such steps at 0.02, along a cosine."
    ),
    "rtp": (
        "300 epochs of SGD at a constant 0.01, momentum 0.9, batches of 640, no augmentation (Deng and Russakovsky, "
        "NeurIPS 2022)."
    ),
    "idc": (
        "1 000 epochs of SGD at 0.01 in batches of 64, a fifth of the rate from two thirds and again from five sixths "
        "on, siamese augmentation without cutout, half of the batches under cutmix (Kim et al., ICML 2022)."
    ),
    "frepo": (
        "1 000 steps of Adam at 3e-4 in batches of 500, warmed up over the first half, siamese augmentation, each "
        "item its own (Zhou et al., NeurIPS 2022). Differs: one change of the six a batch, none of them a shift "
        "beyond the crop's."
    ),
    "fkd": (
        "300 epochs of AdamW at 0.001, weight decay 0.01, cosine, under random crops, each item its own, from what a "
        "teacher says of them at temperature 20 (Yin, Xing and Shen, NeurIPS 2023). Differs: batches of 64, not 1 "
        "024; the gradient is not less for the temperature, which Adam would not feel; no cutmix."
    ),
}
"""What the presets are."""
