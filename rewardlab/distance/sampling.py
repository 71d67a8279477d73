"""Reward distances from a batch of transitions: any reward function, any environment, no table needed.

Each distance is the Pearson distance of two canonical forms over the batch. EPIC asks the reward functions about jumps
between any two states; DARD stays near the dynamics; SRRD uses the data set alone. For many rewards use the plural
functions: they evaluate each reward once and return all pairs.
"""

import warnings

import numpy as np
from jaxtyping import Float

from rewardlab.arrays import Array
from rewardlab.checks import check_choice
from rewardlab.distance.observed_canonical import MISSING, Missing, dard_from_data, epic_from_data, srrd_from_data
from rewardlab.distance.pearson import pearson_distance
from rewardlab.distance.sampled_canonical import Successors, dard_by_sampling, epic_by_sampling
from rewardlab.distance.transition_index import evaluate_numbered, index_transitions
from rewardlab.distance.transitions import RewardFunction, Rewards, Transitions, named_rewards

__all__ = [
    "sample_dard",
    "sample_dard_distances",
    "sample_epic",
    "sample_epic_distances",
    "sample_srrd",
    "sample_srrd_distances",
]

_TRIVIAL_BELOW = 1e-9  # spread of a canonical form relative to the reward: below it the form is rounding

Distances = Float[np.ndarray, "k k"]


def sample_epic(
    reward_a: RewardFunction, reward_b: RewardFunction, transitions: Transitions, discount: float, **options
) -> float:
    """EPIC distance of two rewards, in [0, 1]; NaN with a warning if one of them is trivial.

    Args, Raises, Source: as `sample_epic_distances`.

    Example:
        >>> import numpy as np
        >>> from rewardlab.distance.transitions import Transitions
        >>> rng = np.random.default_rng(0)
        >>> position = rng.normal(size=(64, 1))
        >>> batch = Transitions(position, rng.normal(size=(64, 1)), rng.normal(size=(64, 1)))
        >>> effort = lambda s, a, n, end: -(a**2).sum(-1)
        >>> shaped = lambda s, a, n, end: 3 * effort(s, a, n, end) + 0.9 * abs(n[:, 0]) - abs(s[:, 0])
        >>> sample_epic(effort, shaped, batch, discount=0.9) < 1e-9
        True
    """
    return _pair(sample_epic_distances(_two(reward_a, reward_b), transitions, discount, **options))


def sample_dard(
    reward_a: RewardFunction, reward_b: RewardFunction, transitions: Transitions, discount: float, **options
) -> float:
    """DARD distance of two rewards, in [0, 1]; NaN with a warning if one of them is trivial.

    Args, Raises, Source: as `sample_dard_distances`.
    """
    return _pair(sample_dard_distances(_two(reward_a, reward_b), transitions, discount, **options))


def sample_srrd(
    reward_a: RewardFunction, reward_b: RewardFunction, transitions: Transitions, discount: float, **options
) -> float:
    """SRRD distance of two rewards, in [0, 1]; NaN with a warning if one of them is trivial.

    Args, Raises, Source: as `sample_srrd_distances`.
    """
    return _pair(sample_srrd_distances(_two(reward_a, reward_b), transitions, discount, **options))


def sample_epic_distances(
    rewards: Rewards,
    transitions: Transitions,
    discount: float,
    *,
    canonical_samples: int | None = None,
    states: Array | None = None,
    actions: Array | None = None,
    missing: Missing = "evaluate",
    rng: int | np.random.Generator = 0,
) -> Distances:
    """EPIC distances between all pairs of rewards.

    Rewards that differ by potential shaping and positive scale have distance 0 with any number of samples, because all
    rewards share the samples.

    Args:
        rewards: k functions `(states, actions, next_states, terminated) -> (n,)`, by name or in a row. They see
            `terminated` False throughout: the theory is that of an infinite horizon.
        transitions: n transitions drawn from the coverage distribution, NumPy or torch.
        discount: Discount factor in [0, 1].
        canonical_samples: Draws (action, state) inside the expectations. By default every combination of the given
            states and actions where these are no more than n, which is exact; otherwise n draws.
        states: Samples of the state distribution; by default the states of the transitions.
        actions: Samples of the action distribution; by default the actions of the transitions.
        missing: "evaluate" asks the rewards about jumps that were not observed. "found" and "set_size" use the rewards
            of the n transitions alone (`observed_canonical` says how) and need no other option.
        rng: Seed or generator of the draws.

    Returns:
        Distances in [0, 1], `(k, k)`, symmetric, in the order of `rewards`; NaN, with a warning, for rewards whose
        canonical form is constant on the transitions (trivial ones: pure shaping, or constant).

    Raises:
        TypeError, ValueError: If an argument does not fit, or a reward returns anything but n finite numbers; the
            message names the reward and the row.

    Source: Gleave et al. 2021 (arXiv 2006.13900), EPIC distance and its sample-based approximation.
    """
    check_choice("missing", missing, MISSING)
    if missing == "evaluate":
        canonical = epic_by_sampling(
            rewards, transitions, discount, canonical_samples=canonical_samples, states=states, actions=actions, rng=rng
        )
    else:
        if canonical_samples is not None or states is not None or actions is not None:
            raise ValueError(
                f"missing is {missing!r}, which draws no samples; leave out canonical_samples, states and actions"
            )
        canonical = epic_from_data(rewards, transitions, discount, missing=missing)
    return _distances(rewards, transitions, canonical)


