"""How much nearer did each turn bring the agent to the answer, in its own eyes? Turn rewards without a reward model.

After every turn (a thought, a tool call and its result) the policy is asked how probable it finds the known answer;
the rise since the turn before is that turn's reward. The rises of a rollout add up to the last likelihood less the
first, however many turns it took: no number of turns earns more than 1.
"""

import math
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Num

from rewardlab.arrays import Array, array_namespace, as_float64, is_torch, to_numpy
from rewardlab.checks import check_array, check_choice
from rewardlab.process.padded_steps import checked_step_mask
from rewardlab.transforms.groups import in_dtype_of

__all__ = ["GainKind", "answer_likelihood", "information_gain"]

GainKind = Literal["probability", "log_probability"]

LOG_SOFTMAX_ROUNDING = 1e-2  # half precision leaves a log-probability of nearly 0 this much too high


def answer_likelihood(
    log_probs: Float[Array, "*batch states tokens"], mask: Bool[Array, "*batch states tokens"] | None = None
) -> Float[Array, "*batch states"]:
    """Geometric mean of the probabilities that a policy gives the tokens of the known answer.

    Per token, so that a long answer is not less likely for its length. That mean hides a single wrong token: nine
    digits of ten at probability 1 and one at .001 still make .5.

    A likelihood is a reward: where `log_probs` carries a gradient, the result does not.

    Args:
        log_probs: Log-probability of each token of the answer, teacher-forced after the question (first) and after
            each turn, (*batch, turns + 1, tokens); at most 0, and -inf where the policy rules the token out. What
            stands between transcript and answer (the end of the thought, the tag that opens the answer) is not part
            of it.
        mask: True at the tokens of the answer; None where all are. A state without any is no state: the padding after
            the last turn of a short rollout.

    Returns:
        Likelihoods in [0, 1], of the dtype of `log_probs`; NaN where the mask leaves no token, which
        `information_gain` takes in the padding alone.

    Raises:
        TypeError: If the mask is not boolean or of another library.
        ValueError: If a log-probability is NaN or above 0 (beyond the rounding of half precision), or shapes disagree.

    Source: IGPO (arXiv 2510.14967), after its released code; the paper's own equations were not at hand. That code
        takes the first of several reference answers.

    Example:
        >>> import numpy as np
        >>> answer_likelihood(np.log(np.array([[0.1, 0.4], [0.9, 0.4]])))  # before and after one turn
        array([0.2, 0.6])
    """
    if check_array("log_probs", log_probs).ndim < 2:
        raise ValueError(f"log_probs has shape {tuple(log_probs.shape)}, expected (*batch, turns + 1, tokens)")
    values = as_float64(log_probs.detach() if is_torch(log_probs) else log_probs)
    xp = array_namespace(values)
    mask = xp.ones_like(values, dtype=xp.bool) if mask is None else _checked_token_mask(mask, values)
    wrong = mask & ~(values <= LOG_SOFTMAX_ROUNDING)  # NaN compares false
    if bool(xp.any(wrong)):
        place = _first(wrong)
        raise ValueError(
            f"log_probs{place} is {float(values[tuple(place)]):g}, expected a log-probability of at most 0"
        )
    values = xp.where(mask, xp.minimum(values, xp.zeros_like(values)), xp.zeros_like(values))
    tokens = xp.sum(xp.astype(mask, xp.float64), axis=-1)
    likelihoods = xp.exp(xp.sum(values, axis=-1) / xp.where(tokens > 0, tokens, xp.ones_like(tokens)))
    return in_dtype_of(xp.where(tokens > 0, likelihoods, xp.full_like(likelihoods, math.nan)), log_probs)


def information_gain(
    likelihoods: Num[Array, "*batch states"],
    mask: Bool[Array, "*batch turns"] | None = None,
    *,
    kind: GainKind = "probability",
) -> Float[Array, "*batch turns"]:
    """How much each turn raised the likelihood of the answer.

    Args:
        likelihoods: Likelihood of the answer before the first turn and after each, (*batch, turns + 1), in [0, 1];
            see `answer_likelihood`.
        mask: True where there is a turn, the turns first; None where all are turns. What `likelihoods` holds after
            the last turn is ignored.
        kind: `probability`: the difference, in [-1, 1]; the paper's main form. `log_probability`: the difference of
            logarithms, in nats and unbounded: from 1 down to 1e-8 it is -18. The released script's setting.

    Returns:
        Gains (*batch, turns) of the float dtype of `likelihoods`, 0 in the padding. Over a rollout they add up to the
        last likelihood (or its logarithm) less the first.

    Raises:
        TypeError: If the mask is not boolean or of another library.
        ValueError: If there is no likelihood before the first turn, one is NaN or outside [0, 1], or 0 with
            `log_probability`, or shapes disagree. A missing gain is never 0.

    Source: IGPO (arXiv 2510.14967), after its released code.

    Example:
        >>> import numpy as np
        >>> likelihoods = np.array([0.05, 0.1, 0.4, 0.35, 0.9])
        >>> information_gain(likelihoods).round(2)
        array([ 0.05,  0.3 , -0.05,  0.55])
        >>> information_gain(likelihoods, kind="log_probability").round(3)
        array([ 0.693,  1.386, -0.134,  0.944])
    """
    check_choice("kind", kind, get_args(GainKind))
    if check_array("likelihoods", likelihoods).ndim < 1 or not likelihoods.shape[-1]:
        raise ValueError(
            f"likelihoods has shape {tuple(likelihoods.shape)}, expected (*batch, turns + 1): the first is that "
            f"before any turn"
        )
    values = as_float64(likelihoods)
    xp = array_namespace(values)
    turns = values[..., 1:]
    mask = checked_step_mask(mask, turns, name="gains")
    present = xp.ones_like(values, dtype=xp.bool)
    if mask is not None:
        present[..., 1:] = mask
    values = xp.where(present, values, xp.ones_like(values))
    wrong = ~((values >= 0) & (values <= 1)) if kind == "probability" else ~((values > 0) & (values <= 1))
    if bool(xp.any(wrong)):
        place, interval = _first(wrong), "[0, 1]" if kind == "probability" else "(0, 1]: its logarithm is the reward"
        found = float(values[tuple(place)])
        raise ValueError(f"likelihoods{place} is {found:g}, expected a number in {interval}; mask what is padding")
    if kind == "log_probability":
        values = xp.log(values)
    gains = values[..., 1:] - values[..., :-1]
    return in_dtype_of(xp.where(present[..., 1:], gains, xp.zeros_like(gains)), likelihoods)


def _checked_token_mask(mask: Array, values: Array) -> Array:
    xp = array_namespace(values)
    if check_array("mask", mask).dtype != xp.bool or array_namespace(mask) is not xp:
        raise TypeError(f"mask is a {type(mask).__name__} of {mask.dtype}, expected booleans like log_probs' library")
    if tuple(mask.shape) != tuple(values.shape):
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected that of log_probs {tuple(values.shape)}")
    return mask


def _first(wrong: Array) -> list[int]:
    return np.argwhere(to_numpy(wrong))[0].tolist()
