import math

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper, VecNormalize

from rewardlab.adapters.gymnasium import PotentialShaping, RewardPipeline, VectorPotentialShaping
from rewardlab.adapters.shaping_check import check_shaping
from rewardlab.adapters.stable_baselines3 import VecPotentialShaping
from rewardlab.shaping.potentials import TablePotential
from tests.adapters.worlds import Corridor, passing

DISCOUNT = 0.9
MODES = list(AutoresetMode)


def tenfold(observation):
    return 10 * observation[0] + 1.0


def leaning(observation):
    return -float(abs(observation[2])) - 0.1 * float(observation[0])


def cartpole(limit=15):
    return gymnasium.make("CartPole-v1", max_episode_steps=limit)


class Naive(gymnasium.Wrapper):
    """Shaping as it is often written, with one mistake of several."""

    def __init__(self, env, mistake, potential=leaning, discount=DISCOUNT):
        super().__init__(env)
        self.mistake, self.asked, self.discount = mistake, potential, discount
        self.seen = None

    def reset(self, **options):
        self.seen, info = self.env.reset(**options)
        self.before = self.asked(self.seen)
        return self.seen, info

    def step(self, action):
        seen, reward, terminated, truncated, info = self.env.step(action)
        after = self.asked(seen)
        if (terminated and self.mistake != "no terminal rule") or (truncated and self.mistake == "dropped at cuts"):
            after = 0.0
        if self.mistake == "evaluated again":
            self.before = self.asked(self.seen)
        added = self.discount * after - self.before
        if self.mistake == "forgets":
            added = 0.0
        self.before, self.seen = after, seen
        return seen, reward + added, terminated, truncated, info


# What holds


@pytest.mark.parametrize("limit", [15, 500])
def test_cartpole_holds(limit):
    check = check_shaping(
        cartpole(limit), lambda env: PotentialShaping(env, leaning, DISCOUNT, scale=3.0), DISCOUNT, rng=1
    )
    assert check and check.holds and check.environment is check.episode is check.step is None
    assert len(check.raw_returns) == 20
    np.testing.assert_allclose(check.shaped_returns - check.raw_returns, check.expected, atol=1e-12)
    assert np.ptp(check.expected) > 1e-3
    assert "20 episodes" in check.message and "exactly" in check.message


def test_frozen_lake_is_random_and_holds_step_for_step():
    table = TablePotential(np.random.default_rng(0).normal(size=16))
    check = check_shaping(
        "FrozenLake-v1" and gymnasium.make("FrozenLake-v1"), lambda e: PotentialShaping(e, table, 1), 1
    )
    assert check.holds
    np.testing.assert_allclose(check.expected, -table(0))


def test_where_the_learner_does_not_bootstrap_at_cuts():
    check = check_shaping(
        cartpole,
        lambda env: PotentialShaping(env, leaning, DISCOUNT, on_truncation="zero"),
        DISCOUNT,
        on_truncation="zero",
    )
    assert check.holds


def test_without_a_wrapper_of_ours_the_potential_is_told():
    assert check_shaping(cartpole, lambda env: Naive(env, None), DISCOUNT, potential=leaning).holds
    with pytest.raises(TypeError, match="potential: none is given"):
        check_shaping(cartpole, lambda env: Naive(env, None), DISCOUNT)


def test_over_a_pipeline_that_belongs_to_the_environment():
    env = RewardPipeline(cartpole(), {"own": lambda step: 2 * step.reward}, passing("own"))
    check = check_shaping(env, lambda inner: PotentialShaping(inner, leaning, DISCOUNT), DISCOUNT)
    assert (not check.holds and "changed from 2 to 1 before it was shaped" in check.message) or check.holds


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limit", [6, 500])
def test_vectors_hold_in_every_autoreset_mode(mode, limit):
    envs = SyncVectorEnv([lambda: cartpole(limit)] * 3, autoreset_mode=mode)
    check = check_shaping(envs, lambda inner: VectorPotentialShaping(inner, leaning, DISCOUNT), DISCOUNT, episodes=12)
    assert check.holds, check.message
    assert 12 <= len(check.raw_returns) <= 15
    np.testing.assert_allclose(check.shaped_returns - check.raw_returns, check.expected, atol=1e-12)


@pytest.mark.parametrize("limit", [6, 500])
def test_vectors_of_stable_baselines3_hold_in_single_precision(limit):
    venv = DummyVecEnv([lambda: cartpole(limit)] * 3)
    check = check_shaping(venv, lambda inner: VecPotentialShaping(inner, leaning, DISCOUNT), DISCOUNT)
    assert check.holds, check.message
    np.testing.assert_allclose(check.shaped_returns - check.raw_returns, check.expected, atol=1e-5)


def test_normalised_first_and_shaped_then_holds_for_the_normalised_reward():
    venv = VecNormalize(DummyVecEnv([cartpole] * 2), gamma=DISCOUNT)
    with pytest.warns(UserWarning, match="outside VecNormalize"):
        check = check_shaping(venv, lambda inner: VecPotentialShaping(inner, leaning, DISCOUNT), DISCOUNT)
    assert check.holds, check.message


