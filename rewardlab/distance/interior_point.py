"""Potentials of least absolute and of least maximal shaped reward, by primal-dual interior points, batched.

Both are linear programs with as many constraints as the reward table has entries but only S unknowns, so a Newton step
costs a few passes over the table and one S x S solve. Every iterate is feasible for the program and for its dual,
which makes the gap between them a bound on the error. Steps are Mehrotra's predictor and corrector.
"""

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.distance.shaping_design import ShapingDesign, solve_positive

__all__ = ["least_absolute_potential", "least_maximum_potential"]

_GAP = 1e-11  # relative gap at which a potential is accepted
_LOOSE_GAP = 1e-8  # gap that is still accepted where rounding stops the steps: a solver's usual tolerance
_NOTHING = 1e-9  # of the reward: a shaped reward this small is rounding, and its potential is as good as any
_ROUNDING = 1e-13  # of the reward: gaps below cannot be closed
_MOST_STEPS = 60
_REACH = 0.9995  # share of the way to the boundary that a step may go
_TABLE = (-3, -2, -1)

Potential = Float[Array, "*#batch s"]
Table = Float[Array, "*#batch s a s"]


def least_absolute_potential(design: ShapingDesign, target: Table, start: Potential) -> Potential:
    """The potential that makes the sum of absolute entries of `target + X potential` least.

    Args:
        design: The map X.
        target: Weighted reward `(*batch, S, A, S)`.
        start: A potential near the solution `(*batch, S)`, the least-squares one for example.

    Returns:
        The potential `(*batch, S)`; the analytic centre of the best ones where several are best.

    Raises:
        RuntimeError: If the gap does not close to 1e-8.
    """
    xp = array_namespace(target)
    potential, residual = start, target + design.shaping(start)
    size = xp.sum(xp.abs(target), axis=_TABLE)
    reached = xp.sum(xp.abs(residual), axis=_TABLE)
    settled = reached <= _NOTHING * size
    # the dual variable lies in [-1, 1]: its room to both bounds, and their multipliers; over - under is the residual
    over_room, under_room = xp.ones_like(residual), xp.ones_like(residual)
    over = xp.maximum(residual, xp.zeros_like(residual)) + _positive(0.1 * xp.max(xp.abs(residual), axis=_TABLE))
    under = over - residual
    entries = 2 * residual.shape[-1] ** 2 * residual.shape[-2]
    for _ in range(_MOST_STEPS):
        gap = xp.sum(over * over_room + under * under_room, axis=_TABLE)
        reached = xp.sum(xp.abs(over - under), axis=_TABLE)
        done = settled | (gap <= _GAP * reached + _ROUNDING * size)
        if bool(xp.all(done)):
            break
        below, above = 1 / over_room, 1 / under_room
        scale = 1 / (over * below + under * above)
        matrix = design.normal_matrix(scale)
        drift = design.transposed((under_room - over_room) / 2)  # 0 but for rounding, which must not build up

        def direction(pull, scale=scale, matrix=matrix, drift=drift):
            move = solve_positive(matrix, -design.transposed(scale * pull) - drift)
            return move, scale * (design.shaping(move) + pull)

        _, change = direction(over - under)
        toward_over, toward_under = change * below, -change * above  # share of each bound's room that is used up
        step = _longest(xp.maximum(toward_over, toward_under))
        multiplier_step = _longest(1 - xp.minimum(toward_over, toward_under))
        predicted = xp.sum(
            over * over_room * (1 - multiplier_step * (1 - toward_over)) * (1 - step * toward_over)
            + under * under_room * (1 - multiplier_step * (1 - toward_under)) * (1 - step * toward_under),
            axis=_TABLE,
        )
        centre = _expand(_centring(predicted, gap, entries))
        over_pull = centre * below - over * (1 + (1 - toward_over) * toward_over)
        under_pull = centre * above - under * (1 + (1 - toward_under) * toward_under)
        move, change = direction(under_pull - over_pull)
        toward_over, toward_under = change * below, -change * above
        over_change, under_change = over_pull + over * toward_over, under_pull + under * toward_under
        step = _frozen(done, _REACH * _longest(xp.maximum(toward_over, toward_under)))
        multiplier_step = _frozen(done, _REACH * _longest(-xp.minimum(over_change / over, under_change / under)))
        over_room, under_room = over_room - step * change, under_room + step * change
        over, under = over + multiplier_step * over_change, under + multiplier_step * under_change
        potential = potential + multiplier_step[..., 0, 0] * move
    _check_closed(settled, gap, reached, size)
    return potential


