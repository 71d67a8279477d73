"""A policy that learns tool calls by GRPO: one gold call a context, and a softmax for each of its parts."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from rewardlab.process.tool_calls import ToolCall
from rewardlab.process.tool_rewards import score_calls
from rewardlab.transforms.advantages import standardised

TOOLS, KEYS, VALUES = 6, ((True, True), (True, False), (False, True), (False, False)), 5
HEADS = (TOOLS, len(KEYS), VALUES, VALUES)  # name, which of two parameters, and their values; entry 0 is right
CONTEXTS, PROMPTS, GROUP = 10, 5, 4  # prompts of each context in an iteration: 50 in all
RATE = 3.0  # chosen so that "fine" takes the 100 iterations of the earlier code, which are given without a rate


def earned_shares() -> dict[str, np.ndarray]:
    """Share of the score that each call earns, over the heads' choices `(6, 4, 5, 5)`, by level of detail.

    "middle" is half for name and keys and half for the whole call, and not a level of the paper.
    """
    gold = [_call(0, 0, 0, 0)]
    calls = [[_call(*choice)] for choice in itertools.product(*map(range, HEADS))]
    score = {
        detail: [score_calls(gold, call, detail=detail) for call in calls]
        for detail in ("fine", "intermediate", "coarse")
    }
    shares = {detail: np.array([found.share for found in found_of]) for detail, found_of in score.items()}
    names_and_keys = np.array([(found.names + found.parameters) / 2 for found in score["fine"]])
    shares["middle"] = (names_and_keys + shares["coarse"]) / 2
    return {detail: share.reshape(HEADS) for detail, share in shares.items()}


def _call(tool: int, keys: int, *values: int) -> ToolCall:
    given = {f"k{place}": value for place, (value, there) in enumerate(zip(values, KEYS[keys])) if there}
    return ToolCall(f"tool {tool}", given)


def train(
    reward: Callable[[int, np.ndarray], np.ndarray],
    heads: tuple[int, ...],
    arms: int,
    seeds: int,
    iterations: int,
    rng: np.random.Generator,
    right_at_first: tuple[float | None, ...] | None = None,
) -> np.ndarray:
    """Train by GRPO; all arms get the same luck.

    Args:
        reward: `(iteration, choices (heads, arms, seeds, contexts, samples))` to rewards of the shape of one head.
        heads: Number of choices of each head of the policy; the first choice is the right one.
        arms: Runs with rewards of their own.
        seeds: Runs with luck of their own.
        iterations: Updates, of 50 groups of 4.
        rng: Generator.
        right_at_first: Probability of the right choice at the start by head, None for all choices alike.

    Returns:
        Probability that all heads are right, mean over contexts, before each update and at the end:
        `(iterations + 1, arms, seeds)`.
    """
    present = np.arange(max(heads)) < np.array(heads)[:, None]
    logits = np.broadcast_to(np.where(present, 0.0, -np.inf), (arms, seeds, CONTEXTS, *present.shape)).copy()
    for head, chance in enumerate(right_at_first or ()):
        if chance is not None:
            logits[..., head, 0] = np.log(chance / (1 - chance) * (heads[head] - 1))
    success = np.empty((iterations + 1, arms, seeds))
    for iteration in range(iterations + 1):
        policy = np.exp(logits - logits.max(-1, keepdims=True))
        policy /= policy.sum(-1, keepdims=True)
        success[iteration] = policy[..., 0].prod(-1).mean(-1)
        luck = rng.random((len(heads), 1, seeds, CONTEXTS, PROMPTS * GROUP))
        bounds = np.moveaxis(policy.cumsum(-1)[..., :-1], -2, 0)[..., None, :]
        choices = (luck[..., None] > bounds).sum(-1)
        choices = np.minimum(choices, np.array(heads).reshape(-1, *[1] * 4) - 1)  # a sum just below 1 is rounding
        rewards = reward(iteration, choices)
        advantages = standardised(rewards.reshape(-1, GROUP), correction=0, epsilon=1e-6).reshape(rewards.shape)
        taken = (choices[..., None] == np.arange(max(heads))) * advantages[..., None]
        pushed = np.moveaxis(taken.sum(-2), 0, -2)  # advantages sum to 0, so the policy's own share falls away
        logits += RATE * pushed / (CONTEXTS * PROMPTS * GROUP)
    return success


def times_to_learn(success: np.ndarray, arms: Sequence[str]) -> pd.DataFrame:
    """First iteration at which a run is right with probability .8; the last one where it never is."""
    there = success >= 0.8
    first = np.where(there.any(0), there.argmax(0), len(success) - 1)
    rows = itertools.product(arms, range(success.shape[2]))
    return pd.DataFrame(rows, columns=["arm", "seed"]).assign(value=first.ravel().astype(float))
