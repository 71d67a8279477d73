"""What all tests share: hypothesis' profile, and a way to see the errors that users see."""

import os
from collections.abc import Iterator

import jaxtyping
import pytest
from hypothesis import HealthCheck, settings

# 200 examples a property; the same ones every time under CI.
settings.register_profile(
    "rewardlab",
    max_examples=200,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("rewardlab")


@pytest.fixture
def without_type_checks() -> Iterator[None]:
    """Switch off the run-time checks of signatures, which would otherwise reject bad input before the library can."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
