"""Do two rewards want the same thing? Yes, or a witness: policies about which they disagree."""

import math
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from rewardlab.arrays import Array, array_namespace, to_numpy
from rewardlab.checks import check_scalar
from rewardlab.distance.starc import TRIVIAL
from rewardlab.exact.evaluation import expected_next, occupancy, state_values
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.exact.planning import OptimalPolicy, optimal_policy
from rewardlab.exact.polytope import project_reward

__all__ = [
    "OptimalityWitness",
    "OrderWitness",
    "SameOptimalPolicies",
    "SamePolicyOrder",
    "same_optimal_policies",
    "same_policy_order",
]

_ROUNDING = 1e-14  # times the horizon and the largest reward: what solves and projections leave of an exact 0
_INSIDE = 0.99  # how far towards the boundary of the occupancies a witness goes: every action keeps some probability
_HARDLY_VISITED = 1e-20  # of the visits to the most visited state: a witness leaves its policy there as it is


class OrderWitness(NamedTuple):
    """Two policies that two rewards put in different orders.

    Attributes:
        before: Policy `(S, A)`.
        after: Policy `(S, A)`.
        change_a: Return of `after` minus return of `before` in reward_a.
        change_b: The same in reward_b. The two have opposite signs, or one is exactly 0: that reward is trivial.
    """

    before: Float[Array, "s a"]
    after: Float[Array, "s a"]
    change_a: float
    change_b: float


class SamePolicyOrder(NamedTuple):
    """What `same_policy_order` returns.

    Attributes:
        same: Whether both rewards order all policies the same way.
        distance: Distance of the projected rewards, in [0, 2], over the states that can be reached.
        angle: Angle between them in degrees; NaN where a reward is trivial.
        trivial_a: Whether reward_a pays every policy the same.
        trivial_b: Whether reward_b does.
        witness: Two policies about which the rewards disagree; None where they agree.
    """

    same: bool
    distance: float
    angle: float
    trivial_a: bool
    trivial_b: bool
    witness: OrderWitness | None

    def __bool__(self) -> bool:
        return self.same


class OptimalityWitness(NamedTuple):
    """A policy that is optimal for one reward and not for the other.

    Attributes:
        state: Where it acts on the disagreement.
        action: What it does there: optimal for one reward, not for the other.
        policy: The policy `(S, A)`.
        optimal_for: The reward it is optimal for.
        loss: What it loses, started in `state`, in the units of the other reward: above 0.
    """

    state: int
    action: int
    policy: Float[Array, "s a"]
    optimal_for: Literal["reward_a", "reward_b"]
    loss: float


class SameOptimalPolicies(NamedTuple):
    """What `same_optimal_policies` returns.

    Attributes:
        same: Whether the same actions are optimal in every state that can be reached.
        optimal_a: True for the actions that are optimal for reward_a, `(S, A)`: its tie sets.
        optimal_b: The same for reward_b.
        differing: True for the states that can be reached and where the two differ, `(S)`.
        witness: The disagreement that costs most beside what is at stake in its reward; None where there is none.
    """

    same: bool
    optimal_a: Bool[Array, "s a"]
    optimal_b: Bool[Array, "s a"]
    differing: Bool[Array, " s"]
    witness: OptimalityWitness | None

    def __bool__(self) -> bool:
        return self.same


class Directions(NamedTuple):
    """Two projected rewards and the same divided by their lengths: what each says about policies, and nothing else.

    Attributes:
        projected_a: Projected reward_a, `(S, A)`.
        projected_b: Projected reward_b.
        unit_a: Projected reward_a divided by its length, `(S, A)`; 0 where it is trivial.
        unit_b: The same for reward_b.
        size_a: Length of projected reward_a; 0 where it is trivial.
        size_b: The same for reward_b.
        distance: Length of the difference of the unit vectors: 2 * sin(angle / 2).
        agreement: Length of their sum: 2 * cos(angle / 2).
        rounding: A distance below this cannot be told from 0.
    """

    projected_a: Float[Array, "s a"]
    projected_b: Float[Array, "s a"]
    unit_a: Float[Array, "s a"]
    unit_b: Float[Array, "s a"]
    size_a: float
    size_b: float
    distance: float
    agreement: float
    rounding: float

    @property
    def angle(self) -> float:
        """Angle in degrees, exact to rounding at 0 and at 180 alike; NaN where a reward is trivial."""
        if not (self.size_a and self.size_b):
            return math.nan
        return math.degrees(2 * math.atan2(self.distance, self.agreement))

    @property
    def sine(self) -> float:
        """Sine of the angle: the length of the residual beside projected reward_a."""
        return self.distance * self.agreement / 2


