"""What the difference of two rewards consists of: scale, shaping, redistribution, and the rest, which matters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, to_numpy
from rewardlab.checks import check_scalar
from rewardlab.distance.equivalence import (
    Directions,
    compare_directions,
    experienced,
    largest_experienced,
    one_pair,
    reachable_states,
    relative_rounding,
)
from rewardlab.exact.evaluation import state_values
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.exact.transformations import shaping_term

__all__ = ["Explanation", "explain_difference"]

Kind = Literal["identical", "scaled", "shaped", "redistributed", "opposite", "trivial", "different"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """reward_a = scale * reward_b + shaping + redistribution + residual, and what follows from it.

    Attributes:
        kind: "identical": the same on every transition that can happen. "scaled", "shaped", "redistributed": the same
            order of all policies; the word is the last that applies of `changes`, the rest is there. "opposite": the
            order turned round. "trivial": at least one reward pays every policy the same, see `trivial`. "different":
            some policies are ordered differently, and nothing above applies.
        changes: Which of "scaled", "shaped" and "redistributed" it takes to get from reward_b to reward_a, in this
            order; for "opposite" and "different" rewards, beside the sign and the residual.
        trivial: Which rewards are trivial: a subset of ("reward_a", "reward_b").
        scale: Multiple of reward_b that explains most of what reward_a says about policies; negative where they are
            opposed; 0 where one reward is trivial, 1 where both are.
        potential: Potential of each state, `(S)`, in units of reward; 0 in terminal states. See `potential_shaping`.
        redistribution: Pays among next states without changing what any action earns on average, `(S, A, S)`.
        residual: The only part that can make the two rewards disagree about policies, `(S, A)`: orthogonal to all
            shaping and to reward_b's own say on policies.
        distance: STARC distance of the two projected rewards, in [0, 2]: `starc(..., canonicaliser="minimal")`.
        angle: Angle between them in degrees, in [0, 180]; NaN where a reward is trivial.
        shift: Where the potential is the same in every state, what it adds to each step; None otherwise.
        affine: The pair (a, b) where "different" rewards are a * reward_b + b on every transition that can happen; None
            otherwise. Adding a constant changes what is asked for where episodes end.
        parts: One row a part: `part`, `size` (root mean square over transitions in units of reward, every state and
            action counting the same) and `share` (of the sum of the sizes).
        differs_unseen: Whether they also differ on transitions that cannot happen, which no policy can notice.
        reachable: True for the states that some policy reaches from the initial distribution, `(S)`.
    """

    kind: Kind
    changes: tuple[str, ...]
    trivial: tuple[str, ...]
    scale: float
    potential: Float[Array, " s"]
    redistribution: Float[Array, "s a s"]
    residual: Float[Array, "s a"]
    distance: float
    angle: float
    shift: float | None
    affine: tuple[float, float] | None
    parts: pd.DataFrame
    differs_unseen: bool
    reachable: np.ndarray

    @property
    def same_order(self) -> bool:
        """Whether both rewards order all policies the same way, whatever the initial distribution."""
        return self.kind not in ("opposite", "different") and len(self.trivial) != 1

    def carriers(
        self, top: int = 10, *, states: Sequence[str] | None = None, actions: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The state-action pairs that carry most of the residual.

        Args:
            top: How many at most.
            states: Name of each state.
            actions: Name of each action.

        Returns:
            One row a pair, largest first: `state`, `action`, `residual` (per step in units of reward, above 0 where
            reward_a pays more than the rest explains), `share` (of the sum of squares) and `reachable`; with names
            also `state_name` and `action_name`. No rows where the residual is rounding.

        Raises:
            ValueError: If there is not one name for each state or action, or `top` is below 1.
        """
        check_scalar("top", top, low=1)
        residual = to_numpy(self.residual)
        for kind, names, length in zip(("states", "actions"), (states, actions), residual.shape, strict=True):
            if names is not None and len(names) != length:
                raise ValueError(f"{kind} has {len(names)} names for {length} {kind}")
        squares = residual.ravel() ** 2
        order = np.argsort(-squares, kind="stable")[: int(top)] if self._disagrees else np.zeros(0, dtype=int)
        order = order[squares[order] > 0]
        state, action = np.unravel_index(order, residual.shape)
        columns = {
            "state": state,
            "action": action,
            "residual": residual.ravel()[order],
            "share": squares[order] / (squares.sum() or 1.0),
            "reachable": self.reachable[state],
        }
        if states is not None:
            columns["state_name"] = [states[index] for index in state]
        if actions is not None:
            columns["action_name"] = [actions[index] for index in action]
        return pd.DataFrame(columns)

    @property
    def _disagrees(self) -> bool:
        return self.kind == "different" or self.trivial == ("reward_b",)

    def __str__(self) -> str:
        return self.sentence()

    def sentence(self, reward_a: str = "reward_a", reward_b: str = "reward_b") -> str:
        """The finding in a sentence, in which the two rewards have these names."""
        unseen = self.differs_unseen and self.kind not in ("different", "trivial")
        end = "; they also differ on transitions that cannot happen, which no policy notices" if unseen else ""
        if self.kind == "identical":
            return f"{reward_a} is identical to {reward_b} (distance 0){end}"
        terms = [] if self.trivial and self.scale == 0 else [_multiple(self.scale, reward_b)]
        terms += [self._shaping_phrase] if "shaped" in self.changes else []
        terms += ["redistribution"] if "redistributed" in self.changes else []
        terms += [self._residual_phrase] if self._disagrees else []
        conclusion = self._conclusion(reward_a, reward_b)
        return f"{reward_a} = {' + '.join(terms) or '0'}{conclusion}{end}"

    @property
    def _shaping_phrase(self) -> str:
        if self.shift is not None:
            return f"a constant {self.shift:.3g} a step"
        return f"shaping by a potential (range {np.ptp(to_numpy(self.potential)):.3g})"

    @property
    def _residual_phrase(self) -> str:
        if self.trivial:
            return "a residual that is all it says about policies"
        return f"a residual ({math.sin(math.radians(self.angle)):.0%} of what it says about policies)"

    def _conclusion(self, reward_a: str, reward_b: str) -> str:
        distance = f"distance {self.distance:.2g}"
        if len(self.trivial) == 2:
            return f": both are trivial, every policy earns the same ({distance})"
        if self.trivial:
            name = reward_a if self.trivial == ("reward_a",) else reward_b
            return f": {name} is trivial, every policy earns the same in it ({distance} by convention)"
        if self.kind == "opposite":
            return f"; nothing else: they order all policies the opposite way ({distance})"
        if self.kind != "different":
            return f"; nothing else: both order all policies the same way ({distance})"
        opposed = "oppose each other more than they agree" if self.scale < 0 else "disagree about some policies"
        if self.affine is not None:
            multiple, constant = self.affine
            change = f"{abs(constant):.3g} {'more' if constant > 0 else 'less'} a step"
            reason = f"{reward_a} pays {change} than {_multiple(multiple, reward_b)}, no shaping where episodes end"
        else:
            every = self.carriers(self.residual.shape[0] * self.residual.shape[1])
            half = int((every.share.cumsum() < 0.5).sum()) + 1
            first = f"state {every.state[0]}, action {every.action[0]}"
            reason = f"half of the residual is in {half} state-action pairs, most in {first}"
        return f": they {opposed} ({distance}, angle {self.angle:.3g}°); {reason}"


