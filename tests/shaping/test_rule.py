import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.exact import FiniteMDP, optimal_policy, potential_shaping, random_reward, soft_optimal_policy
from rewardlab.shaping.rule import learner_bootstraps, shape_episode, shaping_reward, telescoped

numbers = st.floats(-10, 10)
discounts = st.floats(0, 1)


@st.composite
def padded_episodes(draw):
    """Potentials, how each episode ended, and the mask of its steps."""
    count, most = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    lengths = np.array(draw(st.lists(st.integers(0, most), min_size=count, max_size=count)))
    potentials = draw(arrays(float, (count, most + 1), elements=numbers))
    ended = draw(arrays(bool, count))
    return potentials, ended, np.arange(most) < lengths[:, None]


def returns_to_go(rewards, discount):
    sums = np.zeros(len(rewards) + 1)
    for t in reversed(range(len(rewards))):
        sums[t] = rewards[t] + discount * sums[t + 1]
    return sums[:-1]


# Worked numbers


def test_an_episode_that_ends_pays_back_its_first_potential():
    potentials = np.array([1.0, 2.0, 4.0, 3.0])
    np.testing.assert_allclose(shape_episode(potentials, discount=0.9, ended=True), [0.8, 1.6, -4.0], atol=1e-15)
    assert telescoped(potentials, discount=0.9, ended=True) == -1.0


def test_a_potential_counted_at_the_end_pays_for_getting_there():
    potentials = np.array([1.0, 2.0, 4.0, 3.0])
    assert telescoped(potentials, discount=0.9, ended=False) == pytest.approx(1.187, abs=1e-12)
    assert returns_to_go(shape_episode(potentials, discount=0.9, ended=False), 0.9)[0] == pytest.approx(1.187)


def test_the_trap_of_a_terminal_state_with_a_potential():
    def action_values(bootstraps):
        return [r + shaping_reward(0.5, phi, discount=0.9, bootstraps=bootstraps) for r, phi in ((1, 0), (0, 2))]

    assert action_values(bootstraps=True) == pytest.approx([0.5, 1.3])  # the worse one wins
    assert action_values(bootstraps=False) == pytest.approx([0.5, -0.5])


def test_at_a_cut_the_target_is_the_shaped_value_only_if_the_potential_is_kept():
    value, potential, discount = 10.0, 5.0, 0.9

    def target(on_truncation):
        kept = learner_bootstraps(False, True, on_truncation)
        shaping = shaping_reward(potential, potential, discount=discount, bootstraps=kept)
        return 1.0 + shaping + discount * (value - potential)

    assert target("keep") == pytest.approx(value - potential)
    assert target("zero") == pytest.approx(0.5)
    assert target("zero") - target("keep") == pytest.approx(-discount * potential)


def test_another_discount_turns_the_order_around():
    def returns(discount_of_shaping, steps=200_000):
        stay = shape_episode(np.full(steps + 1, 10.0), discount=discount_of_shaping, ended=False)
        stay = stay @ 0.99 ** np.arange(steps)
        return stay, 1.0 + shape_episode(np.array([10.0, 0.0]), discount=discount_of_shaping, ended=True)[0]

    assert returns(1.0) == pytest.approx((0.0, -9.0))  # staying forever wins
    assert returns(0.99) == pytest.approx((-10.0, -9.0))


@given(discounts, discounts, arrays(float, st.integers(2, 8), elements=numbers))
def test_another_discount_is_a_hidden_reward_for_every_step(discount, other, potentials):
    powers = discount ** np.arange(len(potentials) - 1)
    paid = shape_episode(potentials, discount=other, ended=True) @ powers
    hidden = (other - discount) * (powers[:-1] @ potentials[1:-1])
    assert paid == pytest.approx(-potentials[0] + hidden, abs=1e-9)


