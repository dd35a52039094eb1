"""The examples in the docstrings do what they say."""

import doctest
import sys

import pytest

import picojoule.simulate  # noqa: F401 - so that its modules are loaded


@pytest.mark.parametrize("name", ["picojoule.simulate", "picojoule.simulate.live_meter"])
def test_examples(name):
    failed, tried = doctest.testmod(sys.modules[name])
    assert failed == 0 and tried > 0
