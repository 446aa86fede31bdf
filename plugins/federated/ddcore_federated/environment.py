"""What Flower and Ray read of the environment when they are imported: quiet and on loopback, unless the user says.

Importing this imports Flower; its warnings stay inside.
"""

import os
import warnings

ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: with it Ray listens on loopback alone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # clients without a GPU of their own keep what they see
}
"""Set on import, where a variable is not set already."""

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import flwr.simulation  # noqa: F401