def same_policy_order(
    mdp: FiniteMDP, reward_a: Reward, reward_b: Reward, *, tolerance: float = 1e-9
) -> SamePolicyOrder:
    """Whether two rewards order all policies the same way by their return from the initial distribution.

    They do exactly if their projected rewards point the same way, or both are trivial. If not, some change of policy
    raises one return and lowers the other, however small the angle: the witness is such a change. It starts from the
    uniform policy and moves along the difference of the two directions, measured where that policy goes, until an
    action has almost lost its probability. For what the disagreement can cost see `rewardlab.exact.worst_case_regret`.

    States that no policy reaches from the initial distribution do not count here, as no return depends on them.

    Args:
        mdp: One world (no batch dimension).
        reward_a: `(S, A, S)` or `(S, A)`.
        reward_b: Likewise.
        tolerance: Distance in [0, 2] up to which rewards count as pointing the same way. What rounding can do to
            these rewards is added to it: a large potential or redistribution hides what a small reward says.

    Returns:
        The answer, the distance and the angle behind it, and a witness where the answer is no. Where one reward is
        trivial and the other is not, the witness is two policies tied by the one and not by the other.

    Raises:
        TypeError, ValueError: If a reward does not fit the world, or world or reward has a batch dimension.

    Source: Skalse et al. 2022 (arXiv 2209.13085), theorem 1: rewards that are neither trivial nor equivalent are
        hackable on all stationary policies. The closed form of the witness is derived here.

    Example:
        >>> import numpy as np
        >>> stay_or_switch = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
        >>> mdp = FiniteMDP(stay_or_switch, discount=0.9)
        >>> to_second, to_first = np.zeros((2, 2)), np.zeros((2, 2))
        >>> to_second[0, 1] = to_first[1, 1] = 1.0
        >>> same_policy_order(mdp, to_second, to_first).same
        False
        >>> same_policy_order(mdp, to_second, 3 * to_second + 1).same
        True
    """
    check_scalar("tolerance", tolerance, low=0, high=2)
    rewards = one_pair(mdp, reward_a, reward_b)
    part, kept = _reachable_part(mdp)
    if part is None:
        return SamePolicyOrder(True, 0.0, math.nan, True, True, None)
    tables = [reward[kept][..., kept] for reward in rewards]
    directions = compare_directions(part, *tables)
    trivial = (directions.size_a == 0, directions.size_b == 0)
    same = directions.distance <= tolerance + directions.rounding
    witness = None if same else _order_witness(mdp, part, kept, tables, directions)
    return SamePolicyOrder(same, directions.distance, directions.angle, *trivial, witness)


