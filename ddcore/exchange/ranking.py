"""What DD-Ranking needs to know about a set."""

from __future__ import annotations

import json

import torch

from ddcore.artefact import DistilledSet

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
KNOWN = {
    "cifar10": ("CIFAR10", *CIFAR),
    "cifar100": ("CIFAR100", *CIFAR),
    "tiny-imagenet-200": ("TinyImageNet", *IMAGENET),
}
"""What DD-Ranking calls a data set, and the mean and std that it brings real images to."""
SOFT = {
    "soft_label_mode": "S",
    "soft_label_criterion": "sce",
    "loss_fn_kwargs": {"temperature": 1.0, "scale_loss": False},
    "stu_use_torchvision": False,
    "tea_use_torchvision": False,
    "teacher_dir": "./teacher_models",
    "use_aug_for_hard": False,
}
TRAINING = {
    "data_aug_func": "dsa",
    "aug_params": {
        **{"flip": 0.5, "rotate": 15.0, "saturation": 2.0, "brightness": 1.0},
        **{"contrast": 0.5, "scale": 1.2, "crop": 0.125, "cutout": 0.5},
    },
    "optimizer": "sgd",
    "lr_scheduler": "step",
    "step_size": 500,
    "weight_decay": 0.0005,
    "momentum": 0.9,
    "default_lr": 0.01,
    "num_eval": 5,
    "num_epochs": 1000,
    "syn_batch_size": 256,
    "real_batch_size": 256,
    "custom_train_trans": None,
    "custom_val_trans": None,
    "random_data_format": "tensor",
    "random_data_path": "./random_data",
    "num_workers": 4,
    "device": "cuda",
    "dist": False,
}
"""How it trains ConvNets by its own examples; its users may set it otherwise."""


def ranking(distilled: DistilledSet) -> tuple[str | None, list[str]]:
    """The ``config.yaml`` of DD-Ranking for ``distilled``, None where it does not know the data or such targets; and
    what of the set does not suit it, in sentences."""
    card, targets = distilled.data, distilled.targets
    if card.name not in KNOWN or distilled.loss != "cross_entropy":
        return None, []
    name, mean, std = KNOWN[card.name]
    ipc, soft, notes = len(distilled) // card.classes, targets.ndim == 2, []
    ordered = torch.arange(card.classes).repeat_interleave(ipc)
    if len(ordered) != len(distilled) or not (soft or torch.equal(targets, ordered)):
        notes.append("DD-Ranking takes as many items of each class, class after class: this set lies otherwise.")
    known = {"mean": torch.tensor(mean), "std": torch.tensor(std)}
    state = distilled.preprocess_state
    if distilled.preprocess != "zca" and not all(n in state and state[n].allclose(known[n]) for n in known):
        notes.append(f"DD-Ranking brings real images of {name} to the mean {mean} and std {std}: this set has others.")
    network = f"ConvNet-{max(1, card.shape[1].bit_length() - 3)}"
    fields = {
        "dataset": name,
        "real_data_path": "./dataset/",
        "ipc": max(ipc, 1),
        "im_size": card.shape[1:],
        "model_name": network,
        **({**SOFT, "teacher_model_names": [network]} if soft else {"use_torchvision": False}),
        "use_zca": distilled.preprocess == "zca",
        **TRAINING,
        "save_path": f"./results/{distilled.method}.csv",
    }
    return "".join(f"{field}: {json.dumps(value)}\n" for field, value in fields.items()), notes
