"""Potential-based shaping of vectors of environments, in every autoreset mode."""

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rewardlab.adapters.gymnasium import PotentialShaping, VectorPotentialShaping, VectorRewardPipeline
from rewardlab.shaping.potentials import DistancePotential, TablePotential
from tests.adapters.worlds import Corridor, passing

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]
DISCOUNT = 0.9


def tenfold(observation):
    return 10 * observation[0]


def first(observation):
    return float(observation[0]) - 0.5 * float(observation[2])


class Batched:
    """The same potential as `tenfold`, for several observations at once."""

    def __call__(self, observation):
        return tenfold(observation)

    def batch(self, observations):
        return 10 * observations[:, 0]


def vector(mode, lengths, ending="truncated", potential=tenfold, **options):
    envs = SyncVectorEnv([lambda n=n: Corridor(n, ending) for n in lengths], autoreset_mode=mode)
    return VectorPotentialShaping(envs, potential, DISCOUNT, **options)


def roll(envs, steps, actions=0):
    """What was added at each step (steps, environments), with finished environments reset where nothing else does."""
    envs.reset(seed=0)
    added = []
    for _ in range(steps):
        _, rewards, terminated, truncated, infos = envs.step(np.full(envs.num_envs, actions))
        done = terminated | truncated
        added.append(np.where(infos["_reward/raw"], rewards - infos["reward/raw"], rewards))
        np.testing.assert_allclose(np.nan_to_num(infos["reward/shaping"]), added[-1], atol=1e-12)
        if envs.autoreset_mode is AutoresetMode.DISABLED and done.any():
            envs.reset(options={"reset_mask": done})
    return np.array(added)