def test_episodes_without_end_are_cut_by_the_check():
    check = check_shaping(Corridor(10**9), lambda env: PotentialShaping(env, tenfold, DISCOUNT), DISCOUNT, steps=30)
    assert check.holds and check.steps == 30 and len(check.raw_returns) == 1
    assert check.expected[0] == pytest.approx(DISCOUNT**30 * 31.0 - 1.0)


def test_a_potential_that_changes_holds_if_it_is_kept_from_the_arrival():
    table = np.arange(16.0)

    def act(observation):
        table[:] += np.random.default_rng(int(table[0] * 7) % 100).normal(size=16)
        return 2

    def potential(state):
        return float(table[state])

    def check(wrapper):
        return check_shaping(lambda: gymnasium.make("FrozenLake-v1"), wrapper, 1.0, act=act, potential=potential)

    assert check(lambda env: PotentialShaping(env, potential, 1.0)).holds
    found = check(lambda env: Naive(env, "evaluated again", potential, 1.0))
    assert not found and "the potential of the state before was evaluated again" in found.message


def test_the_same_seed_rolls_the_same_episodes():
    checks = [
        check_shaping(cartpole, lambda env: PotentialShaping(env, leaning, DISCOUNT), DISCOUNT, rng=seed)
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(checks[0].raw_returns, checks[1].raw_returns)
    assert not np.array_equal(checks[0].expected, checks[2].expected)


# What does not


def broken(mistake, reason, *, limit=15, env=None, **options):
    found = check_shaping(env or cartpole(limit), mistake, DISCOUNT, **options)
    assert not found and not found.holds
    assert reason in found.message, found.message
    return found


def test_a_terminal_potential_that_counts_is_named():
    wrapper = lambda env: Naive(env, "no terminal rule", tenfold)  # noqa: E731
    found = broken(wrapper, "no terminal rule", env=Corridor(3, "terminated"), potential=tenfold)
    assert (found.environment, found.episode, found.step) == (0, 0, 2)
    assert found.message.startswith("step 2 of episode 0 was paid 0.6 for shaping instead of -3:")


def test_a_terminal_rule_that_takes_cuts_for_ends_is_named():
    found = broken(
        lambda env: Naive(env, "dropped at cuts"), "counted as 0 where the episode was cut", limit=5, potential=leaning
    )
    assert (found.episode, found.step) == (0, 4)
    broken(lambda env: PotentialShaping(env, leaning, DISCOUNT, on_truncation="zero"), "counted as 0 where", limit=5)


def test_a_potential_kept_at_cuts_where_the_learner_stops_is_named():
    wrapper = lambda env: PotentialShaping(env, leaning, DISCOUNT)  # noqa: E731
    broken(wrapper, "does not bootstrap there", limit=5, on_truncation="zero")


@pytest.mark.parametrize("other", [1.0, 0.8])
def test_another_discount_is_named(other):
    found = broken(
        lambda env: PotentialShaping(env, leaning, other), f"the shaping's discount is {other:g}, the learner's 0.9"
    )
    assert found.step == 0


def test_a_reward_clipped_or_normalised_afterwards_is_named():
    def clipped(env):
        return gymnasium.wrappers.ClipReward(PotentialShaping(env, tenfold, DISCOUNT), -1.0, 1.5)

    found = broken(clipped, "the shaped reward was right, 1.8, and changed afterwards, to 1.5", env=Corridor(3))
    assert found.step == 0
    broken(
        lambda env: gymnasium.wrappers.NormalizeReward(PotentialShaping(env, leaning, DISCOUNT), DISCOUNT),
        "changed afterwards",
    )
    broken(
        lambda env: VecNormalize(VecPotentialShaping(env, leaning, DISCOUNT), gamma=DISCOUNT),
        "changed afterwards",
        env=DummyVecEnv([cartpole] * 2),
    )


def test_a_reward_changed_before_is_named():
    def doubled(env):
        env = gymnasium.wrappers.TransformReward(env, lambda reward: 2 * reward)
        return PotentialShaping(env, leaning, DISCOUNT)

    broken(doubled, "changed from 1 to 2 before it was shaped")


def test_nothing_added_is_named_and_so_is_another_potential():
    broken(lambda env: Naive(env, "forgets"), "nothing was added", potential=leaning)
    broken(
        lambda env: Naive(env, None, lambda seen: seen[1] ** 2), "for no reason that could be told", potential=leaning
    )


def test_a_reward_that_is_no_number_is_found():
    def lost(env):
        return gymnasium.wrappers.TransformReward(PotentialShaping(env, leaning, DISCOUNT), lambda reward: math.nan)

    assert "was paid nan" in broken(lost, "step 0 of episode 0").message


class NaiveVector(gymnasium.vector.VectorWrapper):
    """Shaping of a vector without a thought for resets: every observation is taken for what the step led to."""

    def reset(self, **options):
        observations, infos = self.env.reset(**options)
        self.before = 10 * observations[:, 0] + 1.0
        return observations, infos

    def step(self, actions):
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        after = 10 * observations[:, 0] + 1.0
        added = DISCOUNT * after * ~terminated - self.before
        self.before = after
        return observations, rewards + added, terminated, truncated, infos


def corridors(mode, ending="truncated"):
    return SyncVectorEnv([lambda: Corridor(2, ending), lambda: Corridor(3, ending)], autoreset_mode=mode)


def test_pay_for_the_step_that_resets_is_named():
    found = broken(NaiveVector, "no transition", env=corridors(AutoresetMode.NEXT_STEP), potential=tenfold)
    assert found.message.startswith("the step that resets environment 0 after episode 0 was paid -2.1 for shaping")
    assert (found.environment, found.episode) == (0, 0)


def test_the_next_episodes_first_state_taken_for_the_last_is_named():
    reason = "the next episode's first state was taken for the last state of this one"
    found = broken(NaiveVector, reason, env=corridors(AutoresetMode.SAME_STEP), potential=tenfold)
    assert (found.environment, found.episode, found.step) == (0, 0, 1)
    assert "of environment 0" in found.message

    class NaiveVec(VecEnvWrapper):
        def reset(self):
            observations = self.venv.reset()
            self.before = 10 * observations[:, 0] + 1.0
            return observations

        def step_wait(self):
            observations, rewards, dones, infos = self.venv.step_wait()
            after = 10 * observations[:, 0] + 1.0
            added, self.before = DISCOUNT * after - self.before, after
            return observations, (rewards + added).astype(np.float32), dones, infos

    found = broken(NaiveVec, reason, env=DummyVecEnv([lambda: Corridor(3), lambda: Corridor(2)]), potential=tenfold)
    assert (found.environment, found.episode, found.step) == (1, 0, 1)


def test_a_potential_unknown_in_terminal_states_does_not_hide_the_mistake():
    def partial(observation):
        if observation[0] >= 0.3:
            raise KeyError("unknown there")
        return tenfold(observation)

    class Offset(Naive):
        def step(self, action):
            seen, reward, terminated, truncated, info = self.env.step(action)
            return seen, reward + 5.0 * terminated + self.added(seen, terminated), terminated, truncated, info

        def added(self, seen, terminated):
            before, self.before = self.before, 0.0 if terminated else self.asked(seen)
            return DISCOUNT * self.before - before

    wrapper = lambda env: Offset(env, None, partial)  # noqa: E731
    found = broken(wrapper, "no reason", env=Corridor(3, "terminated"), potential=partial)
    assert found.step == 2


# What is refused


def test_wrappers_that_do_more_than_reward_are_refused():
    class Twice(gymnasium.Wrapper):
        def step(self, action):
            self.env.step(action)
            return self.env.step(action)

    with pytest.raises(ValueError, match="one step outside the wrapper was 2 inside"):
        check_shaping(cartpole(), lambda env: PotentialShaping(Twice(env), leaning, DISCOUNT), DISCOUNT)
    with pytest.raises(ValueError, match=r"inside .* truncated=False, outside .* truncated=True: put what ends"):
        check_shaping(
            Corridor(9), lambda env: gymnasium.wrappers.TimeLimit(PotentialShaping(env, tenfold, 0.9), 2), DISCOUNT
        )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"env": 3}, TypeError, "env: expected a gymnasium environment, a vector .* got int"),
        ({"wrapper": 3}, TypeError, "wrapper: expected a function of an environment, got int"),
        ({"discount": 1.5}, ValueError, "discount is 1.5"),
        ({"discount": math.nan}, ValueError, "discount is nan"),
        ({"episodes": 0}, ValueError, "episodes is 0"),
        ({"steps": 0.5}, TypeError, "steps is 0.5, expected a whole number"),
        ({"tolerance": -1.0}, ValueError, "tolerance is -1"),
        ({"on_truncation": "drop"}, ValueError, "on_truncation is 'drop'"),
        ({"rng": "0"}, TypeError, "rng: expected a seed"),
        ({"potential": lambda seen: seen}, ValueError, r"has shape \(1,\), expected one number"),
    ],
)
def test_bad_arguments(arguments, error, message, without_type_checks):
    arguments = {
        "env": Corridor(),
        "wrapper": lambda env: PotentialShaping(env, tenfold, DISCOUNT),
        "discount": DISCOUNT,
    } | arguments
    with pytest.raises(error, match=message):
        check_shaping(arguments.pop("env"), arguments.pop("wrapper"), arguments.pop("discount"), **arguments)


def test_a_potential_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="is nan, expected a finite number"):
        check_shaping(Corridor(), lambda env: Naive(env, None, tenfold), DISCOUNT, potential=lambda seen: math.nan)
