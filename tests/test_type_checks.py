"""The run-time checks of signatures are on in the tests, in every worker, and a test can switch them off."""

import jaxtyping
import pytest

from rewardlab.checks import check_scalar


@pytest.mark.skipif(jaxtyping.config.jaxtyping_disable, reason="switched off by JAXTYPING_DISABLE")
def test_signatures_are_checked():
    with pytest.raises(TypeError, match="parameter 'name'"):
        check_scalar(3, 0.5)


def test_an_integer_will_do_for_a_float():
    assert check_scalar("discount", 1, low=0, high=1) == 1


def test_they_can_be_switched_off(without_type_checks):
    assert check_scalar(3, 0.5) == 0.5