def same_optimal_policies(
    mdp: FiniteMDP, reward_a: Reward, reward_b: Reward, *, tolerance: float = 1e-9
) -> SameOptimalPolicies:
    """Whether the same actions are optimal for two rewards, in every state that can be reached.

    Weaker than `same_policy_order`: the rewards may still disagree about every policy that is not optimal, and an
    agent that does not optimise to the end may be led astray.

    Args:
        mdp: One world (no batch dimension).
        reward_a: `(S, A, S)` or `(S, A)`.
        reward_b: Likewise.
        tolerance: An action is optimal if it loses at most this share of what the worst action anywhere loses.

    Returns:
        The answer, both tie sets, and a witness where the answer is no: a state, an action, and a policy that is
        optimal for one reward and, started in this state, not for the other, with its loss.

    Raises:
        TypeError, ValueError: If a reward does not fit the world, or world or reward has a batch dimension.

    Source: Skalse et al. 2023 (arXiv 2203.07475), optimality-preserving transformations: optimal policies are the
        same exactly if the optimal action sets are.
    """
    check_scalar("tolerance", tolerance, low=0, high=1)
    rewards = one_pair(mdp, reward_a, reward_b)
    xp = array_namespace(mdp.transition)
    counted = xp.asarray(reachable_states(mdp), device=mdp.transition.device) & ~mdp.terminal
    best = [optimal_policy(mdp, reward) for reward in rewards]
    losses = [_losses(mdp, *pair, counted) for pair in zip(rewards, best, strict=True)]
    optimal = [loss <= tolerance for loss in losses]
    differing = counted & xp.any(optimal[0] != optimal[1], axis=-1)
    if not bool(xp.any(differing)):
        return SameOptimalPolicies(True, *optimal, differing, None)
    # the loss of an action that is optimal for the other reward: what is wanted is the largest
    betrayed = [
        xp.where(optimal[1 - other] & ~optimal[other] & differing[:, None], loss, xp.zeros_like(loss))
        for other, loss in enumerate(losses)
    ]
    other = int(xp.max(betrayed[1]) >= xp.max(betrayed[0]))
    state, action = divmod(int(xp.argmax(betrayed[other])), mdp.actions)
    policy = xp.astype(best[1 - other].policy, xp.float64, copy=True)
    policy[state] = xp.astype(xp.arange(mdp.actions, device=policy.device) == action, xp.float64)
    loss = float(best[other].values[state] - state_values(mdp, rewards[other], policy)[state])
    witness = OptimalityWitness(state, action, policy, "reward_b" if other == 0 else "reward_a", loss)
    return SameOptimalPolicies(False, *optimal, differing, witness)


def compare_directions(mdp: FiniteMDP, reward_a: Float[Array, "s a s"], reward_b: Float[Array, "s a s"]) -> Directions:
    """Directions of two rewards among policies and the distance between them; trivial ones by the rule of `starc`."""
    xp = array_namespace(mdp.transition)
    projected = project_reward(mdp, xp.stack([reward_a, reward_b]))
    units, sizes, rounding = [], [], 0.0
    entries = math.sqrt(mdp.states * mdp.actions)
    for reward, direction in zip((reward_a, reward_b), projected, strict=True):
        size = float(xp.linalg.vector_norm(direction))
        full = entries * largest_experienced(mdp, reward)
        if size <= TRIVIAL * full:
            direction, size = xp.zeros_like(direction), 0.0
        units.append(direction / (size or 1.0))
        sizes.append(size)
        rounding += relative_rounding(mdp) * full / size if size else 0.0
    lengths = (float(xp.linalg.vector_norm(vector)) for vector in (units[0] - units[1], units[0] + units[1]))
    return Directions(projected[0], projected[1], *units, *sizes, *lengths, rounding)


def one_pair(mdp: FiniteMDP, reward_a: Reward, reward_b: Reward) -> list[Float[Array, "s a s"]]:
    """Both rewards as tables over transitions, checked to be one pair in one world.

    Raises:
        TypeError, ValueError: As `FiniteMDP.transition_reward`, or if there is a batch dimension.
    """
    if mdp.batch_shape:
        raise ValueError(f"mdp has batch shape {mdp.batch_shape}, expected one world; index the batch first")
    tables = []
    for name, reward in (("reward_a", reward_a), ("reward_b", reward_b)):
        table = mdp.transition_reward(reward, name)
        if table.ndim > 3:
            raise ValueError(f"{name} has batch shape {tuple(table.shape[:-3])}, expected one reward; call once a pair")
        tables.append(table)
    return tables


def experienced(mdp: FiniteMDP) -> Bool[Array, "s a s"]:
    """True for the transitions that can happen while an episode lasts."""
    return mdp.continuation > 0


