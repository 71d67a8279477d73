"""Prompts with finitely many responses: what optimising a utility under a KL budget does, exactly."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Real

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_broadcast
from rewardlab.exact.response_checks import check_log_probs, check_same_sets, checked_sets, positive, raise_at

__all__ = ["KLMatch", "condition_on_goodness", "kl_divergence", "match_kl", "tilt"]

_SMALLEST_TARGET = 1e-12  # nats; a smaller KL is the rounding of its own terms
_SETTLED = 1e-12  # the search ends when the KL is this near its target, relative to it
_REACHED = 1e-6  # and has failed when it is not even this near
_MOST_STEPS = 200  # plain halving would need about 60


@dataclass(frozen=True)
class KLMatch:
    """What `match_kl` returns; where the target cannot be reached, all but `reachable` and `limit` is NaN.

    Attributes:
        temperature: The temperature that all prompts of a set share, `(*batch)`.
        log_probs: Log-probabilities of the tilted policy, `(*batch, prompts, responses)`.
        kl: Its mean KL to the base policy over prompts in nats, `(*batch)`: the target to within rounding.
        reachable: Whether some temperature above 0 reaches the target, `(*batch)`.
        limit: The mean KL that lower and lower temperatures approach in nats, `(*batch)`: the mean over prompts of
            -log of the base probability of all responses of the highest utility.
    """

    temperature: Float[Array, "*batch"]
    log_probs: Float[Array, "*batch prompts responses"]
    kl: Float[Array, "*batch"]
    reachable: Bool[Array, "*batch"]
    limit: Float[Array, "*batch"]


def tilt(
    base_log_probs: Float[Array, "*#prompts responses"],
    utility: Real[Array, "*#prompts responses"],
    temperature: Real[Array, "*#prompts"] | float = 1.0,
) -> Float[Array, "*prompts responses"]:
    """The policy that KL-regularised optimisation of a utility ends in: base times exp(utility / temperature).

    It maximises, prompt by prompt, the expected utility minus temperature times KL to the base policy.

    Args:
        base_log_probs: Log-probabilities of the base policy, `(*prompts, responses)`; -inf where it never answers so.
        utility: What is optimised, finite, `(*prompts, responses)`; a constant added to a prompt changes nothing.
        temperature: Weight of the KL in units of utility per nat, above 0: one number, or an array that broadcasts
            against `(*prompts)` (for one temperature a set of prompts, `temperature[..., None]`).

    Returns:
        Normalised log-probabilities in float64, -inf exactly where the base policy's are.

    Raises:
        TypeError, ValueError: If an argument is no array of finite numbers of the right shape, the base policy's
            probabilities do not sum to 1 within 1e-6 for some prompt, or a temperature is not above 0.

    Source: Wang et al. 2024 (arXiv 2402.00742), the optimum of the alignment objective.

    Example:
        >>> import numpy as np
        >>> tilt(np.log([0.5, 0.5]), np.array([0.0, np.log(3)])).round(3)
        array([-1.386, -0.288])
    """
    base, utility = checked_sets(base_log_probs, "utility", utility)
    xp = array_namespace(base)
    temperature = positive("temperature", temperature, like=base)
    check_broadcast(utility=tuple(utility.shape[:-1]), temperature=tuple(temperature.shape))
    _, _, log_probs = _tilted(base, _gain(base, utility), temperature)
    return xp.where(base == -math.inf, base, log_probs)


def kl_divergence(
    log_probs: Float[Array, "*#prompts responses"], base_log_probs: Float[Array, "*#prompts responses"]
) -> Float[Array, "*prompts"]:
    """KL(policy || base) of each prompt in nats: how far a policy has moved.

    Args:
        log_probs: Log-probabilities of the policy, `(*prompts, responses)`; -inf for 0.
        base_log_probs: Log-probabilities of the base policy, `(*prompts, responses)`.

    Returns:
        KL of each prompt, `(*prompts)`, at least 0; infinite where the policy gives what the base never does.

    Raises:
        TypeError, ValueError: If the shapes do not fit, or probabilities do not sum to 1 within 1e-6 for some prompt.

    Example:
        >>> import numpy as np
        >>> kl_divergence(np.log([0.25, 0.75]), np.log([0.5, 0.5])).round(6)
        np.float64(0.130812)
    """
    log_probs = check_log_probs("log_probs", log_probs)
    base = check_log_probs("base_log_probs", base_log_probs, beside=("log_probs", log_probs))
    check_same_sets(log_probs=log_probs, base_log_probs=base)
    xp = array_namespace(base)
    never = log_probs == -math.inf  # 0 log 0 is 0
    ratio = xp.where(never, xp.zeros_like(log_probs), log_probs) - xp.where(never, xp.zeros_like(base), base)
    return xp.clip(xp.sum(xp.exp(log_probs) * ratio, axis=-1), min=0)  # rounding may fall below


def match_kl(
    base_log_probs: Float[Array, "*#batch #prompts responses"],
    utility: Real[Array, "*#batch #prompts responses"],
    target: Real[Array, "*#batch"] | float,
) -> KLMatch:
    """Tilt by a utility so far that the mean KL over prompts is a given one: how to compare utilities fairly.

    Temperatures of different utilities mean different things, KLs the same. All prompts of a set share one
    temperature, as in training. KL falls with temperature, so log temperature is bisected, with Newton steps where
    they stay inside the bracket, for all sets of the batch at once.

    Args:
        base_log_probs: Log-probabilities of the base policy, `(*batch, prompts, responses)`; -inf for 0.
        utility: What is optimised, finite, `(*batch, prompts, responses)`.
        target: Mean KL over prompts in nats, at least 1e-12: one number, or an array that broadcasts against
            `(*batch)`.

    Returns:
        Temperature, policy and KL. A set whose target is at or above its limit is not an error, as a curve over
        targets may well end: it comes back with `reachable` False, its `limit`, and NaN for everything else.

    Raises:
        TypeError, ValueError: If the shapes do not fit, probabilities do not sum to 1 within 1e-6 for some prompt, a
            utility is not finite or a target below 1e-12.

    Example:
        >>> import numpy as np
        >>> base, utility = np.log(np.full((1, 4), 0.25)), np.array([[-2.0, 0, 1, 4]])
        >>> round(float(match_kl(base, utility, 1.096254).temperature), 4)
        1.0
        >>> match = match_kl(base, utility, 1.5)
        >>> bool(match.reachable), round(float(match.limit), 4)  # log 4
        (False, 1.3863)
    """
    base, utility = checked_sets(base_log_probs, "utility", utility)
    if utility.ndim < 2 or utility.shape[-2] == 0:
        raise ValueError(f"utility has shape {tuple(utility.shape)}, expected (*batch, prompts, responses)")
    target = positive("target", target, like=base, low=_SMALLEST_TARGET)
    batch = check_broadcast(utility=tuple(utility.shape[:-2]), target=tuple(target.shape))
    xp = array_namespace(base)
    gain = _gain(base, utility)
    best = xp.where(gain == 0, base, xp.full_like(base, -math.inf))
    limit = xp.broadcast_to(xp.mean(-_log_sum_exp(best)[..., 0], axis=-1), batch)
    target = xp.broadcast_to(target, batch)
    temperature = xp.exp(_search(base, gain, target, hopeless=target >= limit))
    kl, _, log_probs = _tilted(base, gain, temperature[..., None])
    kl = xp.mean(kl, axis=-1)
    reachable = (target < limit) & (xp.abs(kl - target) <= _REACHED * target)
    missing = xp.full_like(kl, math.nan)
    log_probs = xp.where(base == -math.inf, base, log_probs)
    return KLMatch(
        temperature=xp.where(reachable, temperature, missing),
        log_probs=xp.where(reachable[..., None, None], log_probs, missing[..., None, None]),
        kl=xp.where(reachable, kl, missing),
        reachable=reachable,
        limit=limit,
    )


def condition_on_goodness(
    base_log_probs: Float[Array, "*#prompts responses"],
    good_log_probs: Float[Array, "*#prompts responses"],
    temperature: Real[Array, "*#prompts"] | float = 1.0,
) -> Float[Array, "*prompts responses"]:
    """What the base policy answers given that the answer is good: its posterior over responses.

    This is what tilting by log p(good) aims at, and why the logarithm of a probability is the utility to optimise.

    Args:
        base_log_probs: Log-probabilities of the base policy, `(*prompts, responses)`; -inf for 0.
        good_log_probs: Log-probability that each response is good, at most 0, `(*prompts, responses)`; -inf for
            responses that are never good.
        temperature: Above 0, as in `tilt`. 1 is Bayes' rule; below, goodness counts as if it were observed
            1 / temperature times.

    Returns:
        Normalised log-probabilities in float64, proportional to base times p(good)^(1 / temperature).

    Raises:
        TypeError, ValueError: As `tilt`; also if a log-probability is above 0, or no response that the base policy
            gives to some prompt can be good.

    Source: Wang et al. 2024 (arXiv 2402.00742), the alignment target.

    Example:
        >>> import numpy as np
        >>> np.exp(condition_on_goodness(np.log([0.5, 0.5]), np.log([0.2, 0.6]))).round(3)
        array([0.25, 0.75])
    """
    base, good = checked_sets(base_log_probs, "good_log_probs", good_log_probs, never=True)
    xp = array_namespace(base)
    temperature = positive("temperature", temperature, like=base)
    check_broadcast(good_log_probs=tuple(good.shape[:-1]), temperature=tuple(temperature.shape))
    possible = xp.where(good == -math.inf, good, base)
    raise_at("good_log_probs", xp.max(possible, axis=-1) == -math.inf, "leaves no response that is both given and good")
    finite = xp.where(good == -math.inf, xp.zeros_like(good), good)
    _, _, log_probs = _tilted(possible, _gain(possible, finite), temperature)
    return xp.where(possible == -math.inf, possible, log_probs)


def _gain(base: Array, utility: Array) -> Array:
    """Utility minus the highest that the base policy ever gets: at most 0, and 0 where it never answers so."""
    xp = array_namespace(base)
    never = base == -math.inf
    best = xp.max(xp.where(never, xp.full_like(utility, -math.inf), utility), axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        return xp.where(never, xp.zeros_like(utility), xp.clip(utility - best, min=-1e300))


def _tilted(base: Array, gain: Array, temperature: Array) -> tuple[Array, Array, Array]:
    """KL and its fall per unit of log temperature for each prompt `(*prompts)`, and log-probabilities of the tilt."""
    xp = array_namespace(base)
    with np.errstate(over="ignore"):
        scaled = xp.clip(gain / temperature[..., None], min=-1e300)  # finite, so that 0 times it is 0
    logits = base + scaled
    normaliser = _log_sum_exp(logits)
    log_probs = logits - normaliser
    probs = xp.exp(log_probs)
    mean = xp.sum(probs * scaled, axis=-1)
    with np.errstate(over="ignore", invalid="ignore"):
        fall = xp.sum(probs * (scaled - mean[..., None]) ** 2, axis=-1)
    return mean - normaliser[..., 0], fall, log_probs


def _search(base: Array, gain: Array, target: Array, *, hopeless: Array) -> Array:
    """Log temperature at which the mean KL is the target, `(*batch)`; any where that is hopeless."""
    xp = array_namespace(base)
    low, high = _bracket(base, gain, target)
    place, previous = high, xp.full_like(high, math.inf)
    for _ in range(_MOST_STEPS):
        kl, fall, _ = _tilted(base, gain, xp.exp(place)[..., None])
        kl, fall = xp.mean(kl, axis=-1), xp.mean(fall, axis=-1)
        settled = (xp.abs(kl - target) <= _SETTLED * target) | (high - low <= 4e-16 * xp.abs(place)) | hopeless
        if bool(xp.all(settled)):
            break
        low, high = xp.where(kl > target, place, low), xp.where(kl < target, place, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            error = xp.log(kl / target)  # almost a straight line in log temperature where the KL is small
            newton = place + error * kl / fall
        usable = (newton > low) & (newton < high) & (xp.abs(error) <= previous / 2)  # halve after a step that crept
        previous = xp.where(usable, xp.abs(error), xp.full_like(error, math.inf))
        place = xp.where(settled, place, xp.where(usable, newton, (low + high) / 2))
    return place


def _bracket(base: Array, gain: Array, target: Array) -> tuple[Array, Array]:
    """Log temperatures between which the mean KL passes the target if it ever does, both `(*batch)`."""
    xp = array_namespace(base)
    loss = -gain
    widest = xp.max(loss, axis=(-2, -1))
    gap = xp.min(xp.where(loss > 0, loss, xp.full_like(loss, math.inf)), axis=(-2, -1))
    rarest = xp.max(xp.where(base == -math.inf, xp.zeros_like(base), -base), axis=(-2, -1))
    some = widest > 0  # otherwise the policy never moves, and any bracket will do
    widest, gap = (xp.where(some, part, xp.ones_like(part)) for part in (widest, gap))
    # KL <= (range / temperature)^2 / 8, as no utility's variance is above range^2 / 4
    high = xp.log(widest) - xp.log(8 * target) / 2
    # here the next best responses weigh exp(-800) of the best: the limit to the last digit
    low = xp.broadcast_to(xp.log(gap) - xp.log(800 + rarest), high.shape)
    return xp.minimum(low, high), xp.maximum(low, high)


def _log_sum_exp(values: Array) -> Array:
    """Log of the sum of exponentials over the last axis, kept as an axis of length 1; some value must be finite."""
    xp = array_namespace(values)
    top = xp.max(values, axis=-1, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(values - top), axis=-1, keepdims=True))
