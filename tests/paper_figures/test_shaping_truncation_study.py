"""The worlds in which shaping goes wrong: closed forms against sums, and what the wrappers really add."""

import gymnasium
import numpy as np
import pytest

from paper_figures.shaping_truncation_study import (
    DISCOUNT,
    PAYS,
    POTENTIAL,
    POTENTIALS,
    Rooms,
    critic_bias,
    harmful_below,
    leads,
    learned_tables,
    rooms_mdp,
    shaping_over_resets,
    stay_or_finish,
    target_bias,
    terminal_trap,
)
from rewardlab.adapters.shaping_gymnasium import PotentialShaping
from rewardlab.exact import optimal_policy, potential_shaping


def test_the_target_of_the_last_step():
    assert target_bias("keep") == pytest.approx(0.0, abs=1e-12)
    assert target_bias("zero") == pytest.approx(-4.5)  # 0.5 in place of 5


@pytest.mark.parametrize("kept", ["keep", "zero"])
def test_the_wrapper_pays_what_the_target_needs(kept):
    env = PotentialShaping(
        gymnasium.wrappers.TimeLimit(Rooms((1.0, 1.0)), 3), lambda seen: POTENTIAL, DISCOUNT, on_truncation=kept
    )
    env.reset(seed=0)
    *_, last = [env.step(1) for _ in range(3)]
    assert last[3] and not last[2]
    ahead = 10.0 - POTENTIAL
    assert last[1] + DISCOUNT * ahead - ahead == pytest.approx(target_bias(kept), abs=1e-12)


@pytest.mark.parametrize("trace", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("limit", [1, 2, 10, 40])
def test_the_bias_is_where_the_traces_mean_is_zero(limit, trace):
    value = 10.0 - POTENTIAL + float(critic_bias(limit, trace))
    difference = np.full(limit, 1.0 + DISCOUNT * POTENTIAL - POTENTIAL + DISCOUNT * value - value)
    difference[-1] -= DISCOUNT * POTENTIAL
    traced = [sum((DISCOUNT * trace) ** (k - t) * difference[k] for k in range(t, limit)) for t in range(limit)]
    assert np.mean(traced) == pytest.approx(0.0, abs=1e-9)


def test_without_a_trace_the_bias_is_the_targets_times_the_horizon_over_the_limit():
    limits = np.array([5, 10, 40])
    np.testing.assert_allclose(critic_bias(limits), target_bias("zero") * 10 / limits)


def test_the_limit_below_which_the_worse_room_is_better():
    assert harmful_below() == pytest.approx(18)
    mdp, paid = rooms_mdp(PAYS)
    for limit, better in ((17, 0), (19, 1)):
        # a step in `limit` lacks the discounted potential of the room it leads to: on average a charge on that room
        charged = paid - DISCOUNT * np.array(POTENTIALS) / limit
        assert optimal_policy(mdp, charged).action.tolist() == [better, better]


def test_rooms_are_where_actions_lead():
    env = Rooms(PAYS)
    starts = {int(env.reset(seed=seed)[0].argmax()) for seed in range(10)}
    assert starts == {0, 1}
    seen, pay, terminated, truncated, _ = env.step(1)
    assert seen.tolist() == [0, 1] and pay == 1.0 and not terminated and not truncated
    assert env.step(0)[1] == 0.7


def test_tables_are_misled_below_the_limit_only_where_the_potential_is_zeroed():
    rows = learned_tables((5, 200), 4000, 3, np.random.default_rng(0))

    def mean(of, kept, limit):
        return np.mean([row["value"] for row in rows if (row["of"], row["kept"], row["limit"]) == (of, kept, limit)])

    assert [mean("right", "keep", limit) for limit in (5, 200)] == [1.0, 1.0]
    assert [mean("right", "zero", limit) for limit in (5, 200)] == [0.0, 1.0]
    assert mean("bias", "zero", 5) == pytest.approx(-9.0, abs=0.2)
    assert abs(mean("bias", "keep", 5)) < 0.01


def test_faults_flip_the_better_action_and_right_shaping_does_not():
    rows = {(row["fault"], row["shaping"], row["of"]): row["value"] for row in leads(1, np.random.default_rng(0))}
    assert rows["terminal", "wrong", "lead"] == pytest.approx(0.5 - 1.3)
    assert rows["discount", "wrong", "lead"] == pytest.approx(-9 - 0)
    for fault in ("terminal", "discount"):
        assert rows[fault, "none", "lead"] == pytest.approx(1) == rows[fault, "right", "lead"]
        assert [rows[fault, shaping, "taken"] for shaping in ("none", "right", "wrong")] == [1, 1, 0]


@pytest.mark.parametrize("world", [terminal_trap, stay_or_finish])
def test_right_shaping_leaves_the_worlds_optimum(world):
    mdp, reward, potential = world()
    shaped = reward + potential_shaping(mdp, potential * ~mdp.terminal)
    assert optimal_policy(mdp, reward).action[0] == optimal_policy(mdp, shaped).action[0] == 0


def test_shaping_over_resets_worked():
    rows = shaping_over_resets()
    added = {name: [row["value"] for row in rows if row["shaping"] == name] for name in ("naive", "right")}
    np.testing.assert_allclose(added["naive"], [0.9, 0.8, -2.0, 0.9, 0.8], atol=1e-12)
    np.testing.assert_allclose(added["right"], [0.9, 0.8, 0.0, 0.9, 0.8], atol=1e-12)