def sample_dard_distances(
    rewards: Rewards,
    transitions: Transitions,
    discount: float,
    *,
    successors: Successors | None = None,
    canonical_samples: int = 64,
    missing: Missing = "evaluate",
    rng: int | np.random.Generator = 0,
) -> Distances:
    """DARD distances between all pairs of rewards.

    Args:
        rewards: As for `sample_epic_distances`.
        transitions: n transitions to compare on; without `successors` also the estimate of the dynamics, which needs
            discrete states and actions, each met several times.
        discount: Discount factor in [0, 1].
        successors: Dynamics `(states, actions, rng) -> next_states`, for continuous states.
        canonical_samples: Draws of the action inside the expectations; used with `successors`.
        missing: What to do about transitions that were not observed; used without `successors`.
        rng: Seed or generator of the draws; used with `successors`.

    Returns, Raises: as `sample_epic_distances`.

    Source: Wulfe et al. 2022 (arXiv 2201.10081), dynamics-aware reward distance.
    """
    if successors is None:
        canonical = dard_from_data(rewards, transitions, discount, missing=missing)
    else:
        canonical = dard_by_sampling(
            rewards, transitions, discount, successors, canonical_samples=canonical_samples, rng=rng
        )
    return _distances(rewards, transitions, canonical)


def sample_srrd_distances(
    rewards: Rewards, transitions: Transitions, discount: float, *, missing: Missing = "found"
) -> Distances:
    """SRRD distances between all pairs of rewards.

    Args:
        rewards: As for `sample_epic_distances`; asked about the n transitions only, unless `missing` is "evaluate".
        transitions: n transitions with discrete states and actions.
        discount: Discount factor in [0, 1].
        missing: "found" divides each expectation by what was found (the unbiased variant of the authors' code),
            "set_size" by all there could be, so that what is missing counts as 0; "evaluate" asks the rewards.

    Returns, Raises: as `sample_epic_distances`.

    Source: arXiv 2504.11508.
    """
    return _distances(rewards, transitions, srrd_from_data(rewards, transitions, discount, missing=missing))


def _two(reward_a: RewardFunction, reward_b: RewardFunction) -> dict[str, RewardFunction]:
    return {"reward_a": reward_a, "reward_b": reward_b}


def _pair(distances: Distances) -> float:
    return float(distances[0, 1])


def _distances(rewards: Rewards, transitions: Transitions, canonical: Float[np.ndarray, "k n"]) -> Distances:
    """Pearson distances of canonical rewards; trivial ones are set to 0 first, so that rounding is never compared."""
    named, index = named_rewards(rewards), index_transitions(transitions)
    size = np.abs(evaluate_numbered(named, index.states, index.actions, index.numbers)).max(axis=1)
    spread = np.abs(canonical - canonical.mean(axis=1, keepdims=True)).max(axis=1)
    trivial = spread <= _TRIVIAL_BELOW * size
    for name, is_trivial in zip(named, trivial, strict=True):
        if is_trivial:
            warnings.warn(
                f"reward {name!r} is trivial on these transitions (constant up to shaping): its distances are NaN",
                RuntimeWarning,
                stacklevel=4,
            )
    canonical = np.where(trivial[:, None], 0.0, canonical)
    return np.stack([pearson_distance(row[None], canonical) for row in canonical])
