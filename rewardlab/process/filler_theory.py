"""Does padding pay? Closed forms of what a learner does with filler steps once it has solved the problem.

One state: the problem is solved, and the learner, blind to the time left, ANSWERs (right, and the episode ends) or
FILLs: a step that says nothing and that the process reward model likes. What a filler step risks is that the episode is
cut: by a hazard, or by a deadline.

- Raw process reward: filling pays above `filler_threshold`.
- Delta, with reward-to-go as credit: some filler remains, `filler_equilibrium`.
- Clip: a filler step at or above the threshold earns nothing, but every weak step costs, and the learner `gives_up`.
- Clip-Delta: a filler step's credit is at most 0, which `filler_equilibrium` turns into no filler at any weight.
"""

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import device
from jaxtyping import Bool, Float, Real

from rewardlab.arrays import Array, array_namespace, as_float64, is_array
from rewardlab.checks import check_array, check_broadcast, check_finite, check_scalar

__all__ = ["FillerEquilibrium", "filler_equilibrium", "filler_threshold", "gives_up"]

_HALVINGS = 60  # of an interval of length 1: to rounding
_NEVER = 1e-300  # a chance whose inverse is on the way to infinity


class FillerEquilibrium(NamedTuple):
    """Where reward-to-go gradients come to rest in the solved state.

    Args:
        answer_probability: Chance of answering rather than filling at each step, in [0, 1].
        success: Chance of answering before the episode is cut, in [0, 1].
        filler_steps: Expected filler steps before the answer or the cut.
    """

    answer_probability: Float[Array, "*shape"]
    success: Float[Array, "*shape"]
    filler_steps: Float[Array, "*shape"]


def filler_threshold(*, filler_score: float, answer_score: float, hazard: float) -> float:
    """Weight of the raw process reward above which padding a solved problem pays more than answering.

    Answering earns 1 + weight x answer score. Filling for ever earns weight x filler score / hazard. Where both are
    equal, so is every mixture of the two.

    Args:
        filler_score: What the process reward model gives a filler step, in [0, 1].
        answer_score: What it gives the right answer, in [0, 1].
        hazard: Chance that the episode is cut right after a filler step, in [0, 1].

    Returns:
        The threshold, at least 0: answering is optimal at it and below. 0 without a hazard, where endless filler earns
        without bound; infinity where filler never pays.

    Raises:
        TypeError, ValueError: If a number is outside [0, 1].

    Source: derived here, for the process reward of Gao et al. 2024 (arXiv 2410.15115).

    Example:
        >>> round(filler_threshold(filler_score=0.9, answer_score=0.9, hazard=1 / 12), 5)
        0.10101
    """
    for name, value in (("filler_score", filler_score), ("answer_score", answer_score), ("hazard", hazard)):
        check_scalar(name, value, low=0.0, high=1.0)
    if filler_score <= hazard * answer_score:
        return math.inf
    return hazard / (filler_score - hazard * answer_score)


def filler_equilibrium(
    credit: float | Real[Array, "*shape"],
    *,
    hazard: float | None = None,
    steps: int | None = None,
    paid_when_cut: bool = False,
) -> FillerEquilibrium:
    """How much filler remains in the solved state when each step is trained with its own reward-to-go.

    Under Delta the reward-to-go of a filler step is weight x its score + success, whatever follows: it is paid for the
    step before which it stands. The learner mixes until what filler earns is what it risks. With a hazard it does not
    fill at all up to a certain credit; before a deadline that it cannot see, it always fills a little.

    Args:
        credit: What a filler step earns more than the answer, apart from success; any shape. Delta: weight x filler
            score. Clip-Delta: weight x min(filler score - threshold, 0), which is never above 0. With
            `last_step="keep"` answers are paid too: weight x (filler score - answer score), paid when cut.
        hazard: Chance in [0, 1) that the episode is cut right after a filler step. Give this or `steps`.
        steps: Decisions left until the deadline, at least 1: the episode is cut after that many filler steps. For a
            chain: its horizon less the steps needed to solve it, the answer not counted. Of 12 steps, 3 of which solve,
            9 are left.
        paid_when_cut: Whether the filler step after which the episode is cut earns its credit. By default it does not:
            it is the episode's last step, whose credit `refine` drops.

    Returns:
        The resting point, each part of the shape of `credit`, float64. Without hazard and deadline any positive credit
        is filler for ever: success 0, infinitely many steps.

    Raises:
        TypeError, ValueError: If the credit is not finite, or not exactly one of `hazard` and `steps` is given and in
            range.

    Source: derived here, for Delta and Clip-Delta of Gao et al. 2024 (arXiv 2410.15115).

    Example:
        >>> found = filler_equilibrium(0.2 * 0.9, hazard=1 / 12, paid_when_cut=True)
        >>> f"{found.answer_probability:.3f} {found.success:.3f}"
        '0.414 0.895'
        >>> found = filler_equilibrium(0.3 * 0.9, steps=12 - 3)  # a horizon of 12, solved in 3
        >>> f"{found.filler_steps:.2f} {found.success:.3f}"
        '2.90 0.916'
    """
    if (hazard is None) == (steps is None):
        raise ValueError("give either hazard or steps: what else cuts a filler step short?")
    credit = _as_array("credit", credit)
    paid = 1.0 if paid_when_cut else 0.0
    if steps is None:
        # a number just below 1 is a hazard, 1 itself leaves nothing to mix
        check_scalar("hazard", hazard, low=0.0, high=math.nextafter(1.0, 0.0))
        return _under_hazard((1 - hazard + hazard * paid) * credit, hazard)
    check_scalar("steps", steps, low=1, whole=True)
    return _before_deadline(credit, paid * credit, steps)