def explain_difference(mdp: FiniteMDP, reward_a: Reward, reward_b: Reward, *, tolerance: float = 1e-9) -> Explanation:
    """Explain reward_a as a multiple of reward_b, potential shaping, redistribution over next states, and a residual.

    The parts add up exactly: on each transition (s, a, s') out of a non-terminal state, possible or not,

        reward_a = scale * reward_b + shaping + redistribution[s, a, s'] + residual[s, a],
        shaping = discount * potential[s'] - potential[s].

    Rewards on transitions out of a terminal state are never paid, so they are not explained: redistribution and
    residual are 0 there. What only differs on impossible transitions is put into the redistribution.

    Shaping and redistribution change no order of policies, so the residual is all there is to disagree about: for any
    two policies, the difference of their returns in reward_a is `scale` times that in reward_b, plus the inner product
    of the residual with the difference of their occupancies. Scale and residual come from least squares on the
    projected rewards. With theta the angle between these, the length of the residual is sin(theta) times that of
    projected reward_a, and the distance is 2 * sin(theta / 2).

    Beyond 90 degrees the least-squares scale is negative: reward_a then punishes on the whole what reward_b rewards,
    and no positive multiple of reward_b explains it better than none at all. The sign is reported as it is, since
    "-1 x reward_b" tells more than "0 x reward_b". Only exactly opposite rewards (no residual) are of kind "opposite".

    At a discount below 1 and without terminal states, adding a constant to a reward is shaping by a constant potential,
    and is reported as such (`shift`). In episodic worlds it is not: it pays for longer episodes.

    All non-terminal states count, also those that cannot be reached from the initial distribution (`reachable` tells
    them apart); `same_policy_order` leaves these out.

    Args:
        mdp: One world (no batch dimension).
        reward_a: The reward to explain, `(S, A, S)` or `(S, A)`.
        reward_b: The reward to explain it by, likewise.
        tolerance: A part whose entries are at most this share of the largest reward counts as absent, and so does a
            residual that is at most this share of projected reward_a. It decides what the difference is called, and
            leaves the parts as they are.

    Returns:
        The parts, their sizes, and what they say about the two rewards; `print` it for a sentence.

    Raises:
        TypeError, ValueError: If a reward does not fit the world, or world or reward has a batch dimension.

    Source: the equivalence class is that of STARC (arXiv 2309.15257) and Skalse et al. 2023 (arXiv 2203.07475); the
        decomposition is derived here.

    Example:
        >>> import numpy as np
        >>> from rewardlab.exact import potential_shaping
        >>> mdp = FiniteMDP.random(states=6, actions=3, clean=True, rng=0)
        >>> intended = np.random.default_rng(1).normal(size=(6, 3))
        >>> proxy = 2 * intended[:, :, None] + potential_shaping(mdp, np.arange(1.0, 7.0))
        >>> explanation = explain_difference(mdp, proxy, intended)
        >>> explanation.kind, explanation.changes, explanation.potential.round(6).tolist()
        ('shaped', ('scaled', 'shaped'), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        >>> print(str(explanation).partition(";")[0])
        reward_a = 2 x reward_b + shaping by a potential (range 5)
    """
    check_scalar("tolerance", tolerance, low=0, high=1)
    table_a, table_b = one_pair(mdp, reward_a, reward_b)
    xp = array_namespace(table_a)
    directions = compare_directions(mdp, table_a, table_b)
    trivial = tuple(
        name for name, size in (("reward_a", directions.size_a), ("reward_b", directions.size_b)) if size == 0
    )
    scale = _scale(directions)
    difference = table_a - scale * table_b
    alive = ~mdp.terminal[:, None]
    residual = directions.projected_a - scale * directions.projected_b
    residual = xp.where(alive, residual, xp.zeros_like(residual))
    # the value of a shaping reward is minus its potential, under every policy
    potential = 0.0 - state_values(mdp, mdp.state_action_reward(difference) - residual)
    shaping = xp.broadcast_to(shaping_term(mdp, potential), difference.shape)
    remainder = difference - shaping - residual[..., None]
    redistribution = xp.where(alive[..., None], remainder, xp.zeros_like(remainder))

    largest = max(largest_experienced(mdp, table_a), abs(scale) * largest_experienced(mdp, table_b))
    absent = (tolerance + relative_rounding(mdp)) * largest
    happens = experienced(mdp)
    unseen = xp.where(happens, xp.zeros_like(redistribution), xp.abs(redistribution))
    tests = {
        "scaled": not trivial and abs(abs(scale) - 1) > tolerance + directions.rounding,
        "shaped": largest_experienced(mdp, shaping) > absent,
        "redistributed": largest_experienced(mdp, redistribution) > absent,
    }
    changes = tuple(name for name, present in tests.items() if present)
    kind = _kind(directions, scale, changes, tolerance)
    return Explanation(
        kind=kind,
        changes=changes,
        trivial=trivial,
        scale=scale,
        potential=potential,
        redistribution=redistribution,
        residual=residual,
        distance=directions.distance,
        angle=directions.angle,
        shift=_shift(mdp, potential, absent) if "shaped" in changes else None,
        affine=_affine(mdp, table_a, table_b, absent) if kind == "different" else None,
        parts=_parts(mdp, scale * table_b, shaping, redistribution, residual),
        differs_unseen=float(xp.max(unseen)) > absent,
        reachable=reachable_states(mdp),
    )