def test_a_potential_that_changes_telescopes_if_it_is_kept_from_the_arrival():
    powers = 0.9 ** np.arange(3)
    on_arrival = np.array([1.0, 2.0, 5.0, 0.0])
    assert shape_episode(on_arrival, discount=0.9, ended=True) @ powers == pytest.approx(-1.0)

    def evaluated_again(first, second):
        steps = ((first, 2.0, True), (second, 5.0, True), (5.0, 0.0, False))
        return [shaping_reward(*pair, discount=0.9, bootstraps=bootstraps) for *pair, bootstraps in steps] @ powers

    # the potential of the state before, with the table as it is after the step
    assert evaluated_again(1.0, 2.5) == pytest.approx(-1.45)
    assert evaluated_again(1.5, 2.5) == pytest.approx(-1.95)


def test_normalised_afterwards_it_does_not_telescope():
    """Divided by a running deviation, what is left over is the sum of the changes of one over the deviation."""
    potentials, deviations, powers = np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.5, 2.0]), 0.9 ** np.arange(4)
    shaped = shape_episode(np.append(potentials, 0.0), discount=0.9, ended=True)
    total = powers[:3] @ (shaped / deviations)
    assert total == pytest.approx(0.14, abs=1e-12)
    left_over = powers[1:3] * potentials[1:] @ (1 / deviations[:-1] - 1 / deviations[1:])
    assert total == pytest.approx(-potentials[0] / deviations[0] + left_over, abs=1e-12)
    assert powers[:3] @ (shaped / 1.5) == pytest.approx(-1 / 1.5, abs=1e-12)  # one deviation, frozen, does no harm


def test_tokens_of_a_language_model():
    """Discount 1; the first text stopped by itself, the second was cut at the longest length."""
    potentials = np.array([[0.2, 0.5, 0.9, np.nan, np.nan], [0.2, 0.1, 0.4, 0.3, 0.7]])
    mask = np.array([[True, True, False, False], [True] * 4])
    shaped = shape_episode(potentials, discount=1.0, ended=np.array([True, False]), mask=mask)
    np.testing.assert_allclose(shaped, [[0.3, -0.5, 0, 0], [-0.1, 0.3, -0.1, 0.4]], atol=1e-15)
    np.testing.assert_allclose(shaped.sum(axis=-1), [-0.2, 0.5])


# Properties


@given(padded_episodes(), discounts)
def test_the_closed_form_is_the_discounted_sum(episodes, discount):
    potentials, ended, mask = episodes
    shaped = shape_episode(potentials, discount=discount, ended=ended, mask=mask)
    powers = discount ** np.arange(mask.shape[1])
    expected = telescoped(potentials, discount=discount, ended=ended, mask=mask)
    np.testing.assert_allclose(shaped @ powers, expected, atol=1e-11)
    assert not shaped[~mask].any()


@given(padded_episodes(), discounts)
def test_a_padded_episode_is_what_it_is_alone(episodes, discount):
    potentials, ended, mask = episodes
    hidden = np.where(np.concatenate([np.ones((len(mask), 1), bool), mask], axis=1), potentials, np.nan)
    shaped = shape_episode(hidden, discount=discount, ended=ended, mask=mask)
    for row, length in enumerate(mask.sum(axis=1)):
        alone = shape_episode(potentials[row, : length + 1], discount=discount, ended=bool(ended[row]))
        np.testing.assert_array_equal(shaped[row, :length], alone)


@given(padded_episodes(), discounts)
def test_torch_gives_what_numpy_gives(episodes, discount):
    potentials, ended, mask = episodes
    tensors = torch.tensor(potentials), torch.tensor(ended), torch.tensor(mask)
    for function in (shape_episode, telescoped):
        ours = function(tensors[0], discount=discount, ended=tensors[1], mask=tensors[2])
        assert isinstance(ours, torch.Tensor)
        theirs = function(potentials, discount=discount, ended=ended, mask=mask)
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12, atol=1e-12)


