"""NLE and MiniHack as they are, brought to the very game that one of ours plays: the oracle of these tests."""

import copy
import warnings

import gymnasium as gym
import nle  # noqa: F401  registers NLE's environments
import numpy as np
from gymnasium.utils import seeding

from environments.nethack.games import OBSERVATION_KEYS
from environments.nethack.minihack import _import

MORE, NORTH, EAST, SOUTH, WEST, EAT = 0, 1, 2, 3, 4, 21  # places among the 23 actions of NLE's tasks

_import()


def raw_game(name, seed=None, *, steps=None, **options):
    """NLE's or MiniHack's environment; with `seed`, about to play the game that `make_game(..., seed=seed)` plays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"observation_keys": OBSERVATION_KEYS, "fix_moon_phase": True} | options
        game = gym.make(name, disable_env_checker=True, **options).unwrapped
    if steps is not None:
        game._max_episode_steps = steps  # gymnasium's make keeps `max_episode_steps` to itself
    if seed is not None:
        core, display = (int(drawn) for drawn in seeding.np_random(seed)[0].integers(2**62, size=2))
        game.seed(core, display, reseed=False)
    return game


def text(observation):
    """The message, as bytes without the padding."""
    return observation["message"].tobytes().rstrip(b"\0")


def same(left, right):
    """Whether two observations agree in every entry."""
    return all(np.array_equal(left[key], right[key]) for key in OBSERVATION_KEYS)


def episode(game, rng, *, seed=None, steps=10**6, actions=None, copies=False):
    """Play at random: all observations (`copies` of them), rewards, the flags of the last step and its info."""
    observation, info = game.reset(seed=seed)
    observations, rewards, terminated, truncated = (
        [copy.deepcopy(observation) if copies else observation],
        [],
        False,
        False,
    )
    while not (terminated or truncated) and len(rewards) < steps:
        action = int(rng.integers(game.action_space.n)) if actions is None else actions[len(rewards)]
        observation, reward, terminated, truncated, info = game.step(action)
        observations.append(copy.deepcopy(observation) if copies else observation)
        rewards.append(reward)
    return observations, rewards, (terminated, truncated), info
