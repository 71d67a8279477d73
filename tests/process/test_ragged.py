import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.ragged import pad_steps
from rewardlab.process.refine import refine
from tests.process.solutions import each, padded


@given(st.lists(st.lists(st.floats(0, 1), max_size=6), max_size=5))
def test_the_lists_come_back(solutions):
    values, mask = pad_steps(solutions)
    assert values.shape == mask.shape == (len(solutions), max(map(len, solutions), default=0))
    assert each(values, mask) == solutions
    assert (values[~mask] == 0).all()


@given(padded())
def test_padding_changes_no_reward(solutions):
    scores, mask = solutions
    found = refine(*pad_steps(each(scores, mask)), "delta")
    np.testing.assert_array_equal(found, refine(scores, mask, "delta")[:, : found.shape[1]])


def test_arrays_labels_and_whole_numbers_are_numbers():
    values, mask = pad_steps([np.array([0.5, 1.0], np.float32), [True, False, True], (), [1]])
    np.testing.assert_array_equal(values, [[0.5, 1, 0], [1, 0, 1], [0, 0, 0], [1, 0, 0]])
    assert mask.sum(-1).tolist() == [2, 3, 0, 1]


@pytest.mark.parametrize(
    ("solutions", "message"),
    [
        ([0.5], "solutions[0]: expected a sequence of numbers, got float"),
        ([[0.5], "ab"], "solutions[1]: expected a sequence of numbers, got str"),
        ([["a"]], "solutions[0]: expected numbers, got <U1"),
        ([[0.5, None]], "solutions[0]: expected numbers, got object"),
        ([np.zeros((2, 2))], "solutions[0]: expected numbers, got float64 of shape (2, 2)"),
    ],
)
def test_refusals(solutions, message, without_type_checks):
    with pytest.raises(TypeError) as caught:
        pad_steps(solutions)
    assert message in str(caught.value)