def least_maximum_potential(design: ShapingDesign, target: Table, start: Potential) -> Potential:
    """The potential that makes the largest absolute entry of `target + X potential` least.

    Args, Returns, Raises: as `least_absolute_potential`.
    """
    xp = array_namespace(target)
    potential, residual = start, target + design.shaping(start)
    size, largest = xp.max(xp.abs(target), axis=_TABLE), xp.max(xp.abs(residual), axis=_TABLE)
    settled = largest <= _NOTHING * size
    bound = _positive(1.1 * largest)
    over_room, under_room = bound - residual, bound + residual  # how far each entry is from the bound, on both sides
    entries = 2 * residual.shape[-1] ** 2 * residual.shape[-2]
    over, under = xp.full_like(residual, 1 / entries), xp.full_like(residual, 1 / entries)
    for _ in range(_MOST_STEPS):
        gap = xp.sum(over * over_room + under * under_room, axis=_TABLE)
        done = settled | (gap <= _GAP * bound[..., 0, 0, 0] + _ROUNDING * size)
        if bool(xp.all(done)):
            break
        over_scale, under_scale = over / over_room, under / under_room
        total, difference = over_scale + under_scale, over_scale - under_scale
        matrix = _bordered(design.normal_matrix(total), design.transposed(difference), xp.sum(total, axis=_TABLE))
        drift = design.transposed(over - under), xp.sum(over + under, axis=_TABLE) - 1  # 0 but for rounding

        def direction(over_pull, under_pull, matrix=matrix, drift=drift):
            right = -design.transposed(over_pull - under_pull) - drift[0]
            level = -xp.sum(over_pull + under_pull, axis=_TABLE) - drift[1]
            solution = solve_positive(matrix, xp.concat([right, level[..., None]], axis=-1))
            move, raised = solution[..., :-1], -_expand(solution[..., -1])
            shift = design.shaping(move)
            return move, raised, raised - shift, raised + shift

        _, _, over_widens, under_widens = direction(-over, -under)
        over_change, under_change = -over - over_scale * over_widens, -under - under_scale * under_widens
        step = _longest(-xp.minimum(over_widens / over_room, under_widens / under_room))
        multiplier_step = _longest(-xp.minimum(over_change / over, under_change / under))
        predicted = xp.sum(
            (over + multiplier_step * over_change) * (over_room + step * over_widens)
            + (under + multiplier_step * under_change) * (under_room + step * under_widens),
            axis=_TABLE,
        )
        centre = _expand(_centring(predicted, gap, entries))
        over_pull = (centre - over_change * over_widens) / over_room - over
        under_pull = (centre - under_change * under_widens) / under_room - under
        move, raised, over_widens, under_widens = direction(over_pull, under_pull)
        over_change, under_change = over_pull - over_scale * over_widens, under_pull - under_scale * under_widens
        step = _frozen(done, _REACH * _longest(-xp.minimum(over_widens / over_room, under_widens / under_room)))
        multiplier_step = _frozen(done, _REACH * _longest(-xp.minimum(over_change / over, under_change / under)))
        over, under = over + multiplier_step * over_change, under + multiplier_step * under_change
        over_room, under_room = over_room + step * over_widens, under_room + step * under_widens
        bound = bound + step * raised
        potential = potential + step[..., 0, 0] * move
    _check_closed(settled, gap, bound[..., 0, 0, 0], size)
    return potential


def _bordered(matrix: Array, border: Array, corner: Array) -> Array:
    """The matrix with one more row and column."""
    xp = array_namespace(matrix)
    top = xp.concat([matrix, border[..., :, None]], axis=-1)
    bottom = xp.concat([border, corner[..., None]], axis=-1)
    return xp.concat([top, bottom[..., None, :]], axis=-2)


def _longest(use: Table) -> Float[Array, "*batch 1 1 1"]:
    """Largest step in (0, 1] that uses up no entry's room, given the share of it that a full step would use."""
    xp = array_namespace(use)
    most = xp.max(use, axis=_TABLE, keepdims=True)
    return 1 / xp.maximum(most, xp.ones_like(most))


def _centring(predicted: Array, gap: Array, entries: int) -> Array:
    """Complementarity to aim at: the further the predictor got, the less of the present one (Mehrotra's cube)."""
    return (predicted / gap) ** 3 * gap / entries


def _frozen(done: Array, step: Array) -> Array:
    """The step, 0 for batch elements that are done."""
    xp = array_namespace(step)
    return xp.where(_expand(done), xp.zeros_like(step), step)


def _positive(value: Array) -> Array:
    """A positive number for each batch element, ready to add to a table."""
    xp = array_namespace(value)
    return _expand(xp.where(value > 0, value, xp.ones_like(value)))


def _expand(value: Array) -> Array:
    return value[..., None, None, None]


def _check_closed(settled: Array, gap: Array, reached: Array, size: Array) -> None:
    xp = array_namespace(gap)
    allowed = _LOOSE_GAP * reached + 100 * _ROUNDING * size
    worst = float(xp.max(xp.where(settled, xp.zeros_like(gap), gap - allowed)))
    if not worst <= 0:
        raise RuntimeError(f"the linear program of the potential stopped {worst:.2g} short of its dual")
