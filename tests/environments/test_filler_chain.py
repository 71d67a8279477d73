"""The filler chain against its rules, played by hand, and against the closed forms of when padding pays."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.reasoning.filler_chain import filler_chain
from rewardlab.process.step_world import evaluate_policy, sample_episodes

chances = st.floats(0, 1)
STANDARD = filler_chain()
FILL, ANSWER = 3, 4  # of the standard world
SOLVED = 6  # its state 3 of 3, whole


def played(progress, broken, action, levels):
    """The rules in words: (progress, broken, ends, success) after an action."""
    if action == levels + 1:
        return progress, broken, True, progress == levels and not broken
    if action == levels:
        return progress, broken, False, False
    if action == progress and not broken:
        return progress + 1, False, False, False
    return progress, True, False, False


def enumerated(policy, levels, horizon, hazard):
    """(success, length, use of each action) by following every sequence of actions to its end."""
    total = np.zeros(levels + 4)

    def follow(progress, broken, step, chance):
        if step == horizon:
            return
        for action in range(levels + 2):
            taken = chance * policy[2 * progress + broken, action]
            after, broke, ends, success = played(progress, broken, action, levels)
            total[0] += taken * success
            total[1] += taken
            total[2 + action] += taken
            if not ends:
                follow(after, broke, step + 1, taken * (1 - hazard if action == levels else 1))

    follow(0, False, 0, 1.0)
    return total[0], total[1], total[2:]


def best(world, reward, start, steps=6000):
    """Worth of each action in `start` for a learner that sees the state but not the time, by value iteration."""
    value = np.zeros(world.states)
    for _ in range(steps):
        ahead = np.where(world.ends, 0.0, (1 - world.hazard) * value[world.next_state])
        worth = reward + world.success + ahead
        value = worth.max(1)
    return worth[start]


@given(st.integers(0, 4), *[chances] * 6)
def test_every_step_is_as_the_rules_say(levels, filler, broken_filler, right, wrong, answer, hazard):
    world = filler_chain(
        filler_score=filler,
        broken_filler_score=broken_filler,
        right=right,
        wrong=wrong,
        answer=answer,
        levels=levels,
        hazard=hazard,
    )
    assert (world.states, world.actions, world.initial) == (2 * (levels + 1), levels + 2, 0)
    for progress, broken, action in itertools.product(range(levels + 1), (False, True), range(levels + 2)):
        here = 2 * progress + broken, action
        after, broke, ends, success = played(progress, broken, action, levels)
        assert world.next_state[here] == 2 * after + broke
        assert (world.ends[here], world.success[here]) == (ends, success)
        fills, solves = action == levels, after > progress
        expected = (broken_filler if broken else filler) if fills else answer if success else right if solves else wrong
        assert world.scores[here] == expected
        assert world.hazard[here] == (hazard if fills else 0)


def test_the_scores_of_the_standard_world():
    assert STANDARD.action_names == ("solve 0", "solve 1", "solve 2", "fill", "answer")
    assert STANDARD.state_names[5:7] == ("2 of 3 solved, broken", "3 of 3 solved")
    assert (STANDARD.states, STANDARD.horizon) == (8, 12)
    np.testing.assert_array_equal(
        STANDARD.scores,
        [
            [0.8, 0.1, 0.1, 0.9, 0.1],
            [0.1, 0.1, 0.1, 0.5, 0.1],
            [0.1, 0.8, 0.1, 0.9, 0.1],
            [0.1, 0.1, 0.1, 0.5, 0.1],
            [0.1, 0.1, 0.8, 0.9, 0.1],
            [0.1, 0.1, 0.1, 0.5, 0.1],
            [0.1, 0.1, 0.1, 0.9, 0.9],
            [0.1, 0.1, 0.1, 0.5, 0.1],
        ],
    )
    assert not STANDARD.hazard.any()


@pytest.mark.parametrize(("levels", "horizon"), [(0, 6), (1, 6), (2, 5), (3, 5)])
@pytest.mark.parametrize("hazard", [0.0, 0.25])
def test_exact_evaluation_agrees_with_all_sequences_of_actions(levels, horizon, hazard):
    world = filler_chain(levels=levels, horizon=horizon, hazard=hazard)
    policy = np.random.default_rng(levels).dirichlet(np.ones(world.actions), world.states)
    success, length, counts = enumerated(policy, levels, horizon, hazard)
    outcome = evaluate_policy(world, policy)
    assert float(outcome.success) == pytest.approx(success, abs=1e-12)
    assert float(outcome.length) == pytest.approx(length, abs=1e-12)
    np.testing.assert_allclose(outcome.action_counts, counts, atol=1e-12)


def test_sampled_episodes_agree_with_exact_evaluation():
    world = filler_chain(hazard=0.1)
    policy = np.random.default_rng(0).dirichlet(np.ones(5), 8)
    policy[[0, 2, 4, 6], [0, 1, 2, 4]] += 2
    policy /= policy.sum(1, keepdims=True)
    episodes, exact = sample_episodes(world, policy, 40_000, 1), evaluate_policy(world, policy)
    assert episodes.correct.mean() == pytest.approx(float(exact.success), abs=4 * 0.5 / 200)
    assert episodes.mask.sum(1).mean() == pytest.approx(float(exact.length), abs=0.1)


def test_success_alone_is_won_in_four_steps():
    policy = np.zeros((8, 5))
    policy[[0, 2, 4, 6], [0, 1, 2, 4]] = 1
    policy[[1, 3, 5, 7], FILL] = 1
    outcome = evaluate_policy(STANDARD, policy)
    assert (float(outcome.success), float(outcome.length)) == (1.0, 4.0)
    assert float(evaluate_policy(filler_chain(horizon=3), policy).success) == 0.0


@pytest.mark.parametrize(("weight", "chosen"), [(0.02, "answer"), (0.1009, "answer"), (0.1011, "fill"), (1.0, "fill")])
def test_padding_a_solved_problem_pays_above_the_threshold(weight, chosen):
    world = filler_chain(levels=0, hazard=1 / 12)  # the threshold is 1 / (0.9 x 12 - 0.9) = 0.10101
    assert world.action_names[best(world, weight * world.scores, 0).argmax()] == chosen


@pytest.mark.parametrize("weight", [1e-3, 0.1, 5.0])
def test_without_a_hazard_padding_pays_at_every_weight_but_not_once_clipped(weight):
    assert best(STANDARD, weight * STANDARD.scores, SOLVED).argmax() == FILL
    world = filler_chain(hazard=1 / 12)
    assert best(world, weight * np.minimum(world.scores - 0.7, 0), SOLVED).argmax() == ANSWER


@pytest.mark.parametrize(("weight", "gives_up"), [(3.3, False), (3.4, True)])
def test_clipped_rewards_of_a_harsh_judge_make_it_pay_to_give_up(weight, gives_up):
    # the plan costs three right steps of 0.7 - 0.4 and wins 1; answering at once costs 0.7 - 0.1: even at 1 / 0.3
    world = filler_chain(right=0.4, filler_score=0.0, broken_filler_score=0.0)
    reward = weight * np.minimum(world.scores - 0.7, 0)
    assert (best(world, reward, 0).argmax() == ANSWER) == gives_up


@pytest.mark.parametrize(
    ("weight", "answers", "success"), [(0.1, 0.919, 0.993), (0.2, 0.414, 0.894), (0.6, 0.077, 0.502)]
)
def test_the_resting_point_of_delta_has_its_closed_form_success(weight, answers, success):
    hazard, credit = 1 / 12, weight * 0.9
    answering = hazard * (1 - credit) / ((1 - hazard) * credit)
    assert answering == pytest.approx(answers, abs=6e-4)
    world = filler_chain(levels=0, hazard=hazard, horizon=2000)
    outcome = evaluate_policy(world, np.tile([1 - answering, answering], (2, 1)))
    assert float(outcome.success) == pytest.approx((1 - credit) / (1 - hazard), abs=1e-9)
    assert float(outcome.success) == pytest.approx(success, abs=6e-4)


@pytest.mark.parametrize("name", ["filler_score", "broken_filler_score", "right", "wrong", "answer", "hazard"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_scores_outside_the_unit_interval_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} is .*expected a number in \[0, 1\]"):
        filler_chain(**{name: value})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"levels": -1}, ValueError, "levels is -1"),
        ({"levels": 1.5}, TypeError, "levels is 1.5"),
        ({"horizon": 0}, ValueError, "horizon is 0"),
        ({"right": "0.8"}, TypeError, "right: expected a number, got str"),
        ({"hazard": True}, TypeError, "hazard: expected a number, got bool"),
    ],
)
def test_other_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        filler_chain(**options)
