"""Other rewards for the toy-text environments: what a user might have written instead of the one that ships."""

from dataclasses import dataclass

import gymnasium
import numpy as np
from jaxtyping import Bool, Float

from rewardlab.exact.toy_text import ToyTextWorld
from rewardlab.exact.transformations import potential_shaping, redistribution

__all__ = ["RewardVariant", "goal_states", "reward_variants", "steps_to_goal", "toy_text_ids"]

SCALE = 3.0  # of the scaled variant
STEP_PENALTY = 0.1  # as a share of the largest shipped reward


@dataclass(frozen=True, eq=False)
class RewardVariant:
    """A reward for a toy-text world.

    Attributes:
        name: Short name.
        reward: `(S, A, S)`.
        description: What it pays for, in a line.
        keeps_order: True where theory says that it orders all policies as the shipped reward does; False where theory
            does not say so (it may still do).
    """

    name: str
    reward: Float[np.ndarray, "s a s"]
    description: str
    keeps_order: bool


def toy_text_ids() -> tuple[str, ...]:
    """The four environments, each in the newest version that gymnasium has."""
    families = ("FrozenLake", "CliffWalking", "Taxi", "Blackjack")
    specs = [spec for spec in gymnasium.registry.values() if spec.namespace is None]
    newest = {spec.name: spec.id for spec in sorted(specs, key=lambda spec: spec.version or 0)}
    return tuple(newest[family] for family in families)


def reward_variants(world: ToyTextWorld, rng: int | np.random.Generator = 0) -> tuple[RewardVariant, ...]:
    """Seven rewards for one world, from the shipped one to ones that say something else.

    Args:
        world: A toy-text world with the reward it ships.
        rng: Seed or generator of the redistributed variant.

    Returns:
        As shipped, scaled, potential shaped, redistributed (all four order policies the same way), sparse, with a step
        penalty, and sign flipped.
    """
    mdp, shipped = world.mdp, world.reward
    largest = float(np.abs(shipped).max())
    goals = goal_states(world)
    sparse = np.broadcast_to(goals.astype(np.float64), shipped.shape)
    shaping = potential_shaping(mdp, -steps_to_goal(world))
    noise = np.random.default_rng(rng).normal(scale=largest, size=shipped.shape)
    cost = STEP_PENALTY * largest
    rows = (
        ("as shipped", shipped, "what the environment pays", True),
        ("scaled", SCALE * shipped, f"{SCALE:g} times as much", True),
        ("potential shaped", shipped + shaping, "progress pays: the potential is minus the steps to the goal", True),
        (
            "redistributed",
            shipped + redistribution(mdp, noise),
            "lucky outcomes pay, and unlucky ones cost as much",
            True,
        ),
        ("sparse", sparse, "1 for reaching the goal, nothing else", False),
        ("step penalty", shipped - cost, f"every step costs {cost:g} more", False),
        ("sign flipped", -shipped, "a slip of the pen: what should pay costs", False),
    )
    return tuple(RewardVariant(*row) for row in rows)


def goal_states(world: ToyTextWorld) -> Bool[np.ndarray, " s"]:
    """The ends worth reaching, `(S,)`: those that pay on arrival, or, where none does, those that cost least."""
    entered = (world.mdp.continuation > 0).any(axis=(0, 1))
    paid = np.where(world.mdp.continuation > 0, world.reward, -np.inf).max(axis=(0, 1))
    ends = world.mdp.terminal & entered
    return ends & (paid >= min(paid[ends].max(), np.nextafter(0, 1)))


def steps_to_goal(world: ToyTextWorld) -> Float[np.ndarray, " s"]:
    """Fewest steps from each state to a goal if every outcome were the one hoped for, `(S,)`.

    0 in all states that end the episode; from where no goal can be reached, one more than from anywhere else.
    """
    possible = (world.mdp.continuation > 0).any(axis=1)
    steps = np.where(goal_states(world), 0.0, np.inf)
    frontier = steps == 0
    while frontier.any():
        reached = possible[:, frontier].any(axis=1) & np.isinf(steps)
        steps[reached] = steps[frontier].max() + 1
        frontier = reached
    steps[np.isinf(steps)] = steps[np.isfinite(steps)].max() + 1
    return np.where(world.mdp.terminal, 0.0, steps)
