"""Look-back advice as a wrapper: against the function of whole trajectories, at both kinds of ending."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.adapters.advice_gymnasium import LookBackAdvice
from rewardlab.adapters.gymnasium import RewardPipeline
from rewardlab.shaping.advice import look_back_advice
from tests.adapters.worlds import Corridor, passing

TABLE = np.array([[1.0, -2.0], [0.5, 3.0], [4.0, -1.5], [0.0, 2.5], [-3.0, 7.0]])


def advice(observation, action):
    return float(TABLE[round(10 * observation[0]), action])


def roll(env, actions):
    """What was added to each step of an episode, and the actions' potentials."""
    env.reset()
    added, potentials = [], []
    for place, action in enumerate(actions):
        reward, terminated, truncated, info = env.step(action)[1:]
        assert reward == info["reward/raw"] + info["reward/shaping"] == info["reward/combined"]
        assert info["reward/raw"] == place + 1 and info["taken"] == place + 1
        added.append(info["reward/shaping"])
        potentials.append(TABLE[place, action])
    assert terminated or truncated
    return np.array(added), np.array(potentials)


@given(
    st.lists(st.integers(0, 1), min_size=1, max_size=5),
    st.sampled_from(["terminated", "truncated"]),
    st.sampled_from(["keep", "zero"]),
    st.sampled_from([0.3, 0.9, 1.0]),
    st.booleans(),
)
def test_against_the_function_of_whole_trajectories(actions, ending, on_truncation, discount, reuse_memory):
    env = Corridor(len(actions), ending, reuse_memory=reuse_memory)
    env = LookBackAdvice(env, advice, discount, on_truncation=on_truncation)
    ended = ending == "terminated" or on_truncation == "zero"
    for _ in range(2):  # nothing is carried over from one episode to the next
        added, potentials = roll(env, actions)
        np.testing.assert_allclose(added, look_back_advice(potentials, discount=discount, ended=ended), atol=1e-12)
        total = discount ** np.arange(len(actions)) @ added
        last = discount ** (len(actions) - 1) * potentials[-1]
        assert total == pytest.approx(0 if ended else last, abs=1e-9)


def test_worked_numbers():
    table = {0.0: 1.0, 0.1: 2.0, 0.2: 4.0}
    for ending, expected in (("truncated", 3.24), ("terminated", 0.0)):
        env = LookBackAdvice(Corridor(3, ending), lambda seen, action: table[seen[0]], 0.9)
        env.reset()
        added = np.array([env.step(0)[4]["reward/shaping"] for _ in range(3)])
        assert 0.9 ** np.arange(3) @ added == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1"])
def test_passes_the_checks_of_gymnasium(name):
    env = LookBackAdvice(gymnasium.make(name, disable_env_checker=True), lambda seen, action: float(action), 0.99)
    assert env.shaping_settings == (0.99, "keep")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        check_env(env, skip_render_check=True)


def test_in_a_vector_every_environment_keeps_its_own_last_action():
    envs = gymnasium.vector.SyncVectorEnv(
        [lambda n=n: LookBackAdvice(Corridor(n, "terminated"), advice, 0.9) for n in (2, 3)],
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    envs.reset(seed=0)
    rewards = np.array([envs.step(np.array([0, 1]))[1] for _ in range(6)])
    for column, (length, action) in enumerate(((2, 0), (3, 1))):
        added = look_back_advice(TABLE[:length, action], discount=0.9, ended=True)
        expected = np.tile(added + np.arange(1, length + 1), 6 // length)
        np.testing.assert_allclose(rewards[:, column], expected)


def test_a_pipeline_inside_keeps_its_record():
    inner = RewardPipeline(Corridor(2), {"twice": lambda step: 2 * step.reward}, passing("twice"))
    env = LookBackAdvice(inner, advice, 0.9)
    env.reset()
    reward, _, _, info = env.step(0)[1:]
    assert info["reward/raw"] == 1.0 and info["reward/shaping"] == 1.0 and reward == info["reward/combined"] == 3.0


def test_numbers_of_other_kinds():
    for value in (2, np.float32(2), np.int64(2), np.array(2.0)):
        env = LookBackAdvice(Corridor(2), lambda seen, action, value=value: value, 1)
        env.reset()
        shaping = env.step(0)[4]["reward/shaping"]
        assert shaping == 2.0 and isinstance(shaping, float)


class Stepping:
    """A wrapped environment whose potential returns what it is told to."""

    def __init__(self, value):
        self.env = LookBackAdvice(Corridor(3), lambda seen, action: value, 0.9)
        self.env.reset()

    def __call__(self):
        return self.env.step(1)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: LookBackAdvice(Corridor(3), TABLE, 0.9), TypeError, "potential: expected a function"),
        (lambda: LookBackAdvice(Corridor(3), advice, 0.0), ValueError, "discount is 0"),
        (lambda: LookBackAdvice(Corridor(3), advice, 1.5), ValueError, "discount is 1.5"),
        (lambda: LookBackAdvice(Corridor(3), advice, "0.9"), TypeError, "discount"),
        (lambda: LookBackAdvice(Corridor(3), advice, 0.9, on_truncation="drop"), ValueError, "on_truncation is 'drop'"),
        (
            lambda: LookBackAdvice(gymnasium.wrappers.Autoreset(Corridor(3)), advice, 0.9),
            ValueError,
            r"Autoreset\(LookBackAdvice\(env",
        ),
        (lambda: LookBackAdvice(Corridor(3), advice, 0.9).step(0), gymnasium.error.ResetNeeded, "reset"),
        (Stepping(np.nan), ValueError, "action 1 is nan"),
        (Stepping(np.float64(np.inf)), ValueError, "action 1 is inf"),
        (Stepping(np.zeros(2)), ValueError, r"shape \(2,\)"),
        (Stepping(None), TypeError, "NoneType"),
        (Stepping(True), TypeError, "bool"),
    ],
)
def test_bad_input_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_shaping_inside_is_refused():
    env = LookBackAdvice(LookBackAdvice(Corridor(3), advice, 0.9), advice, 0.9)
    env.reset()
    with pytest.raises(ValueError, match="reward/shaping"):
        env.step(0)