@given(st.integers(1, 12), discounts, st.data())
def test_every_return_to_go_falls_by_the_potential(length, discount, data):
    rewards = data.draw(arrays(float, length, elements=numbers))
    potentials = data.draw(arrays(float, length + 1, elements=numbers))
    shaped = rewards + shape_episode(potentials, discount=discount, ended=True)
    difference = returns_to_go(shaped, discount) + potentials[:-1] - returns_to_go(rewards, discount)
    np.testing.assert_allclose(difference, 0.0, atol=1e-12 * 12 * 20)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_optimal_stays_optimal(seed):
    mdp = FiniteMDP.random(6, 3, rng=seed, episodic=True)
    rng = np.random.default_rng(seed)
    reward = random_reward(mdp, rng=rng)
    potential = np.where(mdp.terminal, 0.0, rng.normal(size=6))
    before, after, over = potential[:, None, None], potential[None, None, :], ~mdp.terminal[None, None, :]
    shaping = shaping_reward(before, after, discount=mdp.discount, bootstraps=over)
    np.testing.assert_allclose(np.broadcast_to(shaping, (6, 3, 6)), potential_shaping(mdp, potential), atol=1e-15)
    shaped = reward + shaping
    soft, soft_shaped = (soft_optimal_policy(mdp, each, 0.5) for each in (reward, shaped))
    alive = ~mdp.terminal
    np.testing.assert_allclose(soft_shaped.policy[alive], soft.policy[alive], atol=1e-9)
    best, best_shaped = optimal_policy(mdp, reward), optimal_policy(mdp, shaped)
    np.testing.assert_array_equal(best_shaped.action[alive], best.action[alive])
    np.testing.assert_allclose(best_shaped.values, best.values - potential, atol=1e-9)


def test_q_learning_on_shaped_rewards_is_q_learning_from_the_potential():
    """The same transitions: values that begin at 0 and see shaping stay the potential apart from others."""
    rng = np.random.default_rng(0)
    potential = np.append(rng.normal(size=4), 0.0)  # the last state is terminal
    shaped, plain = np.zeros((5, 2)), np.zeros((5, 2)) + potential[:, None]
    for _ in range(5000):
        state, action, following, reward = rng.integers(4), rng.integers(2), rng.integers(5), rng.normal()
        bootstraps = following != 4
        extra = shaping_reward(potential[state], potential[following], discount=0.9, bootstraps=bootstraps)
        for table, earned in ((shaped, reward + extra), (plain, reward)):
            target = earned + 0.9 * table[following].max() * bootstraps
            table[state, action] += 0.1 * (target - table[state, action])
    np.testing.assert_allclose(shaped[:4] + potential[:4, None], plain[:4], atol=1e-13)


# Kinds of numbers


def test_floats_stay_floats():
    assert type(shaping_reward(1.0, 2.0, discount=0.9, bootstraps=True)) is float
    assert type(learner_bootstraps(True, False)) is bool


def test_bootstraps_as_bool_array_and_tensor():
    terminated, truncated = np.array([True, False, False]), np.array([False, True, False])
    np.testing.assert_array_equal(learner_bootstraps(terminated, truncated), [False, True, True])
    np.testing.assert_array_equal(learner_bootstraps(terminated, truncated, "zero"), [False, False, True])
    in_torch = learner_bootstraps(torch.tensor(terminated), torch.tensor(truncated), "zero")
    assert in_torch.tolist() == [False, False, True]
    assert [learner_bootstraps(*ends, "zero") for ends in zip(terminated, truncated, strict=True)] == [0, 0, 1]


def test_the_dtype_of_the_potentials_is_kept_and_whole_numbers_become_floats():
    assert shape_episode(np.ones(3, np.float32), discount=0.9, ended=True).dtype == np.float32
    assert telescoped(np.ones(3, np.float32), discount=0.9, ended=True).dtype == np.float32
    np.testing.assert_allclose(shape_episode(np.array([1, 2, 4, 3]), discount=0.9, ended=True), [0.8, 1.6, -4.0])


