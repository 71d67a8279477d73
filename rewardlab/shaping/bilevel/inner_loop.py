"""Training a softmax policy exactly: gradient ascent step by step, and the stationary point that a penalty leads to."""

from typing import Any

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_scalar
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.shaping.bilevel.policy_parameters import Logits, checked_point
from rewardlab.shaping.bilevel.policy_point import PolicyPoint

__all__ = ["checked_start", "gradient_ascent", "stationary_logits"]

_MOST_STEPS, _HALVINGS = 200, 40  # of Newton's method, and of one of its steps that does not go up
_ROUNDING = 1e-9  # a slope that no step makes smaller


def gradient_ascent(
    mdp: FiniteMDP,
    reward: Reward,
    *,
    steps: int,
    learning_rate: float,
    start: Logits | None = None,
    discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
) -> Float[Array, "*batch s a"]:
    """Logits after a number of steps of plain gradient ascent on `regularised_return`.

    Args:
        mdp: World.
        reward: `(*batch, S, A, S)` or `(*batch, S, A)`.
        steps: How many, at least 0.
        learning_rate: What the gradient is multiplied with, above 0.
        start: Logits to start from, `(*batch, S, A)`; the uniform policy's, all 0, by default.
        discount: As for `regularised_return`.
        temperature: Likewise.
        penalty: Likewise.

    Returns:
        `(*batch, S, A)`.

    Raises:
        TypeError, ValueError: As `regularised_return`.
    """
    check_scalar("steps", steps, low=0, whole=True)
    check_scalar("learning_rate", learning_rate, low=0, open_low=True)
    options = {"discount": discount, "temperature": temperature, "penalty": penalty}
    point = checked_start(mdp, reward, start, **options)
    for _ in range(steps):
        point = point.at(point.logits + learning_rate * point.gradient())
    return point.logits


def stationary_logits(
    mdp: FiniteMDP,
    reward: Reward,
    *,
    penalty: float,
    start: Logits | None = None,
    discount: Any = None,
    temperature: float = 0.0,
    tolerance: float = 1e-12,
) -> Float[Array, "*batch s a"]:
    """Logits at which `regularised_return` with a penalty on their squared norm has a local maximum.

    Newton's method on the exact Hessian, with negative eigenvalues turned and steps halved until they go up. There may
    be several maxima: from near one it finds that one, from afar any that is higher than `start`. Without penalty there
    is none at finite logits, or, with a temperature, one in closed form: `solve_inner`.

    Args:
        mdp: World.
        reward: `(*batch, S, A, S)` or `(*batch, S, A)`.
        penalty: Above 0.
        start: Logits to start from, `(*batch, S, A)`; all 0 by default.
        discount: As for `regularised_return`.
        temperature: Likewise.
        tolerance: Largest entry of the gradient to stop at, in units of return.

    Returns:
        `(*batch, S, A)`; they sum to 0 over the actions of a state.

    Raises:
        TypeError, ValueError: As `regularised_return`.
        RuntimeError: If 200 steps do not bring the gradient below 1e-9 and below `tolerance`.
    """
    check_scalar("penalty", penalty, low=0, open_low=True)
    check_scalar("tolerance", tolerance, low=0, open_low=True)
    point = checked_start(mdp, reward, start, discount=discount, temperature=temperature, penalty=penalty)
    xp = array_namespace(point.logits)
    for _ in range(_MOST_STEPS):
        slope = xp.max(xp.abs(point.gradient()), axis=(-2, -1))
        if bool(xp.all(slope <= tolerance)):
            return point.logits
        before, point = point, _newton_step(point)
        if bool(xp.all(point.logits == before.logits)):
            break
    if bool(xp.all(slope <= max(tolerance, _ROUNDING))):
        return point.logits
    raise RuntimeError(f"the gradient is still {float(xp.max(slope)):.2g} after {_MOST_STEPS} Newton steps")


def _newton_step(point: PolicyPoint) -> PolicyPoint:
    """One step uphill in every world of the batch, as far as halving it helps; worlds that no step helps stay."""
    xp = array_namespace(point.logits)
    gradient = point.gradient()
    sizes, vectors = xp.linalg.eigh(-point.hessian())
    turned = xp.matmul(xp.matrix_transpose(vectors), xp.reshape(gradient, (*gradient.shape[:-2], -1, 1)))
    along = turned / xp.maximum(xp.abs(sizes), xp.full_like(sizes, point.penalty / 10))[..., None]
    direction = xp.reshape(xp.matmul(vectors, along), gradient.shape)
    promised = xp.sum(gradient * direction, axis=(-2, -1))
    rounding = 1e-13 * (1 + xp.abs(point.regularised_return))
    length = xp.ones_like(promised)
    for _ in range(_HALVINGS):
        tried = point.at(point.logits + length[..., None, None] * direction)
        gain = tried.regularised_return - point.regularised_return
        flatter = _steepest(tried.gradient()) < _steepest(gradient)  # settles it where gains drown in rounding
        bad = (gain < 1e-4 * length * promised) & ~((gain >= -rounding) & flatter)
        if not bool(xp.any(bad)):
            return tried
        length = xp.where(bad, length / 2, length)
    return point.at(point.logits + xp.where(bad, xp.zeros_like(length), length)[..., None, None] * direction)


def _steepest(gradient: Array) -> Array:
    xp = array_namespace(gradient)
    return xp.max(xp.abs(gradient), axis=(-2, -1))


def checked_start(
    mdp: FiniteMDP,
    reward: Reward,
    start: Logits | None,
    *,
    discount: Any,
    temperature: float,
    penalty: float,
    names: tuple[str, str, str] = ("reward", "discount", "start"),
) -> PolicyPoint:
    """Where training starts, evaluated, with the batch of all arguments; `names` are the caller's.

    Raises:
        TypeError, ValueError: As `regularised_return`.
    """
    if start is None:
        start = array_namespace(mdp.transition).zeros_like(mdp.transition[..., 0])
    options = {"discount": discount, "temperature": temperature, "penalty": penalty}
    point = checked_point(mdp, reward, start, **options, names=names)
    return point.at(array_namespace(start).broadcast_to(point.logits, point.advantages.shape))