@pytest.mark.parametrize("potential", [tenfold, Batched()], ids=["one by one", "batch"])
@pytest.mark.parametrize(("ending", "last"), [("truncated", 0.8), ("terminated", -1.0)])
def test_the_step_that_resets_is_paid_nothing(ending, last, potential):
    added = roll(vector(AutoresetMode.NEXT_STEP, [2], ending, potential), 5)[:, 0]
    np.testing.assert_allclose(added, [0.9, last, 0.0, 0.9, last], atol=1e-12)


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("potential", [tenfold, Batched()], ids=["one by one", "batch"])
@pytest.mark.parametrize(("ending", "last"), [("truncated", 0.8), ("terminated", -1.0)])
def test_without_a_step_for_the_reset(ending, last, potential, mode):
    added = roll(vector(mode, [2, 3], ending, potential), 4)
    np.testing.assert_allclose(added[:, 0], [0.9, last, 0.9, last], atol=1e-12)
    np.testing.assert_allclose(added[:, 1], [0.9, 0.8, {0.8: 0.7, -1.0: -2.0}[last], 0.9], atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_monte_carlo_learners_of_a_vector(mode):
    added = roll(vector(mode, [2], on_truncation="zero"), 2)[:, 0]
    np.testing.assert_allclose(added, [0.9, -1.0], atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limit", [7, 500])
def test_a_vector_of_cartpoles_gives_what_they_give_one_by_one(mode, limit):
    def one():
        return gymnasium.make("CartPole-v1", max_episode_steps=limit)

    envs = VectorPotentialShaping(SyncVectorEnv([one] * 3, autoreset_mode=mode), first, DISCOUNT, scale=0.5)
    singles = [PotentialShaping(one(), first, DISCOUNT, scale=0.5) for _ in range(3)]
    envs.reset(seed=5)
    for place, single in enumerate(singles):
        single.reset(seed=5 + place)
    rng = np.random.default_rng(0)
    resetting = np.zeros(3, bool)
    for _ in range(120):
        actions = rng.integers(2, size=3)
        _, rewards, terminated, truncated, infos = envs.step(actions)
        for place, single in enumerate(singles):
            if resetting[place]:
                assert rewards[place] == 0.0 and not infos["_reward/shaping"][place]
                assert math.isnan(infos["reward/shaping"][place])
                continue
            _, reward, one_terminated, one_truncated, info = single.step(int(actions[place]))
            assert rewards[place] == pytest.approx(reward, abs=1e-12)
            assert infos["reward/shaping"][place] == pytest.approx(info["reward/shaping"], abs=1e-12)
            assert (terminated[place], truncated[place]) == (one_terminated, one_truncated)
            if one_terminated or one_truncated:
                single.reset()
        done = terminated | truncated
        resetting = done if mode is AutoresetMode.NEXT_STEP else resetting
        if mode is AutoresetMode.DISABLED and done.any():
            envs.reset(options={"reset_mask": done})


@pytest.mark.parametrize("mode", MODES)
def test_frozen_lakes_with_a_table(mode):
    table = TablePotential(np.random.default_rng(0).normal(size=16))
    envs = SyncVectorEnv([lambda: gymnasium.make("FrozenLake-v1", max_episode_steps=6)] * 4, autoreset_mode=mode)
    added = roll(VectorPotentialShaping(envs, table, DISCOUNT), 60, actions=2)
    again = SyncVectorEnv([lambda: gymnasium.make("FrozenLake-v1", max_episode_steps=6)] * 4, autoreset_mode=mode)
    one_by_one = roll(VectorPotentialShaping(again, lambda state: table(state), DISCOUNT), 60, actions=2)
    np.testing.assert_array_equal(added, one_by_one)
    assert np.ptp(added) > 0.1


def test_a_mask_resets_some_and_leaves_the_others():
    envs = vector(AutoresetMode.DISABLED, [5, 5])
    envs.reset()
    envs.step(np.zeros(2, int))
    envs.reset(options={"reset_mask": np.array([True, False])})
    rewards, infos = (part := envs.step(np.zeros(2, int)))[1], part[-1]
    np.testing.assert_allclose(rewards - infos["reward/raw"], [0.9, 0.8], atol=1e-12)


def test_a_mask_leaves_the_potentials_of_the_others_as_they_were_on_arrival():
    asked = []
    envs = vector(AutoresetMode.DISABLED, [5, 5], potential=lambda observation: asked.append(1) or float(len(asked)))
    envs.reset()  # 1, 2
    envs.step(np.zeros(2, int))  # 3, 4
    envs.reset(options={"reset_mask": np.array([True, False])})  # 5
    added = envs.step(np.zeros(2, int))[-1]["reward/shaping"]  # 6, 7
    np.testing.assert_allclose(added, [DISCOUNT * 6 - 5, DISCOUNT * 7 - 4])


def test_a_reset_between_the_end_and_the_step_that_would_reset():
    envs = vector(AutoresetMode.NEXT_STEP, [1])
    envs.reset()
    envs.step(np.zeros(1, int))
    envs.reset()
    assert envs.step(np.zeros(1, int))[-1]["reward/shaping"] == pytest.approx([0.9])


def test_the_potential_of_a_vector_is_not_asked_where_it_does_not_count():
    def alive(observation):
        if observation[0] >= 0.2:
            raise AssertionError("asked in a terminal state")
        return 1.0

    for mode in MODES:
        roll(vector(mode, [2, 2], "terminated", alive), 4)


def test_metadata_that_do_not_say_how_episodes_end_are_refused():
    envs = SyncVectorEnv([Corridor])
    envs.metadata = {}
    with pytest.raises(ValueError, match=r"expected a gymnasium\.vector\.AutoresetMode"):
        VectorPotentialShaping(envs, tenfold, DISCOUNT)


def test_observations_in_parts():
    def place(observation):
        return 10 * observation["place"][0] + observation["pair"][0]

    one = PotentialShaping(Corridor(2, nested=True), place, DISCOUNT)
    one.reset()
    expected = [one.step(0)[-1]["reward/shaping"], one.step(0)[-1]["reward/shaping"]]
    for mode in MODES:
        envs = SyncVectorEnv([lambda: Corridor(2, nested=True)] * 2, autoreset_mode=mode)
        added = roll(VectorPotentialShaping(envs, place, DISCOUNT), 2)
        np.testing.assert_allclose(added, np.array([expected] * 2).T, atol=1e-12)


def test_without_a_thought_for_resets_the_numbers_are_wrong():
    """Every returned observation taken for what the step led to: -2.0 for a reset, or -1.0 where .8 is due."""
    for mode, expected in ((AutoresetMode.NEXT_STEP, [0.9, 0.8, -2.0, 0.9, 0.8]), (AutoresetMode.SAME_STEP, [0.9, -1])):
        envs = SyncVectorEnv([lambda: Corridor(2)], autoreset_mode=mode)
        before, naive = tenfold(envs.reset()[0][0]), []
        for _ in expected:
            after = tenfold(envs.step(np.zeros(1, int))[0][0])
            naive.append(DISCOUNT * after - before)
            before = after
        np.testing.assert_allclose(naive, expected, atol=1e-12)
        right = roll(vector(mode, [2]), len(expected))[:, 0]
        np.testing.assert_allclose(right, [0.9, 0.8, 0.0, 0.9, 0.8][: len(expected)], atol=1e-12)


def test_a_step_of_a_vector_before_the_first_reset_is_refused():
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset before the first step"):
        vector(MODES[0], [2]).step(np.zeros(1, int))


def test_a_pipeline_of_vectors_outside_is_refused():
    envs = VectorRewardPipeline(vector(MODES[0], [2]), {"own": lambda step: step.reward}, passing("own"))
    envs.reset()
    with pytest.raises(ValueError, match="potential shaping is inside"):
        envs.step(np.zeros(1, int))


def test_two_shapings_of_a_vector_are_refused():
    envs = VectorPotentialShaping(vector(MODES[0], [2]), tenfold, DISCOUNT)
    envs.reset()
    with pytest.raises(ValueError, match="'reward/shaping' already"):
        envs.step(np.zeros(1, int))


def test_a_potential_that_turns_bad_in_one_environment_names_it():
    envs = vector(AutoresetMode.NEXT_STEP, [9, 9], potential=lambda seen: math.inf if seen[0] > 0.15 else 0.0)
    envs.reset()
    envs.step(np.zeros(2, int))
    with pytest.raises(ValueError, match=r"array\(\[0\.2\]\) is inf, expected a finite number \(environment 0\)"):
        envs.step(np.zeros(2, int))


def test_a_distance_guides_all_at_once():
    potential = DistancePotential([1.0])
    envs = vector(AutoresetMode.SAME_STEP, [3, 4], potential=potential)
    one_by_one = vector(AutoresetMode.SAME_STEP, [3, 4], potential=lambda seen: potential(seen))
    np.testing.assert_allclose(roll(envs, 9), roll(one_by_one, 9), atol=1e-12)
