"""Canonical forms from a data set alone: expectations are averages over the observed transitions from a state.

Where an expectation runs over combinations of states, most were never observed. Three ways to deal with it:

- "evaluate": ask the reward function about them. Needs a reward that means something there.
- "found": average over the combinations that were observed ("unbiased" in the authors' code).
- "set_size": divide by the number of all combinations, so that those not observed count as reward 0.

An expectation over nothing at all is 0.
"""

import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import sparse

from rewardlab.checks import check_choice, check_scalar
from rewardlab.distance.transition_index import (
    ROWS_AT_ONCE,
    TransitionIndex,
    distinct_rows,
    evaluate_numbered,
    index_transitions,
)
from rewardlab.distance.transitions import RewardFunction, Rewards, Transitions, named_rewards

__all__ = ["MISSING", "Missing", "dard_from_data", "epic_from_data", "srrd_from_data"]

Missing = Literal["evaluate", "found", "set_size"]
MISSING = ("evaluate", "found", "set_size")

Canonical = Float[np.ndarray, "k n"]


def epic_from_data(
    rewards: Rewards, transitions: Transitions, discount: float, *, missing: Literal["found", "set_size"]
) -> Canonical:
    """EPIC's canonical rewards from observed transitions only; states are distributed as the origins of the data.

    Args:
        rewards: k reward functions, asked about the n transitions only.
        transitions: n transitions with discrete states and actions.
        discount: Discount factor in [0, 1].
        missing: What to do about combinations that were not observed.

    Source: Gleave et al. 2021 (arXiv 2006.13900) as arXiv 2504.11508 estimates it from sparse data. The authors' code
        leaves the discount out of the last term, which is the same for all transitions and so changes no distance.
    """
    check_choice("missing", missing, MISSING[1:])
    data = _Data(rewards, transitions, discount)
    share = np.bincount(data.index.origin, minlength=data.size) / len(transitions)
    reward, known = data.reward_of_jumps()
    total = np.stack([jumps @ share for jumps in reward])
    weight = known @ share if missing == "found" else np.ones(data.size)
    expected, overall = _ratio(total, weight), _ratio(total @ share, weight @ share)
    shaped = data.own + discount * expected[:, data.index.target] - expected[:, data.index.origin]
    return shaped - discount * overall[:, None]


def dard_from_data(
    rewards: Rewards, transitions: Transitions, discount: float, *, missing: Missing = "evaluate"
) -> Canonical:
    """Dynamics-aware canonical rewards of DARD, the dynamics being the frequencies in the data.

    One draw of the action serves both next states of a term: it runs over the actions observed in both states, in
    proportion to their share of the data.

    Args:
        rewards: k reward functions.
        transitions: n transitions with discrete states and actions.
        discount: Discount factor in [0, 1].
        missing: What to do about combinations that were not observed.

    Source: Wulfe et al. 2022 (arXiv 2201.10081), dynamics-aware transformation. The code beside arXiv
        2504.11508 takes both states of the last term from the successors of the first state; the definition, followed
        here, does not.
    """
    check_choice("missing", missing, MISSING)
    data = _Data(rewards, transitions, discount)
    origin, target = data.index.origin, data.index.target
    pairs, pair = distinct_rows(np.stack([origin, target], axis=1))
    meeting = _meetings(data, origin[pairs], target[pairs], missing)
    return data.own + discount * data.expected[:, target] - data.expected[:, origin] - discount * meeting[:, pair]


