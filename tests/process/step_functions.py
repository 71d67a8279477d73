"""Every function of padded steps, called alike: what all of them promise is then tested of each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch

from rewardlab.arrays import is_torch
from rewardlab.process import (
    AGGREGATIONS,
    MODES,
    aggregate_steps,
    first_below,
    information_gain,
    join_outcome,
    largest_drop,
    lowest_score,
    place_on_tokens,
    refine,
    reward_to_go,
    sentence_flag_reward,
    sentence_policy_reward,
    spread_over_tokens,
    step_advantages,
    turn_advantages,
)

TOKENS = 40


@dataclass(frozen=True)
class StepFunction:
    """One of them.

    Args:
        call: From values (solutions, steps) and their mask to what comes of it; other arguments are fixed.
        argument: What messages call the values.
        takes: Scores in [0, 1], any finite rewards, flags 0 or 1, or likelihoods, of which the first stands before the
            first step and the mask tells of the others.
        gives: Values of steps, tokens or whole solutions, or places of steps (-1 for none).
        keeps_dtype: Whether floats come back in the dtype they came in, rather than in float64.
        stepless: What a solution without steps has, "error" where it is refused.
        samples: The fewest solutions that it takes.
    """

    call: Callable
    argument: str = "step_rewards"
    takes: Literal["scores", "rewards", "flags", "likelihoods"] = "scores"
    gives: Literal["steps", "tokens", "solutions", "places"] = "steps"
    keeps_dtype: bool = True
    stepless: float | str = 0.0
    samples: int = 0


def like(values, array):
    """A NumPy array in the library, and on the device, of `values`."""
    return torch.as_tensor(array, device=values.device) if is_torch(values) else np.asarray(array)


def ends(values, token):
    """Ends of steps of `token` tokens each."""
    return like(values, np.broadcast_to(token * np.arange(1, values.shape[1] + 1) - 1, values.shape).copy())


def _outcomes(values):
    return like(values, np.arange(values.shape[0]) % 2)


def _tokens(function, values, mask):
    return function(values, mask, ends(values, 3), TOKENS)


def _advantages(part, values, mask, **settings):
    # each solution is a group of its own, or else those of the batch would hear one another
    ids = list(range(values.shape[0]))
    found = step_advantages(values, mask, _outcomes(values), "clip_delta", weight=0.5, threshold=0.7, group_ids=ids)
    return getattr(found, part)


def _turns(part, values, mask):
    found = turn_advantages(values, _outcomes(values), mask, list(range(values.shape[0])), normalisation="position")
    return getattr(found, part)[:, : values.shape[1]] * (1 if mask is None else mask)


def _flags(values, mask):
    true = like(values, np.broadcast_to(np.arange(values.shape[1]) % 2, values.shape).copy())
    return sentence_flag_reward(true, values, true, true, mask)


def _policy(values, mask):
    return sentence_policy_reward(values, mask, _outcomes(values))


FUNCTIONS = {
    **{f"refine {mode}": StepFunction(partial(refine, mode=mode, threshold=0.7)) for mode in MODES},
    **{
        f"refine {mode}, keep": StepFunction(partial(refine, mode=mode, threshold=0.7, last_step="keep"))
        for mode in MODES
        if mode.endswith("delta")
    },
    "reward_to_go": StepFunction(reward_to_go, takes="rewards"),
    "reward_to_go, discounted": StepFunction(partial(reward_to_go, discount=0.9), takes="rewards"),
    **{f"step_advantages {part}": StepFunction(partial(_advantages, part)) for part in ("refined", "returns")},
    "place_on_tokens": StepFunction(partial(_tokens, place_on_tokens), "step_values", "rewards", "tokens"),
    "spread_over_tokens": StepFunction(partial(_tokens, spread_over_tokens), "step_values", "rewards", "tokens"),
    "join_outcome": StepFunction(lambda values, mask: join_outcome(values, mask, _outcomes(values))),
    **{
        f"aggregate_steps {rule}": StepFunction(
            lambda values, mask, rule=rule: aggregate_steps(values, rule, mask, clip=1e-6),
            "step_scores", gives="solutions", keeps_dtype=False, stepless="error",
        )
        for rule in AGGREGATIONS
    },
    "first_below": StepFunction(
        lambda values, mask: first_below(values, 0.5, mask), "step_scores", gives="places", stepless=-1
    ),
    "lowest_score": StepFunction(lowest_score, "step_scores", gives="places", stepless=-1),
    "lowest_score, threshold": StepFunction(
        partial(lowest_score, threshold=0.5), "step_scores", gives="places", stepless=-1
    ),
    "largest_drop": StepFunction(largest_drop, "step_scores", gives="places", stepless=-1),
    "largest_drop, least": StepFunction(partial(largest_drop, least=0.25), "step_scores", gives="places", stepless=-1),
    "information_gain": StepFunction(information_gain, "likelihoods", "likelihoods"),
    "turn_advantages rewards": StepFunction(partial(_turns, "rewards"), "gains", "rewards", samples=1),
    "sentence_flag_reward": StepFunction(_flags, "correct", "flags", "solutions", False, "error"),
    "sentence_policy_reward": StepFunction(_policy, "correct"),
}  # fmt: skip


def batch(function, rng, lengths, steps):
    """(values, mask) that fit a function, NaN in the padding."""
    shape = len(lengths), steps
    values = rng.integers(0, 8, shape) / 8 + 0.0625  # float16 and bfloat16 hold it; neither 0 nor 1
    if function.takes == "rewards":
        values = values - 0.5
    if function.takes == "flags":
        values = (values > 0.5) * 1.0
    mask = np.arange(steps) < np.asarray(lengths)[:, None]
    values = np.where(mask, values, np.nan)
    if function.takes == "likelihoods":
        values = np.concatenate([np.full((len(lengths), 1), 0.5), values], axis=1)
    return values, mask


def plain(array):
    """A result as NumPy float64."""
    return array.detach().double().numpy() if is_torch(array) else np.asarray(array, dtype=np.float64)