def _multiple(scale: float, name: str) -> str:
    return name if abs(scale - 1) < 5e-5 else f"{scale:.4g} x {name}"


def _scale(directions: Directions) -> float:
    if not directions.size_b:
        return 0.0 if directions.size_a else 1.0
    xp = array_namespace(directions.unit_a)
    return float(xp.sum(directions.unit_a * directions.unit_b)) * directions.size_a / directions.size_b


def _kind(directions: Directions, scale: float, changes: tuple[str, ...], tolerance: float) -> Kind:
    if not directions.size_a or not directions.size_b:
        return "identical" if directions.size_a == directions.size_b and not changes else "trivial"
    if directions.sine > tolerance + directions.rounding:
        return "different"
    if scale < 0:
        return "opposite"
    return changes[-1] if changes else "identical"


def _shift(mdp: FiniteMDP, potential: Array, absent: float) -> float | None:
    """What a potential that is the same in all states adds to each step; None if it is not."""
    values = to_numpy(potential)
    if bool(to_numpy(mdp.terminal).any()) or np.ptp(values) > absent:
        return None
    return float((mdp.discount - 1) * values.mean())


def _affine(mdp: FiniteMDP, table_a: Array, table_b: Array, absent: float) -> tuple[float, float] | None:
    """The (a, b) with which table_a is a * table_b + b on every transition that can happen; None if there are none."""
    happens = to_numpy(experienced(mdp))
    values_a, values_b = (to_numpy(table)[happens] for table in (table_a, table_b))
    design = np.stack([values_b, np.ones_like(values_b)], axis=1)
    multiple, constant = np.linalg.lstsq(design, values_a)[0]
    fits = np.abs(design @ (multiple, constant) - values_a).max() <= absent
    return (float(multiple), float(constant)) if fits else None


def _parts(mdp: FiniteMDP, scaled: Array, shaping: Array, redistribution: Array, residual: Array) -> pd.DataFrame:
    xp = array_namespace(scaled)
    pairs = float(xp.sum(mdp.continuation))
    tables = {
        "scaled reward_b": scaled,
        "shaping": shaping,
        "redistribution": redistribution,
        "residual": residual[..., None],
    }
    size = np.array([math.sqrt(float(xp.sum(mdp.continuation * table**2)) / pairs) for table in tables.values()])
    return pd.DataFrame({"part": list(tables), "size": size, "share": size / (size.sum() or 1.0)})
