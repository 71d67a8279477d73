import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.intrinsic.forward_filter import ForwardFilter

rollouts = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(-10, 10))


def test_worked_sums():
    found = ForwardFilter(1).sums(np.ones((5, 1))).ravel()
    np.testing.assert_allclose(found, [1, 1.99, 2.9701, 3.940399, 4.900995], atol=1e-6)
    assert found.var() == pytest.approx(1.90225, abs=5e-6)


def test_constant_reward_tends_to_its_value_for_ever():
    assert ForwardFilter(1).sums(np.ones((3000, 1)))[-1, 0] == pytest.approx(100)


def test_scale_is_the_deviation_of_the_sums():
    filtered = ForwardFilter(1)
    filtered.normalised(np.ones((5, 1)))
    assert filtered.scale**2 == pytest.approx(1.90241, abs=5e-6)  # 1.90225, and what it starts with


def test_independent_rewards():
    rewards = np.random.default_rng(0).normal(size=(2000, 64)) * 3
    filtered = ForwardFilter(64)
    filtered.normalised(rewards)
    assert filtered.scale == pytest.approx(7.0888 * 3, rel=0.03)


@given(rollouts, st.data())
def test_against_a_loop_over_one_long_life(rewards, data):
    """Sums run on from rollout to rollout; episode ends never come in."""
    cut = data.draw(st.integers(0, len(rewards)))
    parts, whole = ForwardFilter(3, discount=0.9), ForwardFilter(3, discount=0.9)
    parts.normalised(rewards[:cut])
    found = parts.normalised(rewards[cut:])
    sums = np.array([sum(0.9 ** (t - k) * rewards[k] for k in range(t + 1)) for t in range(len(rewards))])
    np.testing.assert_allclose(whole.sums(rewards), sums, atol=1e-9)
    mean = sums.mean() * (sums.size / (sums.size + 1e-4))
    variance = (np.square(sums).sum() + 1e-4) / (sums.size + 1e-4) - mean**2  # as if 1e-4 numbers of mean square 1
    assert parts.scale**2 == pytest.approx(variance, abs=1e-9)
    np.testing.assert_allclose(found, rewards[cut:] / parts.scale, rtol=1e-6)


@settings(max_examples=50)
@given(st.floats(0.01, 1000))
def test_scale_of_the_bonus_drops_out(factor):
    rewards = 1e3 * np.random.default_rng(1).random((500, 8))
    plain, scaled = ForwardFilter(8).normalised(rewards), ForwardFilter(8).normalised(factor * rewards)
    # what the variance starts with, weight 1e-4 of a sample, is the only thing that does not scale
    np.testing.assert_allclose(scaled, plain, rtol=1e-9)


def test_zeros_and_signs_stay():
    rewards = np.array([[0.0, -2.0, 3.0]] * 4)
    found = ForwardFilter(3).normalised(rewards)
    np.testing.assert_array_equal(np.sign(found), np.sign(rewards))


@settings(max_examples=80)
@given(rollouts, rollouts)
def test_resumes_as_if_never_stopped(before, after):
    whole, stopped, again = (ForwardFilter(3) for _ in range(3))
    whole.normalised(before)
    stopped.normalised(before)
    again.load_state_dict(stopped.state_dict())
    np.testing.assert_array_equal(again.normalised(after), whole.normalised(after))


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: ForwardFilter(0), "environments is 0"),
        (lambda: ForwardFilter(1, discount=1.5), "discount is 1.5"),
        (lambda: ForwardFilter(2).sums(np.ones((3, 1))), r"rewards has shape \(3, 1\), expected \(steps, 2\)"),
        (lambda: ForwardFilter(1).sums(np.array([[1.0], [np.nan]])), r"rewards\[1, 0\] is nan"),
        (
            lambda: ForwardFilter(1).load_state_dict(ForwardFilter(2, discount=0.5).state_dict()),
            "the state has discount 0.5 and 2 environments, this filter 0.99 and 1",
        ),
    ],
)
def test_bad_input_says_what_and_where(act, message):
    with pytest.raises(ValueError, match=message):
        act()
