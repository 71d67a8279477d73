"""The reward of a transition from the logits of discriminators that tell real transitions from generated ones."""

import math

from jaxtyping import Float

from rewardlab.arrays import Array, all_finite, array_namespace, is_floating, to_numpy
from rewardlab.checks import check_array, check_choice, check_finite, check_same_shape, check_scalar

__all__ = [
    "RESCALES",
    "dynamics_reward_of_logit",
    "mean_probability_reward",
    "optimal_discriminator",
    "rescale_logits",
]

RESCALES = ("official", "stored", "none")


def dynamics_reward_of_logit(logits: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Reward of one discriminator, `-log(1 - sigmoid(logit)) = log(1 + exp(logit))`, without overflow or cancellation.

    At the best discriminator this is `log(1 + real / generated)`, densities of the transition in both data.

    Args:
        logits: Of any shape; more means more like the real transitions.

    Returns:
        Rewards of the same shape, above 0, in nats.

    Raises:
        TypeError: If `logits` is no array of floats.
        ValueError: If a logit is NaN or infinite.

    Source: the GAIL reward, arXiv 1606.03476.
    """
    logits = _floats("logits", logits)
    xp = array_namespace(logits)
    return xp.logaddexp(logits, xp.zeros_like(logits))


def rescale_logits(
    logits: Float[Array, "k *batch"],
    low: Float[Array, " k"] | None = None,
    high: Float[Array, " k"] | None = None,
    *,
    rescale: str = "official",
) -> Float[Array, "k *batch"]:
    """Clip each snapshot's logits to its stored range and map that range to a common one around 0.

    A logit of `low[k]` becomes `-width / 2`, one of `high[k]` becomes `width / 2`. The width is 2 with "official", as
    the released scripts force it, whatever is stored: rewards then lie in [0.313, 1.313], the range that a threshold of
    0.6 and a temperature of 0.1 were tuned on. With "stored" it is twice the larger of |max high| and |min low|. Inside
    a snapshot the ends are the stored ones in both cases.

    Args:
        logits: Of K snapshots.
        low: Mean logit on generated transitions when the snapshot was taken.
        high: Mean logit on real transitions then.
        rescale: "official", "stored", or "none" for the logits as they are, without `low` and `high`.

    Raises:
        TypeError: If an argument is no array of floats.
        ValueError: If shapes disagree, a number is not finite, or a snapshot has `high <= low`: it ranks generated
            transitions above real ones, and has no range to rescale. Names the snapshot.

    Source: step 4 of the method, as in the official code, which adds 1e-7 to `high - low` where this checks it.
    """
    check_choice("rescale", rescale, RESCALES)
    logits = _floats("logits", logits)
    if logits.ndim == 0:
        raise ValueError("logits has shape (), expected (K, ...), one entry a snapshot")
    if rescale == "none":
        return logits
    low, high = _check_range(logits, low, high)
    width = 2.0
    if rescale == "stored":
        width = 2 * max(abs(float(to_numpy(high).max())), abs(float(to_numpy(low).min())))
    xp = array_namespace(logits)
    low, high = (xp.reshape(end, (-1,) + (1,) * (logits.ndim - 1)) for end in (low, high))
    return (xp.clip(logits, low, high) - low) * (width / (high - low)) - width / 2


def mean_probability_reward(
    logits: Float[Array, "k *batch"],
    low: Float[Array, " k"] | None = None,
    high: Float[Array, " k"] | None = None,
    *,
    rescale: str = "official",
    probability_clip: float = 1.0,
    epsilon: float = 0.0,
) -> Float[Array, "*batch"]:
    """Reward of K snapshots, `-log(1 - mean_k probability_k)`: never below that of the least convinced snapshot.

    The mean of `1 - probability` is taken of `sigmoid(-logit)`, in logarithms: a probability of 1 - 1e-12 counts, which
    `1 - mean(sigmoid(logit))` would round away. The reward grows with every logit, and is at most the mean of the
    snapshots' own rewards (Jensen).

    Args:
        logits: Of K snapshots.
        low: See `rescale_logits`; needed unless `rescale="none"`.
        high: Likewise.
        rescale: "official", "stored" or "none".
        probability_clip: Largest probability that a snapshot may give, in (0, 1]; 1 for no clip.
        epsilon: Added to the mean of `1 - probability`, so that the reward is at most `-log(epsilon)`. The official
            code has 1e-9; 0 hides nothing.

    Returns:
        Rewards, in nats. With the official rescale they lie in [0.31326, 1.31326].

    Raises:
        TypeError: If an argument is no array of floats, or a number is no number.
        ValueError: As `rescale_logits`; or if `probability_clip` or `epsilon` is out of range.

    Source: step 4 of the method; the official code computes it from the probabilities.
    """
    check_scalar("probability_clip", probability_clip, low=0, high=1, open_low=True)
    check_scalar("epsilon", epsilon, low=0, high=1)
    logits = rescale_logits(logits, low, high, rescale=rescale)
    xp = array_namespace(logits)
    doubt = -xp.logaddexp(logits, xp.zeros_like(logits))  # log(1 - probability)
    if probability_clip < 1:
        doubt = xp.clip(doubt, math.log1p(-probability_clip), None)
    highest = xp.max(doubt, axis=0)
    total = highest + xp.log(xp.mean(xp.exp(doubt - highest[None]), axis=0))
    if epsilon:
        total = xp.logaddexp(total, xp.full_like(total, math.log(epsilon)))
    return -total


def optimal_discriminator(real: Float[Array, "*batch"], generated: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Probability that the best discriminator gives: `real / (real + generated)`.

    Args:
        real: Density of the transition in the data, given the same distribution of (observation, action) in both.
        generated: Its density under the generator.

    Raises:
        TypeError: If an argument is no array of floats.
        ValueError: If shapes differ, a density is negative or not finite, or both are 0 at a place (named).
    """
    real, generated = _floats("real", real), _floats("generated", generated)
    check_same_shape("real", real, "generated", generated)
    for name, density in (("real", real), ("generated", generated)):
        if bool((density < 0).any()):
            raise ValueError(
                f"{name} is {float(to_numpy(density).min())} at its least, expected densities of 0 or more"
            )
    total = real + generated
    if bool((total == 0).any()):
        raise ValueError("real and generated are both 0 at a place, expected one density above 0 everywhere")
    return real / total


def _floats(name: str, value: Array) -> Array:
    if not is_floating(check_array(name, value)):
        raise TypeError(f"{name} has dtype {value.dtype}, expected floats")
    return value if all_finite(value) else check_finite(name, value)


def _check_range(logits: Array, low: Array, high: Array) -> tuple[Array, Array]:
    for name, end in (("low", low), ("high", high)):
        if end is None:
            raise ValueError(f"{name} is None, expected one number a snapshot, or rescale='none'")
        if tuple(_floats(name, end).shape) != (len(logits),):
            raise ValueError(f"{name} has shape {tuple(end.shape)}, expected {(len(logits),)}, one number a snapshot")
    wrong = to_numpy(high <= low)
    if wrong.any():
        place = int(wrong.argmax())
        raise ValueError(
            f"high[{place}] is {float(high[place]):.6g} and low[{place}] {float(low[place]):.6g}, expected high > low: "
            f"this snapshot ranks generated transitions above real ones; leave it out"
        )
    return low, high
