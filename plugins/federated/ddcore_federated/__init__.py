"""Federated learning: clients that send distilled sets in place of weights."""

import ddcore

__all__: list[str] = []

ddcore_api = ">=1.0,<2"


@ddcore.hookimpl
def ddcore_parts():
    return []
