"""What these tests share."""

import pytest
from ddcore_graph import Communities

from ddcore import Host


@pytest.fixture(scope="session")
def communities():
    return Communities(nodes=240, classes=3, features=24, labelled=0.2).load()


@pytest.fixture(scope="session")
def graph_host():
    return Host()
