"""From gains of turns and the outcome to advantages of turns: three estimators that go by one name."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Num

from rewardlab.arrays import Array, all_finite, array_namespace, as_float64
from rewardlab.checks import check_array, check_choice, check_finite, check_scalar
from rewardlab.process.credit import reward_to_go
from rewardlab.process.padded_steps import as_floats, checked_step_mask
from rewardlab.transforms.groups import Groups, in_dtype_of

__all__ = ["Normalisation", "TurnAdvantages", "TurnWeights", "curriculum_weights", "turn_advantages"]

Normalisation = Literal["joint", "separate", "position"]

VARIANCE_FLOOR, SPREAD_FLOOR = 1e-8, 1e-6  # standard deviation = sqrt(variance + the one) + the other


class TurnAdvantages(NamedTuple):
    """What became of gains and outcomes, stage by stage; each (samples, turns), 0 in the padding.

    `turns` is one more than the gains have: the turn that answers comes right after a rollout's last gain.

    Args:
        rewards: Gains, and at each rollout's last turn its outcome, times their weights.
        normalised: Rewards after normalisation (as they are with `position`).
        advantages: What the turn's own tokens are trained with.
        mask: Whether there is a turn.
    """

    rewards: Float[Array, "samples turns"]
    normalised: Float[Array, "samples turns"]
    advantages: Float[Array, "samples turns"]
    mask: Bool[Array, "samples turns"]


class TurnWeights(NamedTuple):
    """How much gains and outcomes count."""

    gain: float = 1.0
    outcome: float = 1.0


def curriculum_weights(progress: float) -> TurnWeights:
    """Weights that begin with the gains and end with the outcome.

    Args:
        progress: Share of the training that is over, in [0, 1].

    Returns:
        Weight of the gains, 1 falling to .5, and of the outcome, .5 rising to 1, both linearly.

    Raises:
        ValueError: If `progress` is outside [0, 1].

    Source: Later released code of IGPO (arXiv 2510.14967).

    Example:
        >>> curriculum_weights(0.5)
        TurnWeights(gain=0.75, outcome=0.75)
    """
    check_scalar("progress", progress, low=0.0, high=1.0)
    return TurnWeights(gain=1.0 - 0.5 * progress, outcome=0.5 + 0.5 * progress)


def turn_advantages(
    gains: Num[Array, "samples gained"],
    outcomes: Num[Array, " samples"] | Bool[Array, " samples"],
    mask: Bool[Array, "samples gained"] | None = None,
    group_ids=None,
    *,
    normalisation: Normalisation = "joint",
    discount: float = 1.0,
    weights: TurnWeights | tuple[float, float] = (1.0, 1.0),
) -> TurnAdvantages:
    """Advantage of every turn of a batch of multi-turn rollouts, from information gains and outcomes.

    Mind what standardising turn by turn does: the gains of a rollout add up to no more than 1 whatever its length, but
    in `joint` and `separate` every turn that gains less than the group's mean costs something, so that turns
    themselves are punished. A right answer after some useless turns can end up with negative advantages. `position`
    keeps the sum.

    To train on tokens hand `advantages` and `mask` to `rewardlab.process.tokens.spread_over_tokens`, and set the
    tokens that the policy did not write (tool results) to 0.

    Args:
        gains: Information gain of each turn but the last of its rollout, padded, (samples, most turns - 1).
        outcomes: What the rollout's answer earned, (samples,); finite.
        mask: True where there is a gain, the gains first; None where every rollout is of full length. A rollout
            that answers at once has none. Turns are counted by this mask alone, so a gain of exactly 0 is a turn
            like any other.
        group_ids: One id a rollout: those of one question share theirs; or groups made of them before. None where
            all are of one question.
        normalisation: `joint`: all rewards of the group, gains and outcomes, in one pool, each less its mean and
            over its standard deviation; then summed from each turn on. `separate`: likewise, gains and outcomes each
            in a pool of their own. `position`: summed first, then less the mean sum of the group's rollouts that have
            the turn, undivided.
        discount: In [0, 1].
        weights: Of gains and of outcomes, at least 0 (`TurnWeights`): before pooling with `joint` and `position`, after
            standardising with `separate`.

    Returns:
        Rewards, normalised rewards, advantages and mask, (samples, most turns), of the float dtype of `gains`. Where a
        pool holds one value, or equal ones, the normalised rewards are exactly 0.

    Raises:
        TypeError: If the mask is not boolean, or arrays are of several libraries.
        ValueError: If a gain or outcome is NaN or infinite (a rollout whose gains are missing is an error, not one
            without gains), the mask has a gap, shapes disagree, or an advantage is beyond the range of its dtype.

    Source: IGPO (arXiv 2510.14967), after its released code: standard deviation sqrt(population variance + 1e-8) +
        1e-6. `position` is its first public version, `joint` and `separate` a later one. That code finds turns by
        their rewards being other than 0, so a turn without gain melts into the next one; drops a rollout's gains
        without a word where their number looks wrong; counts rollouts that are over as 0 in the mean of
        `position`; and applies the weights before `separate` standardises, which takes them out again.

    Example:
        >>> import numpy as np
        >>> gains, outcomes = np.array([[0.05, 0.30], [0.0, -0.05]]), np.array([1.0, 0.0])
        >>> turn_advantages(gains, outcomes).advantages.round(3)
        array([[ 1.901,  2.354,  2.128],
               [-1.901, -1.313, -0.588]])
    """
    check_choice("normalisation", normalisation, get_args(Normalisation))
    check_scalar("discount", discount, low=0.0, high=1.0)
    if len(weights) != 2:
        raise ValueError(f"weights has {len(weights)} numbers, expected 2: of gains and of outcomes")
    weights = TurnWeights(*(check_scalar(f"weights[{place}]", weight, low=0.0) for place, weight in enumerate(weights)))
    values, present, outcomes = _checked(gains, mask, outcomes)
    xp = array_namespace(values)
    is_outcome = present ^ xp.concat([present[:, 1:], xp.zeros_like(present[:, :1])], axis=1)  # a rollout's last turn
    rewards = xp.where(is_outcome, outcomes[:, None], values)
    weight = xp.where(is_outcome, weights.outcome * xp.ones_like(values), weights.gain * xp.ones_like(values))
    groups = _groups(group_ids, outcomes)
    if normalisation == "position":
        normalised = weight * rewards
        sums = xp.permute_dims(reward_to_go(normalised, present, discount=discount), (1, 0))
        centred, _ = groups.deviation(sums, xp.permute_dims(present, (1, 0)), correction=0)
        advantages = xp.permute_dims(centred, (1, 0))
    else:
        if normalisation == "joint":
            normalised = _pooled(weight * rewards, present, groups)
        else:
            apart = (_pooled(rewards, part, groups) for part in (is_outcome, present & ~is_outcome))
            normalised = weight * sum(apart)
        advantages = reward_to_go(normalised, present, discount=discount)
    with np.errstate(over="ignore"):
        parts = [in_dtype_of(part, gains) for part in (weight * rewards, normalised, advantages)]
    if not all(map(all_finite, parts)):
        raise ValueError(f"advantages are beyond the range of {gains.dtype}, expected smaller outcomes or weights")
    return TurnAdvantages(*parts, present)


def _checked(gains: Array, mask: Array | None, outcomes: Array) -> tuple[Array, Array, Array]:
    """Gains with a place for the outcome after them, which places are turns, and outcomes; in float64."""
    mask = checked_step_mask(mask, gains, name="gains")
    xp = array_namespace(gains)
    if gains.ndim != 2 or not gains.shape[0]:
        raise ValueError(
            f"gains has shape {tuple(gains.shape)}, expected (samples, turns - 1) with at least one sample"
        )
    if array_namespace(check_array("outcomes", outcomes)) is not xp:
        kinds = f"outcomes is a {type(outcomes).__name__} but gains a {type(gains).__name__}"
        raise TypeError(f"{kinds}; use one library")
    if tuple(outcomes.shape) != (gains.shape[0],):
        raise ValueError(f"outcomes has shape {tuple(outcomes.shape)}, expected one a sample: ({gains.shape[0]},)")
    outcomes = check_finite("outcomes", as_float64(outcomes))
    values = check_finite("gains", as_floats(as_float64(gains), mask))
    mask = xp.ones_like(values, dtype=xp.bool) if mask is None else mask
    values = xp.concat([values, xp.zeros_like(outcomes)[:, None]], axis=1)
    present = xp.concat([xp.ones_like(outcomes, dtype=xp.bool)[:, None], mask], axis=1)  # every rollout answers
    return values, present, outcomes


def _groups(group_ids, outcomes: Array) -> Groups:
    if not isinstance(group_ids, Groups):
        return Groups.from_ids([0] * outcomes.shape[0] if group_ids is None else group_ids, like=outcomes)
    if tuple(group_ids.index.shape) != tuple(outcomes.shape):
        raise ValueError(f"group_ids groups {group_ids.index.shape[0]} samples, outcomes has {outcomes.shape[0]}")
    return group_ids


def _pooled(rewards: Array, present: Array, groups: Groups) -> Array:
    """Present rewards less the mean of their group's pool, over its standard deviation; 0 elsewhere."""
    xp = array_namespace(rewards)
    flat, here = (xp.reshape(part, (-1,)) for part in (rewards, present))
    turns = rewards.shape[1]
    pools = Groups(xp.repeat(groups.index, turns), groups.count, groups.sizes * turns)
    deviation, spread = pools.deviation(flat, here, correction=0)
    spread = xp.sqrt(spread * spread + VARIANCE_FLOOR) + SPREAD_FLOOR
    return xp.reshape(deviation / pools.spread(spread), rewards.shape)
