import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from rewardlab.shaping.sampled.features import RawFeatures
from rewardlab.shaping.sampled.policies import GaussianPolicy, SoftmaxPolicy
from rewardlab.shaping.sampled.rollout import Rollout
from tests.shaping.sampled.tiny_worlds import Walk

SOFTMAX = SoftmaxPolicy(RawFeatures(2), 3)
GAUSSIAN = GaussianPolicy(RawFeatures(2), 2, 3.0)


def run(env, names=("near",), policy=SOFTMAX, **settings):
    return Rollout(env, policy, names, **settings).run(1, np.random.default_rng(0), number=7)


@pytest.mark.parametrize("first", [0, 5])
def test_discrete_actions(first):
    episode = run(Walk(first=first), ("far", "near"))
    steps = len(episode.primary)
    assert episode.observations.shape == (steps, 2) and episode.auxiliary.shape == (steps, 2)
    assert set(episode.actions.tolist()) <= {0, 1, 2}
    assert episode.terminated == (episode.primary[-1] == 1)
    again = run(Walk(first=first), ("near", "far"))
    np.testing.assert_array_equal(again.auxiliary[:, ::-1], episode.auxiliary)


def test_box_actions_are_clipped_for_the_world_alone():
    episode = run(Walk(continuous=True), (), GAUSSIAN)  # the world asserts that they are inside
    assert np.abs(episode.actions).max() > 1 and episode.auxiliary.shape == (len(episode.primary), 0)


def test_horizon_from_the_argument_the_specification_or_the_world():
    class Endless(Walk):
        horizon = None
        goal = np.inf

    with pytest.raises(ValueError, match="the environment has no time limit: give horizon"):
        Rollout(Endless(), SOFTMAX)
    assert len(run(Endless(), horizon=5).primary) == 5 and not run(Endless(), horizon=5).terminated
    gymnasium.register("TinyWalk-v0", lambda: Endless(), max_episode_steps=6)
    try:
        assert len(run(gymnasium.make("TinyWalk-v0")).primary) == 6
    finally:
        del gymnasium.registry["TinyWalk-v0"]
    assert len(run(TimeLimit(Endless(), 4), horizon=9).primary) == 4


class Reports(Walk):
    """Puts whatever it is told to into `info` from the third step on."""

    def __init__(self, info, reward=None):
        super().__init__()
        self.info, self.reward = info, reward

    def step(self, action):
        seen, reward, _, cut, info = super().step(action)
        if self.steps > 2:
            info, reward = self.info, reward if self.reward is None else self.reward
        return seen, reward, False, cut, info


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (Reports({}), r"episode 7, step 2: info\['auxiliary'\] is nothing, expected a dict from names to numbers"),
        (Reports({"auxiliary": 0.5}), r"step 2: info\['auxiliary'\] is a float, expected a dict"),
        (Reports({"auxiliary": {"far": 1.0}}), r"step 2: info\['auxiliary'\] has \['far'\], not 'near'"),
        (
            Reports({"auxiliary": {"near": np.nan}}),
            "episode 7, step 2: auxiliary 'near' is nan, expected a finite number",
        ),
        (Reports({"auxiliary": {"near": np.ones(3)}}), r"auxiliary 'near' has shape \(3,\), expected one number"),
        (Reports({"auxiliary": {"near": [1.0, 2.0]}}), r"auxiliary 'near' has shape \(2,\), expected one number"),
        (Reports({"auxiliary": {"near": None}}), "auxiliary 'near' is None, expected one number"),
        (Reports({"auxiliary": {"near": 0.0}}, np.inf), "step 2: the primary reward is inf"),
        (Reports({"auxiliary": {"near": 0.0}}, np.nan), "step 2: the primary reward is nan"),
    ],
)
def test_what_the_world_reports_is_checked(env, message):
    with pytest.raises(ValueError, match=message):
        run(env)


def test_numbers_of_any_kind_are_numbers():
    for value in (1, True, np.float32(1), np.int64(1), np.array(1.0)):
        assert run(Reports({"auxiliary": {"near": value}})).auxiliary[3, 0] == 1


class Spaces(Walk):
    def __init__(self, action=None, observation=None):
        super().__init__()
        self.action_space = self.action_space if action is None else action
        self.observation_space = self.observation_space if observation is None else observation


@pytest.mark.parametrize(
    ("env", "policy", "error", "message"),
    [
        (
            Spaces(spaces.MultiDiscrete([2, 2])),
            SOFTMAX,
            TypeError,
            r"action space is MultiDiscrete\(\[2 2\]\), expected",
        ),
        (Spaces(spaces.Box(-1, 1, (2, 2))), GAUSSIAN, TypeError, "expected Discrete or a Box of one dimension"),
        (Spaces(observation=spaces.Dict({})), SOFTMAX, TypeError, "observation space is Dict"),
        (Spaces(spaces.Discrete(4)), SOFTMAX, ValueError, "the policy has 3 actions, the environment 4"),
        (Walk(continuous=True), SOFTMAX, TypeError, "expected a GaussianPolicy, got a SoftmaxPolicy"),
        (Walk(), GAUSSIAN, TypeError, "expected a SoftmaxPolicy, got a GaussianPolicy"),
        (Spaces(spaces.Box(-1, 1, (1,))), GAUSSIAN, ValueError, "the policy has 2 dimensions, the environment 1"),
    ],
)
def test_spaces_that_do_not_suit(env, policy, error, message):
    with pytest.raises(error, match=message):
        Rollout(env, policy)
