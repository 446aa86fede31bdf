"""What the tests of wrong parts share."""

import pytest

from ddcore import Host


@pytest.fixture(scope="session")
def told():
    """Runs a check and answers all that it says."""
    host = Host()
    return lambda check, *arguments, **fields: "\n".join(check.faults(*arguments, host=host, **fields))
