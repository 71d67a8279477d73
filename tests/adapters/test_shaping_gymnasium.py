"""Potential-based shaping of one environment, and the arguments that both wrappers refuse."""

import math

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from rewardlab.adapters.gymnasium import PotentialShaping, RewardPipeline, VectorPotentialShaping
from rewardlab.exact.toy_text import from_gymnasium
from rewardlab.shaping.potentials import TablePotential, optimal_value_potential
from rewardlab.shaping.rule import shape_episode
from rewardlab.transforms import Pipeline, Scale
from tests.adapters.worlds import Corridor, passing

DISCOUNT = 0.9


def tenfold(observation):
    return 10 * observation[0]


def first(observation):
    return float(observation[0]) - 0.5 * float(observation[2])


def corridor(ending="terminated", length=2, **options):
    return PotentialShaping(Corridor(length, ending, **options), tenfold, DISCOUNT)


def episode(env, actions=None, seed=0):
    """Observations, raw rewards, what was added, and how the episode ended."""
    seen = [env.reset(seed=seed)[0]]
    raw, added = [], []
    rng = np.random.default_rng(seed)
    while True:
        action = int(rng.integers(env.action_space.n)) if actions is None else next(actions)
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append(np.copy(observation))
        raw.append(info["reward/raw"])
        added.append(info["reward/shaping"])
        assert reward == info["reward/combined"] == pytest.approx(raw[-1] + added[-1], abs=1e-12)
        if terminated or truncated:
            return seen, raw, added, terminated


@pytest.mark.parametrize(("ending", "last"), [("truncated", 0.8), ("terminated", -1.0)])
def test_the_potential_is_kept_at_a_cut_and_zero_at_the_end(ending, last):
    env = corridor(ending)
    for _ in range(2):
        _, raw, added, _ = episode(env)
        assert raw == [1.0, 2.0]
        assert added == pytest.approx([0.9, last])


def test_monte_carlo_learners_count_nothing_after_a_cut():
    env = PotentialShaping(Corridor(2, "truncated"), tenfold, DISCOUNT, on_truncation="zero")
    assert episode(env)[2] == pytest.approx([0.9, -1.0])


def test_scale_multiplies_the_potential():
    env = PotentialShaping(Corridor(2, "truncated"), tenfold, DISCOUNT, scale=0.5)
    assert episode(env)[2] == pytest.approx([0.45, 0.4])


def test_observations_written_into_the_same_memory():
    assert episode(corridor("truncated", reuse_memory=True))[2] == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [5, 500])
def test_cartpole_ends_both_ways(seed, limit):
    env = PotentialShaping(gymnasium.make("CartPole-v1", max_episode_steps=limit), first, DISCOUNT)
    seen, raw, added, terminated = episode(env, seed=seed)
    assert terminated == (limit == 500)
    potentials = np.array([first(observation) for observation in seen])
    np.testing.assert_allclose(added, shape_episode(potentials, discount=DISCOUNT, ended=terminated), atol=1e-12)
    powers = DISCOUNT ** np.arange(len(raw))
    at_the_end = 0.0 if terminated else DISCOUNT ** len(raw) * potentials[-1]
    assert powers @ added == pytest.approx(at_the_end - potentials[0], abs=1e-12)


def test_on_frozen_lake_shaped_by_its_optimal_values():
    env = gymnasium.make("FrozenLake-v1", is_slippery=True)
    world = from_gymnasium(env, discount=0.99)
    states = env.observation_space.n
    potential = optimal_value_potential(world.mdp, world.reward)
    shaped = PotentialShaping(env, TablePotential(potential.values[:states]), 0.99)
    for seed in range(20):
        seen, raw, added, terminated = episode(shaped, seed=seed)
        powers = 0.99 ** np.arange(len(raw))
        assert terminated
        assert powers @ added == pytest.approx(-potential(int(seen[0])), abs=1e-12)


def test_a_potential_that_changes_is_kept_from_the_arrival():
    tables = iter([[1.0, 9.0, 9.0], [1.5, 2.0, 9.0], [1.5, 2.5, 5.0]])  # one for each arrival, the last is terminal
    env = PotentialShaping(
        Corridor(3, "terminated"), lambda observation: next(tables)[round(10 * observation[0])], DISCOUNT
    )
    added = episode(env)[2]
    assert added == pytest.approx([0.8, 2.5, -5.0])
    assert DISCOUNT ** np.arange(3) @ added == pytest.approx(-1.0)


def test_the_potential_is_asked_once_a_state_and_never_at_the_end():
    asked = []
    potential = lambda observation: asked.append(round(10 * observation[0])) or 1.0  # noqa: E731
    episode(PotentialShaping(Corridor(3, "terminated"), potential, DISCOUNT))
    assert asked == [0, 1, 2]


def test_inside_a_time_limit_the_cut_is_not_seen_and_outside_it_is():
    limit = gymnasium.wrappers.TimeLimit
    outside = PotentialShaping(limit(Corridor(9), 2), tenfold, DISCOUNT, on_truncation="zero")
    inside = limit(PotentialShaping(Corridor(9), tenfold, DISCOUNT, on_truncation="zero"), 2)
    assert episode(outside)[2] == pytest.approx([0.9, -1.0])
    assert episode(inside)[2] == pytest.approx([0.9, 0.8])


def test_info_of_the_environment_is_kept_and_not_changed():
    env = corridor()
    env.reset()
    info = env.step(0)[-1]
    assert info["taken"] == 1 and info["detail"] == {"twice": 2.0}
    handed = {}
    inner = gymnasium.make("CartPole-v1").unwrapped
    inner.step_before, inner.step = inner.step, lambda action: (*inner.step_before(action)[:4], handed)
    shaped = PotentialShaping(inner, first, DISCOUNT)
    shaped.reset(seed=0)
    shaped.step(0)
    assert handed == {}


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1"])
def test_passes_the_checks_of_gymnasium(name):
    env = PotentialShaping(gymnasium.make(name).unwrapped, lambda observation: 1.0, DISCOUNT)
    check_env(env, skip_render_check=True)