def srrd_from_data(
    rewards: Rewards, transitions: Transitions, discount: float, *, missing: Missing = "found"
) -> Canonical:
    """Sparsity-resilient canonical rewards of SRRD: its sets of states come from the data, so few jumps are missing.

    Args:
        rewards: k reward functions; asked about the n transitions only, unless `missing` is "evaluate".
        transitions: n transitions with discrete states and actions.
        discount: Discount factor in [0, 1].
        missing: What to do about combinations that were not observed. With "set_size" the two expectations over two
            successive steps run over all combinations of first and second states too, as in the authors' code.

    Source: arXiv 2504.11508 and the authors' code, which keeps one reward for each pair of states and gives every
        observed successor the same weight; here rewards of one pair are averaged over actions, and successors are
        weighted by their frequency.
    """
    check_choice("missing", missing, MISSING)
    data = _Data(rewards, transitions, discount)
    origin, target = data.index.origin, data.index.target
    two_steps = _normalised(data.step @ data.step)
    leaving = np.bincount(origin, minlength=data.size) > 0
    starts = np.stack([leaving, np.bincount(target, minlength=data.size) > 0]).astype(float)
    starts /= starts.sum(axis=1, keepdims=True)  # uniform over states with outgoing data, and with incoming data
    jump, weight = _jumps_from(data, starts, missing)  # (2, k, S), (2, S): to each state from either start
    overall = _ratio(jump[0] @ starts[1], weight[0] @ starts[1])
    from_origins, from_arrivals = (_ratio((two_steps @ jump[i].T).T, two_steps @ weight[i]) for i in (0, 1))
    if missing == "set_size":
        reward, _ = data.reward_of_jumps()
        following = np.stack([(data.step @ jumps).multiply(two_steps).sum(axis=1) for jumps in reward])
    else:
        following = _ratio((data.step @ data.expected.T).T, data.step @ leaving.astype(float))
    at_target = data.expected + discount * (following - from_arrivals)
    at_origin = data.expected + discount * (following - from_origins)
    return data.own + discount * at_target[:, target] - at_origin[:, origin] - discount * overall[:, None]


class _Data:
    """Transitions indexed by origin, with the empirical dynamics and the rewards on the data.

    Attributes:
        own: Rewards of the transitions, `(k, n)`.
        steps: For each action, next-state frequencies, `(S, S)` sparse; rows sum to 1, or to 0 where it was not seen.
        seen: Whether each action was seen in each state, `(A, S)`.
        step: Frequencies of next states under the actions' shares of the data, `(S, S)` sparse.
        expected: Expected reward of one step from each state, `(k, S)`; 0 without data.
    """

    def __init__(self, rewards: Rewards, transitions: Transitions, discount: float) -> None:
        check_scalar("discount", discount, low=0, high=1)
        self.rewards: Mapping[str, RewardFunction] = named_rewards(rewards)
        self.index: TransitionIndex = index_transitions(transitions)
        self.size = len(self.index.states)
        if not np.isin(self.index.target, self.index.origin).any():
            warnings.warn(
                "no next state of the data is the state of another transition, so what would follow is left out; "
                "with continuous states, pass `successors` to sample_dard, or make the states discrete",
                RuntimeWarning,
                stacklevel=5,
            )
        self.own = evaluate_numbered(self.rewards, self.index.states, self.index.actions, self.index.numbers)
        origin, action, target = self.index.numbers
        visits = np.bincount(action * self.size + origin, minlength=len(self.index.actions) * self.size)
        self.seen = visits.reshape(-1, self.size) > 0
        share = self.index.action_distribution
        weight = 1 / visits[action * self.size + origin]
        self.steps = [
            sparse.csr_array((weight[rows], (origin[rows], target[rows])), shape=(self.size, self.size))
            for rows in _groups(action)
        ]
        weight *= share[action] / (share @ self.seen)[origin]
        self.step = sparse.csr_array((weight, (origin, target)), shape=(self.size, self.size))
        self.expected = np.stack([np.bincount(origin, weight * reward, minlength=self.size) for reward in self.own])

    def reward_of_jumps(self) -> tuple[list[sparse.csr_array], sparse.csr_array]:
        """Mean reward of each observed pair of states, one `(S, S)` sparse a reward, and 1 where there is one."""
        pair, number = distinct_rows(np.stack([self.index.origin, self.index.target], axis=1))
        place, shape = (self.index.origin[pair], self.index.target[pair]), (self.size, self.size)
        count = np.bincount(number)
        mean = [np.bincount(number, reward) / count for reward in self.own]
        ones = sparse.csr_array((np.ones(len(pair)), place), shape=shape)
        return [sparse.csr_array((values, place), shape=shape) for values in mean], ones


