"""The published agents: features, policy and blend of each world with the settings they were trained with."""

from typing import Literal, get_args

import numpy as np

from rewardlab.checks import check_choice
from rewardlab.shaping.sampled.barfi import Barfi
from rewardlab.shaping.sampled.blend_network import BlendNetwork
from rewardlab.shaping.sampled.features import FourierFeatures, RandomFeatures, TileCoding
from rewardlab.shaping.sampled.policies import GaussianPolicy, Policy, SoftmaxPolicy
from rewardlab.shaping.sampled.settings import BarfiSettings

__all__ = ["World", "published_barfi", "published_blend", "published_policy"]

World = Literal["maze", "cartpole", "mountain_car", "half_cheetah"]

DISCOUNT = 1 / (1 + np.exp(-4.6))  # 0.99005: where the learned discount starts
BOUNDS = {  # of observations, as far as the features scale them
    "maze": ([0.0, 0.0], [1.0, 1.0]),
    "cartpole": ([-2.4, -3.5, -0.2095, -3.5], [2.4, 3.5, 0.2095, 3.5]),
    "mountain_car": ([-1.2, -0.07], [0.5, 0.07]),
}


def published_policy(world: World, env, *, rng: int = 0) -> Policy:
    """The policy of a published experiment, freshly initialised.

    Args:
        world: Which experiment: a softmax on coupled Fourier features of order 3 ("maze", "cartpole") or on 5 tilings
            of 4 x 4 tiles ("mountain_car"), a Gaussian of width 0.1 on 32 random features ("half_cheetah").
        env: A gymnasium environment, for its actions and, on "half_cheetah", its observations.
        rng: Seed of the first parameters.

    Raises:
        ValueError: If there is no such experiment.

    Source: Behavior Alignment via Reward Function Optimization (arXiv 2310.19007), official code. Its tile coding may
        place the tilings otherwise. On HalfCheetah its layer of features has learning rate 0, so it is not trained.
    """
    check_choice("world", world, get_args(World))
    if world == "half_cheetah":
        space = env.action_space
        features = RandomFeatures(env.observation_space.shape[0], 32, rng=np.random.default_rng([rng, 1]))
        return GaussianPolicy(features, space.shape[0], 0.1, low=space.low, high=space.high, rng=rng)
    low, high = BOUNDS[world]
    features = TileCoding(low, high, 4, 5) if world == "mountain_car" else FourierFeatures(low, high, 3)
    return SoftmaxPolicy(features, int(env.action_space.n), rng=rng)


def published_blend(world: World, features: int, heuristics: int = 1, *, rng: int = 0) -> BlendNetwork:
    """The blend of a published experiment, freshly initialised.

    Args:
        world: Which experiment: linear in the policy's features with the primary reward's weight fixed ("maze") or
            learned ("cartpole", "mountain_car"), or scalars that start as the plain sum ("half_cheetah").
        features: Features there are.
        heuristics: Auxiliary rewards there are; one as published.
        rng: Seed of the first weights.

    Raises:
        ValueError: If there is no such experiment.
    """
    check_choice("world", world, get_args(World))
    if world == "half_cheetah":
        scalars = {"start": 1.0, "start_bonus": 1.0, "bonus_offset": -1.0}
        return BlendNetwork("scalar", None, heuristics, **scalars, discount=DISCOUNT)
    return BlendNetwork("linear", features, heuristics, learn_primary=world != "maze", discount=DISCOUNT, rng=rng)


def published_barfi(world: World, env, *, auxiliary, rng: int = 0, **changes) -> Barfi:
    """A trainer as published.

    As published it begins with a warm-up on the plain sum of the rewards, which bad advice can turn into a policy that
    never finds back, and its Neumann series is first-order in effect. `warm_up=False` leaves the first out,
    `curvature="fisher", normalise=True` solves the curvature.

    Args:
        world: Which experiment.
        env: Its environment.
        auxiliary: Names of the auxiliary rewards; one as published.
        rng: Seed of everything.
        **changes: Settings that differ; see `BarfiSettings`.

    Raises:
        TypeError: If `auxiliary` is one text, or a setting is unknown.
        ValueError: If there is no such experiment; or see `Barfi`.

    Example:
        >>> import gymnasium, environments.guided
        >>> maze = gymnasium.make("rewardlab/GuidedMaze-v0", auxiliary=("good",))
        >>> published_barfi("maze", maze, auxiliary=("good",)).train(3).returns.shape
        (3,)
    """
    if isinstance(auxiliary, str):
        raise TypeError(f"auxiliary is {auxiliary!r}, expected several names: write ({auxiliary!r},)")
    policy = published_policy(world, env, rng=rng)
    blend = published_blend(world, policy.features.size, len(auxiliary), rng=rng + 1)
    return Barfi(env, policy, blend, getattr(BarfiSettings, world)(**changes), auxiliary=auxiliary, rng=rng)
