"""What the tests of the tasks share."""

import time
from contextlib import contextmanager

import pytest


@pytest.fixture
def quick():
    """A context that must be left within so many seconds of this process's own time."""

    @contextmanager
    def within(seconds):
        began = time.process_time()
        yield
        taken = time.process_time() - began
        assert taken < seconds, f"took {taken:.1f} s, expected less than {seconds} s"

    return within