def largest_experienced(mdp: FiniteMDP, reward: Float[Array, "s a s"]) -> float:
    """Largest absolute reward of a transition that can happen."""
    xp = array_namespace(reward)
    return float(xp.max(xp.where(experienced(mdp), xp.abs(reward), xp.zeros_like(mdp.transition))))


def relative_rounding(mdp: FiniteMDP) -> float:
    """How large, beside the largest reward, the rounding of an exact 0 can be after a solve or a projection."""
    return _ROUNDING / max(1 - mdp.discount, 1e-3)


def reachable_states(mdp: FiniteMDP) -> np.ndarray:
    """True for the states some policy reaches from the initial distribution `(S)`."""
    adjacent = to_numpy(mdp.continuation).max(axis=-2) > 0
    start = to_numpy(mdp.initial) > 0
    graph = np.zeros((mdp.states + 1, mdp.states + 1), dtype=bool)  # one more node leads to every first state
    graph[:-1, :-1], graph[-1, :-1] = adjacent, start
    order = breadth_first_order(csr_array(graph), mdp.states, return_predecessors=False)
    reached = np.zeros(mdp.states + 1, dtype=bool)
    reached[order] = True
    return reached[:-1]


def _reachable_part(mdp: FiniteMDP) -> tuple[FiniteMDP | None, Array]:
    """The world of the states that can be reached, None if an action is taken in none of them; and these states."""
    reached = reachable_states(mdp)
    xp = array_namespace(mdp.transition)
    kept = xp.asarray(np.flatnonzero(reached), device=mdp.transition.device)
    if reached.all():
        return mdp, kept
    if not (reached & ~to_numpy(mdp.terminal)).any():
        return None, kept
    transition = mdp.transition[kept][..., kept]
    return FiniteMDP(transition, mdp.discount, mdp.initial[kept], mdp.terminal[kept]), kept


def _order_witness(
    mdp: FiniteMDP, part: FiniteMDP, kept: Array, tables: list[Array], directions: Directions
) -> OrderWitness:
    xp = array_namespace(mdp.transition)
    visits = occupancy(part)
    # orthogonal in the visits' own inner product: rarely visited actions then cannot shorten the whole step
    hardly = visits <= _HARDLY_VISITED * xp.max(visits)
    weight = xp.where(hardly, _HARDLY_VISITED * xp.max(visits), visits)
    step = xp.zeros_like(visits)
    weighted = project_reward(part, xp.stack(tables), weight=weight)
    for direction, size, sign in zip(weighted, (directions.size_a, directions.size_b), (1.0, -1.0), strict=True):
        if size:  # a trivial reward has no direction
            step = step + sign * direction / xp.sqrt(xp.sum(weight * direction**2))
    step = xp.where(hardly, xp.zeros_like(step), step)
    step = _INSIDE / xp.max(xp.abs(step)) * step
    policies = []
    for moved in (1 - step, 1 + step):
        policy = xp.full_like(mdp.transition[..., 0], 1 / mdp.actions)
        policy[kept] = moved / xp.sum(moved, axis=-1, keepdims=True)
        policies.append(policy)
    change = 2 * visits * step  # of the occupancy
    gains = [
        size * float(xp.sum(change * unit))
        for unit, size in ((directions.unit_a, directions.size_a), (directions.unit_b, directions.size_b))
    ]
    return OrderWitness(*policies, *gains)


def _losses(mdp: FiniteMDP, reward: Array, best: OptimalPolicy, counted: Array) -> Float[Array, "s a"]:
    """What each action loses to the best one, as a share of the most that any counted action loses; 0 for rounding."""
    xp = array_namespace(reward)
    action_values = mdp.state_action_reward(reward) + expected_next(mdp, best.values)
    loss = xp.clip(best.values[:, None] - action_values, 0.0)
    most = float(xp.max(xp.where(counted[:, None], loss, xp.zeros_like(loss))))
    rounding = relative_rounding(mdp) * (float(xp.max(xp.abs(best.values))) + largest_experienced(mdp, reward))
    return xp.where(loss <= rounding, xp.zeros_like(loss), loss / (most or 1.0))
