"""A protocol: how networks are trained on a set, and what is measured of them."""

from __future__ import annotations

from ddcore import plugin as dd


@dd.preset()
def short() -> dd.Protocol:
    """A hundred steps of Adam on two networks of each kind: accuracy and calibration."""
    return dd.Protocol(steps=100, lr=(0.01,), repeats=2, measures=(dd.Accuracy(), dd.CalibrationError()))
