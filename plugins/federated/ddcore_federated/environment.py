"""What Flower and Ray read of the environment when they are imported: quiet and on loopback, unless the user says.

Importing this imports Flower; its warnings stay inside.
"""

import os
import warnings

from ddcore import plugin as dd

ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    **dd.RAY_ENVIRONMENT,
}
"""Set on import, where a variable is not set already."""

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import flwr.simulation  # noqa: F401
