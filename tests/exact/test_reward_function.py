import numpy as np
import pytest

from rewardlab.exact.reward_function import check_signature, evaluate_step_reward

ROWS = 40
STATES = np.random.default_rng(0).normal(size=(ROWS, 4))
ACTIONS = np.arange(ROWS) % 2


def evaluate(function, rows=ROWS):
    return evaluate_step_reward(function, STATES[:rows], ACTIONS[:rows], STATES[:rows] + 1)


def test_arrays_go_in_at_once():
    calls = []

    def reward(state, action, next_state):
        calls.append(np.shape(state))
        return next_state[..., 2] * action

    np.testing.assert_array_equal(evaluate(reward), (STATES[:, 2] + 1) * ACTIONS)
    assert calls.count((ROWS, 4)) <= 2  # a look at them all, and the answer
    big = np.arange(10_000)
    calls.clear()
    np.testing.assert_array_equal(
        evaluate_step_reward(lambda s, a, n: calls.append(0) or s * a, big, big, big), big * big
    )
    assert len(calls) < 100


@pytest.mark.parametrize("rows", [1, 3, 4, 5, ROWS])
def test_a_function_of_one_state_is_not_mistaken_for_one_of_arrays(rows):
    # with as many rows as entries a state has, state[2] of the batch has the length that an answer should have
    np.testing.assert_array_equal(evaluate(lambda s, a, n: s[2], rows), STATES[:rows, 2])


def test_a_function_that_mixes_transitions_is_asked_one_by_one():
    np.testing.assert_array_equal(evaluate(lambda s, a, n: a - np.mean(a)), np.zeros(ROWS))


def test_a_function_of_arrays_alone_is_taken_at_its_word():
    np.testing.assert_array_equal(evaluate(lambda s, a, n: 2 * s[:, 1]), 2 * STATES[:, 1])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3.0, "reward: expected a function .* got 3.0"),
        (lambda: 0, r"got one of \(\)"),
        (lambda s, a, n, end: 0, r"got one of \(s, a, n, end\)"),
    ],
)
def test_signatures_that_do_not_fit(function, message):
    with pytest.raises(TypeError, match=message):
        check_signature(function)


def test_signatures_that_fit():
    for function in (lambda *step: 0, lambda s, a, n, scale=2.0: 0, max):
        assert check_signature(function) is function


@pytest.mark.parametrize("answer", [1j, "2", None, [1, 2]])
def test_answers_that_are_no_numbers(answer):
    with pytest.raises(TypeError, match=r"reward returned .* at state .*, expected a number"):
        evaluate(lambda s, a, n: answer)