def test_gradients_pass_through():
    potentials = torch.tensor([1.0, 2.0, 4.0, 3.0], requires_grad=True)
    shape_episode(potentials, discount=0.5, ended=True).sum().backward()
    assert potentials.grad.tolist() == [-1.0, -0.5, -0.5, 0.0]


def test_episodes_without_steps():
    assert shape_episode(np.array([3.0]), discount=0.9, ended=True).shape == (0,)
    assert telescoped(np.array([3.0]), discount=0.9, ended=True) == 0.0
    nothing = np.zeros((2, 3), bool)
    np.testing.assert_array_equal(telescoped(np.ones((2, 4)), discount=0.9, ended=True, mask=nothing), [0, 0])
    assert shape_episode(np.zeros((0, 4)), discount=0.9, ended=True).shape == (0, 3)


def test_one_step():
    assert shape_episode(np.array([2.0, 7.0]), discount=0.5, ended=True).tolist() == [-2.0]
    assert shape_episode(np.array([2.0, 7.0]), discount=0.5, ended=False).tolist() == [1.5]


# What is refused

potentials = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])


def but(array, index, value):
    changed = np.array(array)
    changed[index] = value
    return changed


@pytest.mark.parametrize("function", [shape_episode, telescoped])
@pytest.mark.parametrize(
    ("given_", "error", "message"),
    [
        ({"potentials": but(potentials, (1, 1), np.nan)}, ValueError, r"potentials\[1, 1\] is nan"),
        ({"potentials": but(potentials, (0, 0), np.inf)}, ValueError, r"potentials\[0, 0\] is inf"),
        ({"potentials": but(potentials, (0, 2), np.nan), "ended": False}, ValueError, r"potentials\[0, 2\] is nan"),
        ({"potentials": np.array(1.0)}, ValueError, r"shape \(\), expected \(\*batch, steps \+ 1\)"),
        ({"potentials": np.zeros((2, 0))}, ValueError, r"shape \(2, 0\), expected"),
        ({"potentials": [1.0, 2.0]}, TypeError, "potentials: expected a NumPy array or torch tensor, got list"),
        ({"potentials": potentials.astype(str)}, TypeError, "potentials has dtype"),
        ({"discount": 1.1}, ValueError, r"discount is 1.1, expected a number in \[0, 1\]"),
        ({"discount": np.nan}, ValueError, "discount is nan"),
        ({"discount": "0.9"}, TypeError, "discount: expected a number, got str"),
        ({"ended": 1}, TypeError, "ended: expected True, False or a boolean array, got int"),
        ({"ended": np.array([1, 0])}, TypeError, "ended has dtype int64, expected bool"),
        ({"ended": np.array([True] * 3)}, ValueError, r"ended has shape \(3,\), expected \(2,\)"),
        ({"ended": torch.tensor([True, True])}, TypeError, "ended is a Tensor but potentials a ndarray"),
        ({"mask": np.ones((2, 3), bool)}, ValueError, r"mask has shape \(2, 3\), expected \(2, 2\)"),
        ({"mask": np.ones((2, 2))}, TypeError, "mask has dtype float64, expected bool"),
        ({"mask": np.array([[True, True], [False, True]])}, ValueError, r"mask\[1, 1\] is True after a False"),
        ({"mask": torch.ones(2, 2, dtype=torch.bool)}, TypeError, "mask is a Tensor but potentials a ndarray"),
    ],
)
def test_bad_input(function, given_, error, message, without_type_checks):
    arguments = {"potentials": potentials, "discount": 0.9, "ended": True, **given_}
    with pytest.raises(error, match=message):
        function(arguments.pop("potentials"), **arguments)


def test_nothing_is_changed():
    mine = potentials.copy()
    shape_episode(mine, discount=0.9, ended=True)
    telescoped(mine, discount=0.9, ended=True)
    np.testing.assert_array_equal(mine, potentials)
