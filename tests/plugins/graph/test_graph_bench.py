"""The benchmark's two ways agree."""

from ddcore_graph.bench import graph

from ddcore.bench import TOLERANCE


def test_a_step_is_the_bare_passes():
    assert all(pair.apart() <= TOLERANCE for pair in graph("cpu"))