def gives_up(
    weight: float | Real[Array, "..."],
    *,
    success: float | Real[Array, "..."],
    penalty: float | Real[Array, "..."],
    success_at_once: float | Real[Array, "..."] = 0.0,
    penalty_at_once: float | Real[Array, "..."],
) -> Bool[Array, "..."]:
    """Whether answering at once, and failing, returns more under Clip than carrying a plan through.

    Clip only ever costs: a plan of many steps collects many penalties, its success is one.

    Args:
        weight: Weight of the process reward, at least 0.
        success: Chance that the plan succeeds.
        penalty: What Clip is expected to take from the plan, the sum of max(threshold - score, 0) over its steps: a
            number of at least 0. For a policy in a `StepWorld` it is `-expected_rewards(world, clip, policy)`, and its
            success `evaluate_policy(world, policy).success`.
        success_at_once: Chance that an answer given at once is right.
        penalty_at_once: What Clip takes from that answer, at least 0.

    Returns:
        True where giving up returns strictly more; of the shape that the arguments broadcast to.

    Raises:
        TypeError: If something is no number or array, or arrays are of several libraries.
        ValueError: If a chance is outside [0, 1], a weight or penalty is negative, something is not finite, or shapes
            do not broadcast.

    Source: derived here, for Clip of Gao et al. 2024 (arXiv 2410.15115).

    Example:
        >>> bool(gives_up(0.1, success=0.05, penalty=2.0, penalty_at_once=0.6))  # .14 less penalty for .05 of success
        True
        >>> bool(gives_up(0.1, success=0.95, penalty=2.0, penalty_at_once=0.6))
        False
    """
    values = {
        "weight": weight,
        "success": success,
        "penalty": penalty,
        "success_at_once": success_at_once,
        "penalty_at_once": penalty_at_once,
    }
    arrays = [value for value in values.values() if is_array(value)]
    like = arrays[0] if arrays else np.zeros(())
    for name, value in values.items():
        values[name] = _in_range(name, _as_array(name, value, like=like), 1.0 if "success" in name else math.inf)
    check_broadcast(**{name: tuple(value.shape) for name, value in values.items()})
    saved = values["weight"] * (values["penalty"] - values["penalty_at_once"])
    return saved > values["success"] - values["success_at_once"]


def _under_hazard(credit: Array, hazard: float) -> FillerEquilibrium:
    """At rest, answering (1) and filling (credit + (1 - hazard) x success) are worth the same."""
    xp = array_namespace(credit)
    fills, stops = credit > hazard, credit >= 1
    inside = xp.where(fills & ~stops, credit, 0.5 * xp.ones_like(credit))  # keeps the branch not taken free of 0 / 0
    answer = xp.where(fills, hazard * (1 - inside) / ((1 - hazard) * inside), xp.ones_like(credit))
    success = xp.where(fills, (1 - inside) / (1 - hazard), xp.ones_like(credit))
    answer, success = (xp.where(stops, xp.zeros_like(credit), part) for part in (answer, success))
    if not hazard:  # filling costs nothing but time, of which there is no end
        success = xp.where(fills, xp.zeros_like(credit), success)
    leaves = answer + (1 - answer) * hazard
    endless = leaves < _NEVER
    filler = xp.where(endless, math.inf, (1 - answer) / xp.where(endless, xp.ones_like(leaves), leaves))
    return FillerEquilibrium(answer, success, filler)


def _before_deadline(credit: Array, credit_when_cut: Array, steps: int) -> FillerEquilibrium:
    """At rest, the visits to the state, weighted by what filling gains at each, sum to 0.

    With y the chance of filling, decision j of n is reached with chance y^j, and filling there gains its credit less
    the chance y^(n-1-j) of never answering. Divided by y^(n-1), the sum falls as y grows: one root at most.
    """
    xp = array_namespace(credit)
    decisions = xp.arange(steps, dtype=credit.dtype, device=device(credit))

    def fills_more(y):
        powers = y[..., None] ** decisions
        return credit * xp.sum(powers[..., :-1], axis=-1) + (credit_when_cut - steps) * powers[..., -1] > 0

    low, high = xp.zeros_like(credit), xp.ones_like(credit)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        up = fills_more(middle)
        low, high = xp.where(up, middle, low), xp.where(up, high, middle)
    fill = xp.where(fills_more(xp.zeros_like(credit)), (low + high) / 2, xp.zeros_like(credit))
    reached = fill[..., None] ** (1 + decisions)
    return FillerEquilibrium(1 - fill, 1 - fill**steps, xp.sum(reached, axis=-1))


def _as_array(name: str, value: object, *, like: Array | None = None) -> Array:
    """Finite float64; a number becomes an array of the library and on the device of `like`, by default of NumPy."""
    if not is_array(value):
        like = np.zeros(()) if like is None else like
        number = float(check_scalar(name, value))
        value = array_namespace(like).asarray(number, dtype=array_namespace(like).float64, device=device(like))
    return check_finite(name, as_float64(check_array(name, value)))


def _in_range(name: str, values: Array, high: float) -> Array:
    xp = array_namespace(values)
    outside = (values < 0) | (values > high)
    if bool(xp.any(outside)):
        expected = f"[0, {high:g}{')' if high == math.inf else ']'}"
        raise ValueError(f"{name} is {float(values[outside][0]):g}, expected a number in {expected}")
    return values
