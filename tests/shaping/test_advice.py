"""Advice along trajectories: the worked numbers, what it sums to, and what acting on shaped values needs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.exact import FiniteMDP, action_values, optimal_policy
from rewardlab.shaping.advice import (
    advised_action_values,
    advised_policy,
    look_ahead_advice,
    look_back_advice,
    reevaluation_error,
)
from rewardlab.shaping.rule import shape_episode
from tests.strategies import random_policy, seeds, worlds_and_rewards

finite = st.floats(-10, 10).map(lambda value: round(value, 6))
discounts = st.sampled_from([0.3, 0.9, 1.0])


@st.composite
def episodes(draw, *, extra):
    """Potentials (rows, T + extra) with NaN in the padding, the mask (rows, T), which ended (rows,)."""
    rows, steps = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    lengths = np.array(draw(st.lists(st.integers(0, steps), min_size=rows, max_size=rows)))
    ended = np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    potentials = draw(arrays(np.float64, (rows, steps + extra), elements=finite))
    potentials[np.arange(steps + extra) >= (lengths + extra)[:, None]] = np.nan
    return potentials, np.arange(steps) < lengths[:, None], ended


def sums_to_go(rewards, discount):
    total, found = 0.0, []
    for reward in reversed(rewards):
        total = reward + discount * total
        found.append(total)
    return found[::-1]


def by_hand_ahead(potentials, steps, discount, ended):
    """One row of look-ahead advice, by a loop."""
    following = [*potentials[1:steps], 0.0 if ended else potentials[steps]] if steps else []
    return [discount * after - now for now, after in zip(potentials, following)]  # noqa: B905 - one longer


def by_hand_back(potentials, steps, discount, ended):
    """One row of look-back advice, by a loop."""
    kept = [*potentials[: steps - 1], 0.0 if ended else potentials[steps - 1]] if steps else []
    return [now - (kept[place - 1] / discount if place else 0.0) for place, now in enumerate(kept)]


@pytest.mark.parametrize(
    ("pay", "extra", "by_hand"), [(look_ahead_advice, 1, by_hand_ahead), (look_back_advice, 0, by_hand_back)]
)
@given(data=st.data(), discount=discounts)
def test_row_by_row_by_hand_in_both_libraries(pay, extra, by_hand, data, discount):
    potentials, mask, ended = data.draw(episodes(extra=extra))
    found = pay(potentials, discount=discount, ended=ended, mask=mask)
    assert (found[~mask] == 0).all()
    for row, steps in enumerate(mask.sum(axis=1)):
        expected = by_hand(potentials[row].tolist(), int(steps), discount, ended[row])
        np.testing.assert_allclose(found[row, :steps], expected, atol=1e-12)
    in_torch = pay(torch.tensor(potentials), discount=discount, ended=torch.tensor(ended), mask=torch.tensor(mask))
    np.testing.assert_allclose(in_torch.numpy(), found, atol=1e-12)


def test_look_ahead_advice_hides_the_better_action():
    learned = np.array([1.0, 0.8]) - np.array([0.5, 0.0])
    np.testing.assert_allclose(learned, [0.5, 0.8])
    assert learned.argmax() == 1
    np.testing.assert_allclose(advised_action_values(learned, np.array([0.5, 0.0])), [1.0, 0.8])
    np.testing.assert_array_equal(advised_policy(learned, np.array([0.5, 0.0])), [1.0, 0.0])


def test_advice_for_an_action_discourages_just_that_action():
    # advised here and nowhere else: the advised step is the one that pays
    np.testing.assert_array_equal(look_ahead_advice(np.array([1.0, 0.0, 0.0]), discount=0.9, ended=False), [-1.0, 0.0])


def test_look_back_worked_numbers():
    potentials = np.array([1.0, 2.0, 4.0])
    weights = 0.9 ** np.arange(3)
    kept = look_back_advice(potentials, discount=0.9, ended=False)
    np.testing.assert_allclose(weights @ kept, 3.24)
    assert abs(weights @ look_back_advice(potentials, discount=0.9, ended=True)) < 1e-12


def test_dynamic_potentials_worked_numbers():
    on_arrival = np.array([1.0, 2.0, 5.0, 0.0])
    weights = 0.9 ** np.arange(3)
    right = weights @ shape_episode(on_arrival, discount=0.9, ended=True)
    np.testing.assert_allclose(right, -1.0)
    # asked again on leaving: 2.5 in place of 2 makes it -1.45, and 1.5 in place of 1 as well -1.95
    for left, expected in (([1.0, 2.5, 5.0], -1.45), ([1.5, 2.5, 5.0], -1.95)):
        wrong = weights @ (0.9 * np.array([2.0, 5.0, 0.0]) - np.array(left))
        np.testing.assert_allclose(wrong, expected)
        error = reevaluation_error(on_arrival[:3], np.array(left), discount=0.9)
        np.testing.assert_allclose(right + error, expected)


@given(episodes(extra=1), discounts)
def test_look_ahead_shifts_every_return_by_the_potential_of_its_action(episode, discount):
    potentials, mask, _ = episode
    found = look_ahead_advice(potentials, discount=discount, ended=True, mask=mask)
    for row, steps in enumerate(mask.sum(axis=1)):
        np.testing.assert_allclose(sums_to_go(found[row, :steps], discount), -potentials[row, :steps], atol=1e-12)


@given(episodes(extra=0), discounts)
def test_look_back_shifts_every_return_by_what_the_action_before_settled(episode, discount):
    potentials, mask, _ = episode
    found = look_back_advice(potentials, discount=discount, ended=True, mask=mask)
    for row, steps in enumerate(mask.sum(axis=1)):
        before = np.concatenate([[0.0], potentials[row, : max(steps - 1, 0)]])[:steps]
        np.testing.assert_allclose(sums_to_go(found[row, :steps], discount), -before / discount, atol=1e-9)


@given(episodes(extra=0), discounts)
def test_look_ahead_paid_late_is_look_back_but_for_the_first_action(episode, discount):
    # why there is no wrapper for it: late, over the discount, and at the end the last two at once
    potentials, mask, _ = episode
    for row, steps in zip(potentials, mask.sum(axis=1), strict=True):
        if not steps:
            continue
        row = row[:steps]
        ahead = look_ahead_advice(np.append(row, np.nan), discount=discount, ended=True)
        late = np.append(0.0, ahead[:-1] / discount)
        late[-1] += ahead[-1]
        late[0] += row[0]
        np.testing.assert_allclose(late, look_back_advice(row, discount=discount, ended=True), atol=1e-9)


@given(worlds_and_rewards(), seeds)
def test_learned_values_are_off_by_the_advice_and_it_undoes_that(world, seed):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    policy = random_policy(mdp, rng)
    potential = np.where(mdp.terminal[..., None], 0.0, rng.normal(size=(mdp.states, mdp.actions)))
    # the shaping as a reward: the expected potential of the next state's action, less that of this one
    following = mdp.continuation @ (policy * potential).sum(-1)
    shaped = mdp.state_action_reward(reward) + mdp.discount * following - potential
    true, learned = action_values(mdp, reward, policy), action_values(mdp, shaped, policy)
    np.testing.assert_allclose(learned, true - potential, atol=1e-9 * (1 + np.abs(true).max()))
    corrected = advised_action_values(learned, potential)
    np.testing.assert_allclose(corrected, true, atol=1e-9 * (1 + np.abs(true).max()))


def test_greedy_on_shaped_optimal_values_goes_wrong_and_advised_goes_right():
    world = FiniteMDP(np.ones((1, 2, 1)), 0.5)
    reward, potential = np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]])
    learned = action_values(world, reward, optimal_policy(world, reward).policy) - potential
    assert learned[0].argmax() == 1
    np.testing.assert_array_equal(advised_policy(learned, potential), [[1.0, 0.0]])


def test_policies_soft_greedy_tied_and_exploring():
    values, advice = np.array([[0.0, 1.0, 0.0]]), np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(advised_policy(values, advice), [[0.5, 0.5, 0.0]])
    np.testing.assert_allclose(advised_policy(values, advice, exploration=0.3), [[0.45, 0.45, 0.1]])
    weights = np.exp(np.array([1.0, 1.0, 0.0]) / 0.5)
    np.testing.assert_allclose(advised_policy(values, advice, temperature=0.5), [weights / weights.sum()])
    np.testing.assert_allclose(advised_policy(values, advice, weight=-2.0), [[0.0, 1.0, 0.0]])
    np.testing.assert_allclose(advised_policy(values, advice, exploration=1.0), np.full((1, 3), 1 / 3))
    assert np.isfinite(advised_policy(values * 1e300, advice, temperature=1e-3)).all()
    in_torch = advised_policy(torch.tensor(values), torch.tensor(advice), temperature=0.5)
    np.testing.assert_allclose(in_torch.numpy(), [weights / weights.sum()])


def test_integers_float32_and_one_step():
    assert look_back_advice(np.array([2]), discount=0.5, ended=False).tolist() == [2.0]
    assert look_back_advice(np.array([2]), discount=0.5, ended=True).tolist() == [0.0]
    assert look_ahead_advice(np.array([2, 4]), discount=0.5, ended=False).tolist() == [0.0]
    single = np.ones((2, 3), np.float32)
    assert look_back_advice(single, discount=0.9, ended=True).dtype == np.float32
    assert look_ahead_advice(single, discount=0.9, ended=True).dtype == np.float32
    assert reevaluation_error(single, single, discount=0.9).dtype == np.float32
    assert advised_policy(np.array([1, 2]), np.array([0, 0])).tolist() == [0.0, 1.0]
    assert look_back_advice(np.zeros((3, 0)), discount=0.9, ended=True).shape == (3, 0)


series, pair = np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.8])
BAD = {
    "potentials is a list": (lambda: look_back_advice([1.0], discount=0.9, ended=True), TypeError, "potentials"),
    "one number": (lambda: look_back_advice(np.array(1.0), discount=0.9, ended=True), ValueError, "potentials"),
    "NaN": (
        lambda: look_back_advice(np.array([1.0, np.nan, 2.0]), discount=0.9, ended=True), ValueError, "potentials.*nan"
    ),
    "infinite": (
        lambda: look_ahead_advice(np.array([1.0, np.inf, 2.0]), discount=0.9, ended=True), ValueError,
        r"potentials\[1\] is inf",
    ),
    "discount 0 backwards": (lambda: look_back_advice(series, discount=0.0, ended=True), ValueError, "discount is 0"),
    "discount above 1": (lambda: look_ahead_advice(series, discount=1.1, ended=True), ValueError, "discount is 1.1"),
    "ended is a number": (lambda: look_ahead_advice(series, discount=0.9, ended=1), TypeError, "ended"),
    "ended of another shape": (
        lambda: look_back_advice(np.ones((2, 3)), discount=0.9, ended=np.zeros(3, bool)), ValueError, "ended has shape"
    ),
    "mask with a gap": (
        lambda: look_back_advice(series, discount=0.9, ended=True, mask=np.array([True, False, True])), ValueError,
        r"mask\[2\]",
    ),
    "mask of another length": (
        lambda: look_ahead_advice(series, discount=0.9, ended=True, mask=np.ones(3, bool)), ValueError, "mask has shape"
    ),
    "shapes of arrival and departure": (
        lambda: reevaluation_error(series, pair, discount=0.9), ValueError, "on_departure has shape"
    ),
    "libraries of arrival and departure": (
        lambda: reevaluation_error(series, torch.tensor(series), discount=0.9), TypeError, "on_departure"
    ),
    "NaN on departure": (
        lambda: reevaluation_error(pair, np.array([0.0, np.nan]), discount=0.9), ValueError, r"on_departure\[1\]"
    ),
    "arrival a number": (
        lambda: reevaluation_error(np.array(1.0), np.array(1.0), discount=0.9), ValueError, "on_arrival"
    ),
    "numbers of actions": (lambda: advised_action_values(pair, series), ValueError, "number of actions"),
    "no actions": (lambda: advised_action_values(np.zeros(0), np.zeros(0)), ValueError, "no actions"),
    "batches": (lambda: advised_policy(np.zeros((2, 2)), np.zeros((3, 2))), ValueError, "batch"),
    "NaN in the advice": (lambda: advised_policy(pair, np.array([0.0, np.nan])), ValueError, r"potential\[1\]"),
    "NaN in the values": (
        lambda: advised_policy(np.array([np.nan, 0.0]), pair), ValueError, r"action_values\[0\]"
    ),
    "libraries": (lambda: advised_policy(pair, torch.tensor(pair)), TypeError, "potential"),
    "temperature": (lambda: advised_policy(pair, pair, temperature=-1.0), ValueError, "temperature"),
    "exploration": (lambda: advised_policy(pair, pair, exploration=1.5), ValueError, "exploration"),
    "weight": (lambda: advised_policy(pair, pair, weight=np.inf), ValueError, "weight"),
}  # fmt: skip


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    call, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        call()