def test_is_made_again_from_its_spec():
    env = PotentialShaping(gymnasium.make("CartPole-v1"), first, DISCOUNT, scale=2.0)
    again = gymnasium.make(env.spec)
    assert isinstance(again, PotentialShaping)
    assert again.shaping_settings == env.shaping_settings == (DISCOUNT, "keep")
    assert episode(again)[2] == episode(env)[2]


def test_the_reward_is_a_python_float_in_double_precision():
    env = corridor()
    env.env.step = lambda action: (np.array([0.1]), np.float32(0.1), np.False_, np.False_, {})
    env.reset()
    _, reward, _, _, info = env.step(0)
    assert type(reward) is type(info["reward/shaping"]) is float
    assert reward == float(np.float32(0.1)) + 0.9


def test_a_step_before_the_first_reset_is_refused():
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset before the first step"):
        corridor().step(0)


# With other wrappers


def test_outside_a_pipeline_its_reward_is_shaped_and_the_raw_one_kept():
    pipeline = RewardPipeline(Corridor(2), {"own": lambda step: step.reward}, Pipeline({"own": Scale(100.0)}))
    env = PotentialShaping(pipeline, tenfold, DISCOUNT)
    env.reset()
    _, reward, _, _, info = env.step(0)
    assert (reward, info["reward/combined"]) == pytest.approx((100.9, 100.9))
    assert info["reward/raw"] == 1.0


def test_a_pipeline_outside_is_refused():
    outside = RewardPipeline(corridor(), {"own": lambda step: step.reward}, passing("own"))
    outside.reset()
    with pytest.raises(ValueError, match=r"potential shaping is inside .* PotentialShaping\(RewardPipeline"):
        outside.step(0)


def test_two_shapings_are_refused():
    twice = PotentialShaping(corridor(), tenfold, DISCOUNT)
    twice.reset()
    with pytest.raises(ValueError, match=r"'reward/shaping' already.*sum of the potentials"):
        twice.step(0)


def test_autoreset_inside_is_refused():
    with pytest.raises(ValueError, match=r"Autoreset\(PotentialShaping\(env, ...\)\)"):
        PotentialShaping(gymnasium.wrappers.Autoreset(Corridor()), tenfold, DISCOUNT)
    env = gymnasium.wrappers.Autoreset(corridor())
    env.reset()
    rewards = [env.step(0)[1] for _ in range(4)]
    assert rewards == pytest.approx([1.9, 1.0, 0.0, 1.9])


def test_episode_statistics_tell_raw_and_shaped_returns_apart():
    statistics = gymnasium.wrappers.RecordEpisodeStatistics

    def total(env):
        env.reset()
        env.step(0)
        return env.step(0)[-1]["episode"]["r"]

    assert total(PotentialShaping(statistics(Corridor(2)), tenfold, DISCOUNT)) == pytest.approx(3.0)
    assert total(statistics(corridor())) == pytest.approx(3.0 + 0.9 - 1.0)


def test_what_normalize_reward_keeps_track_of_is_no_return():
    """Its sum of rewards is cut before the terminal step and not at a truncation: shaping does not telescope in it."""

    def sums(ending):
        inner = gymnasium.wrappers.TransformReward(Corridor(3, ending), lambda reward: 1.0)
        env = gymnasium.wrappers.NormalizeReward(inner, gamma=0.9)
        kept = []
        for _ in range(2):
            env.reset()
            for _ in range(3):
                env.step(0)
                kept.append(float(np.ravel(env.discounted_reward)[0]))
        return kept

    assert sums("truncated") == pytest.approx([1, 1.9, 2.71, 3.439, 4.0951, 4.68559])
    assert sums("terminated") == pytest.approx([1, 1.9, 1, 1.9, 2.71, 1])


# What is refused


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"discount": 1.01}, ValueError, r"discount is 1.01, expected a number in \[0, 1\]"),
        ({"discount": math.nan}, ValueError, "discount is nan"),
        ({"discount": "0.9"}, TypeError, "discount: expected a number, got str"),
        ({"potential": np.zeros(3)}, TypeError, "potential: expected a function of an observation, got ndarray"),
        ({"on_truncation": "drop"}, ValueError, "on_truncation is 'drop', expected one of 'keep', 'zero'"),
        ({"scale": math.inf}, ValueError, "scale is inf"),
    ],
)
def test_bad_arguments(arguments, error, message, without_type_checks):
    arguments = {"potential": tenfold, "discount": DISCOUNT} | arguments
    with pytest.raises(error, match=message):
        PotentialShaping(Corridor(), **arguments)
    with pytest.raises(error, match=message):
        VectorPotentialShaping(SyncVectorEnv([Corridor]), **arguments)


@pytest.mark.parametrize(
    ("potential", "error", "message"),
    [
        (lambda observation: observation, ValueError, r"array\(\[0\.\]\) has shape \(1,\), expected one number"),
        (lambda observation: math.nan, ValueError, r"the potential of observation array\(\[0\.\]\) is nan"),
        (lambda observation: None, TypeError, r"array\(\[0\.\]\) is NoneType, expected a number"),
    ],
)
def test_a_potential_that_is_no_number_names_the_observation(potential, error, message):
    with pytest.raises(error, match=message):
        PotentialShaping(Corridor(), potential, DISCOUNT).reset()
    with pytest.raises(error, match=message):
        VectorPotentialShaping(SyncVectorEnv([Corridor]), potential, DISCOUNT).reset()