def _jumps_from(data: _Data, starts: np.ndarray, missing: Missing) -> tuple[np.ndarray, np.ndarray]:
    """Sums over two distributions of starts: reward of a jump to each state, `(2, k, S)`, and weight, `(2, S)`."""
    if missing != "evaluate":
        reward, known = data.reward_of_jumps()
        weight = starts @ known if missing == "found" else np.ones_like(starts)
        return np.stack([starts @ jumps for jumps in reward], axis=1), weight
    share, states = data.index.action_distribution, np.arange(data.size)
    total = np.zeros((2, len(data.rewards), data.size))
    at_once = max(1, ROWS_AT_ONCE // (len(share) * data.size))
    for first in range(0, data.size, at_once):
        start, action, end = np.meshgrid(states[first : first + at_once], np.arange(len(share)), states, indexing="ij")
        numbers = (start.ravel(), action.ravel(), end.ravel())
        values = evaluate_numbered(data.rewards, data.index.states, data.index.actions, numbers)
        part = starts[:, first : first + at_once]
        total += np.einsum("ix,a,kxay->iky", part, share, values.reshape(-1, *start.shape))
    return total, np.ones_like(starts)


def _meetings(data: _Data, origin: np.ndarray, target: np.ndarray, missing: Missing) -> np.ndarray:
    """Mean of `R(S', A, S'')`, S' following each origin and S'' each target under the same A, `(k, pairs)`."""
    total, weight = np.zeros((len(data.rewards), len(origin))), np.zeros(len(origin))
    asked = sparse.csr_array((np.ones(len(origin)), (origin, target)), shape=(data.size, data.size))
    for action, rows in enumerate(_groups(data.index.action)):
        step, share = data.steps[action], data.index.action_distribution[action]
        if missing == "evaluate":
            place = (step.T @ asked @ step).nonzero()
            numbers = (place[0], np.full(len(place[0]), action), place[1])
            values = evaluate_numbered(data.rewards, data.index.states, data.index.actions, numbers)
        else:
            place = data.index.origin[rows], data.index.target[rows]
            first, number = distinct_rows(np.stack(place, axis=1))
            place = place[0][first], place[1][first]
            values = np.stack([np.bincount(number, reward[rows]) / np.bincount(number) for reward in data.own])
        table = [sparse.csr_array((value, place), shape=asked.shape) for value in (*values, np.ones(len(place[0])))]
        meeting = step[target].tocoo()  # one entry for each pair and each S'' from its target
        place = origin[meeting.row], meeting.col
        *reward, known = [
            np.bincount(meeting.row, meeting.data * (step @ jumps)[place], minlength=len(origin)) for jumps in table
        ]
        total += share * np.stack(reward)
        weight += share * (known if missing == "found" else data.seen[action][origin] & data.seen[action][target])
    return _ratio(total, weight)


def _groups(numbers: np.ndarray) -> list[np.ndarray]:
    """For each number from 0 on, the positions where it stands."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.cumsum(np.bincount(numbers))[:-1])


def _normalised(step: sparse.csr_array) -> sparse.csr_array:
    """Rows scaled to sum to 1; empty rows stay empty."""
    total = step.sum(axis=1)
    return sparse.csr_array(sparse.diags_array(_ratio(np.ones_like(total), total)) @ step)


def _ratio(total: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    """`total / weight`, and 0 where there is no weight."""
    return np.divide(total, weight, out=np.zeros(np.broadcast_shapes(total.shape, np.shape(weight))), where=weight > 0)
