"""Every distance of the family at once, for batches of pairs: the table behind a study of which distance to trust."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from rewardlab.arrays import Array, array_namespace, to_numpy
from rewardlab.checks import check_choice
from rewardlab.distance.minimal_potential import minimal_potential_canonical
from rewardlab.distance.norms import NORMS
from rewardlab.distance.starc import CANONICALISERS, NORMALISERS, TRIVIAL
from rewardlab.exact.evaluation import advantages
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.exact.polytope import project_reward

__all__ = ["PUBLISHED_FAMILY", "DistanceTable", "compare_all", "distance_table"]

PUBLISHED_FAMILY = ("none", "epic", "dard", "val_potential", "val")
"""Canonical forms of the published study that do not depend on the norm: 210 distances with all norms."""

_CHUNK_ENTRIES = 2**16  # table entries handled at once: a few tables of this size stay in a core's cache

# canonical forms that are the same for every next state are kept as (S, A): their norms need no table
_SAME_FOR_NEXT_STATES = {"val": advantages, "minimal": project_reward}


class DistanceTable(NamedTuple):
    """What `distance_table` returns.

    Attributes:
        distance: `(*batch, canonicalisers, normalisers, metrics)`; NaN where a combination is not defined.
        trivial: True where one of the pair is trivial, `(*batch, canonicalisers, normalisers)`.
    """

    distance: Float[Array, "*batch c n m"]
    trivial: Bool[Array, "*batch c n"]


class _Form(NamedTuple):
    """A canonical form flattened to `(*batch, K)`, and what each of its entries stands for.

    Attributes:
        table: The form.
        copies: How many next states share an entry.
        probability: Transition probability of an entry, summed over the next states that share it; None for 1.
        peak: Largest transition probability of the next states that share an entry.
    """

    table: Array
    copies: int
    probability: Array | None
    peak: Array


def compare_all(
    mdp: FiniteMDP,
    reward_a: Reward,
    reward_b: Reward,
    *,
    canonicalisers: Sequence[str] = PUBLISHED_FAMILY,
    normalisers: Sequence[str] = NORMALISERS,
    metrics: Sequence[str] = NORMS,
) -> pd.DataFrame:
    """Distances of pairs of rewards under every canonical form, normaliser and metric, as a tidy table.

    Each canonical form is computed once a reward and reused for all norms; a reward that broadcasts against many
    others is made canonical once. Work is done in chunks, so memory does not grow with the number of pairs beyond the
    rewards and the table.

    Args:
        mdp: World.
        reward_a: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        reward_b: Likewise; batch dimensions of world and rewards broadcast to the batch of pairs.
        canonicalisers: Names as in `starc`.
        normalisers: Names as in `starc`.
        metrics: Names as in `starc`.

    Returns:
        One row a pair, canonicaliser, normaliser and metric, with columns `pair` (index into the flattened batch),
        `canonicaliser`, `normaliser`, `metric`, `distance` and `trivial` (whether one of the two rewards is trivial
        under that form and norm; see `starc`). The combination of "minimal_potential" and "none" does not exist.

    Raises:
        TypeError, ValueError: If a reward does not fit the world or a name is unknown.

    Source: STARC (arXiv 2309.15257), the family of its experiments.
    """
    names = [tuple(canonicalisers), tuple(normalisers), tuple(metrics)]
    table = distance_table(
        mdp, reward_a, reward_b, canonicalisers=canonicalisers, normalisers=normalisers, metrics=metrics
    )
    distance = to_numpy(table.distance).reshape(-1, *(len(group) for group in names))
    exists = np.broadcast_to(_exists(*names[:2])[..., None], distance.shape[1:]).ravel()
    kept = np.flatnonzero(exists)
    columns = {"pair": np.repeat(np.arange(distance.shape[0]), kept.size)}
    for name, values, codes in zip(
        ("canonicaliser", "normaliser", "metric"), names, np.unravel_index(kept, distance.shape[1:]), strict=True
    ):
        columns[name] = pd.Categorical.from_codes(np.tile(codes, distance.shape[0]), categories=list(values))
    columns["distance"] = distance.reshape(distance.shape[0], -1)[:, kept].ravel()
    trivial = np.repeat(to_numpy(table.trivial).reshape(distance.shape[0], -1), distance.shape[-1], axis=-1)
    columns["trivial"] = trivial[:, kept].ravel()
    return pd.DataFrame(columns)


def distance_table(
    mdp: FiniteMDP,
    reward_a: Reward,
    reward_b: Reward,
    *,
    canonicalisers: Sequence[str] = PUBLISHED_FAMILY,
    normalisers: Sequence[str] = NORMALISERS,
    metrics: Sequence[str] = NORMS,
) -> DistanceTable:
    """As `compare_all`, as arrays in the library of the rewards."""
    for kind, names, known in (
        ("canonicalisers", canonicalisers, (*CANONICALISERS, "minimal_potential")),
        ("normalisers", normalisers, NORMALISERS),
        ("metrics", metrics, NORMS),
    ):
        for position, name in enumerate(names):
            check_choice(f"{kind}[{position}]", name, known)
    rewards = [mdp.transition_reward(reward_a, "reward_a"), mdp.transition_reward(reward_b, "reward_b")]
    xp = array_namespace(rewards[0])
    batch = np.broadcast_shapes(mdp.batch_shape, *(tuple(reward.shape[:-3]) for reward in rewards))
    world = mdp[(None,) * (len(batch) - len(mdp.batch_shape))] if mdp.batch_shape else mdp
    rewards = [xp.reshape(reward, (1,) * (len(batch) + 3 - reward.ndim) + tuple(reward.shape)) for reward in rewards]
    shape = (*batch, len(canonicalisers), len(normalisers), len(metrics))
    distance = xp.full(shape, math.nan, dtype=xp.float64, device=rewards[0].device)
    trivial = xp.zeros(shape[:-1], dtype=xp.bool, device=rewards[0].device)
    for index in _chunks(batch, mdp.states**2 * mdp.actions):
        part = world[_narrow(index, world.batch_shape)] if world.batch_shape else world
        pair = [reward[_narrow(index, tuple(reward.shape[:-3]))] for reward in rewards]
        for position, name in enumerate(canonicalisers):
            chunk = _compare(part, *pair, name, normalisers, metrics)
            distance[(*index, position)], trivial[(*index, position)] = chunk
    return DistanceTable(distance, trivial)


def _compare(
    mdp: FiniteMDP,
    reward_a: Array,
    reward_b: Array,
    canonicaliser: str,
    normalisers: Sequence[str],
    metrics: Sequence[str],
) -> tuple[Array, Array]:
    """Distances `(*batch, normalisers, metrics)` and trivial flags `(*batch, normalisers)` for one canonical form."""
    xp = array_namespace(reward_a)
    if canonicaliser == "minimal_potential":
        groups = [[order] for order in normalisers if order != "none"]
    else:
        groups = [list(normalisers)]
    batch = np.broadcast_shapes(mdp.batch_shape, tuple(reward_a.shape[:-3]), tuple(reward_b.shape[:-3]))
    distance = xp.full((*batch, len(normalisers), len(metrics)), math.nan, dtype=xp.float64, device=reward_a.device)
    trivial = xp.zeros((*batch, len(normalisers)), dtype=xp.bool, device=reward_a.device)
    for group in groups:
        forms = [_form(mdp, reward, canonicaliser, group[0]) for reward in (reward_a, reward_b)]
        factors = [
            _normalising_factors(form, xp.max(xp.abs(reward), axis=(-3, -2, -1)), group)
            for form, reward in zip(forms, (reward_a, reward_b), strict=True)
        ]
        for order, factor_a, factor_b in zip(group, *factors, strict=True):
            gap = xp.abs(forms[0].table * factor_a[..., None] - forms[1].table * factor_b[..., None])
            position = list(normalisers).index(order)
            distance[..., position, :] = xp.stack(_norms(forms[0], gap, metrics), axis=-1)
            trivial[..., position] = (factor_a == 0) | (factor_b == 0)
    return distance, trivial


def _form(mdp: FiniteMDP, reward: Array, canonicaliser: str, order: str) -> _Form:
    xp = array_namespace(reward)
    if canonicaliser in _SAME_FOR_NEXT_STATES:
        table = _SAME_FOR_NEXT_STATES[canonicaliser](mdp, reward)
        peak = xp.max(mdp.continuation, axis=-1)
        return _Form(_flat(table, 2), mdp.states, None, _flat(peak, 2))
    if canonicaliser == "minimal_potential":
        table = minimal_potential_canonical(mdp, reward, order)
    else:
        table = CANONICALISERS[canonicaliser](mdp, reward)
    probability = _flat(mdp.continuation, 3)
    return _Form(_flat(table, 3), 1, probability, probability)


def _normalising_factors(form: _Form, largest: Array, normalisers: Sequence[str]) -> list[Array]:
    """What to multiply a form by for each normaliser, `(*batch)`; 0 for trivial rewards, as in `standardise`."""
    xp = array_namespace(form.table)
    orders = ["inf" if order == "none" else order for order in normalisers]
    sizes = _norms(form, xp.abs(form.table), orders)
    full = _norms(form, xp.ones_like(form.peak), orders)
    factors = []
    for order, size, full_size in zip(normalisers, sizes, full, strict=True):
        trivial = size <= TRIVIAL * largest * full_size
        factor = xp.ones_like(size) if order == "none" else 1 / xp.where(trivial, xp.ones_like(size), size)
        factors.append(xp.where(trivial, xp.zeros_like(size), factor))
    return factors


def _norms(form: _Form, size: Array, orders: Sequence[str]) -> list[Array]:
    """Norms `(*batch)` of a table of absolute entries `(*batch, K)` laid out as `form`, sharing their common parts."""
    xp = array_namespace(size)
    weighted = size if form.probability is None else form.probability * size
    measures = {
        "1": lambda: form.copies * xp.sum(size, axis=-1),
        "2": lambda: xp.sqrt(form.copies * xp.linalg.vecdot(size, size)),
        "inf": lambda: xp.max(size, axis=-1),
        "weighted_1": lambda: xp.sum(weighted, axis=-1),
        "weighted_2": lambda: xp.sqrt(xp.linalg.vecdot(weighted, size)),
        "weighted_inf": lambda: xp.max(weighted if form.probability is form.peak else form.peak * size, axis=-1),
    }
    return [measures[order]() for order in orders]


def _exists(canonicalisers: Sequence[str], normalisers: Sequence[str]) -> np.ndarray:
    """Which combinations are defined, `(canonicalisers, normalisers)`."""
    return np.array(
        [[(form, order) != ("minimal_potential", "none") for order in normalisers] for form in canonicalisers]
    )


def _flat(table: Array, trailing: int) -> Array:
    return array_namespace(table).reshape(table, (*table.shape[:-trailing], -1))


def _chunks(batch: tuple[int, ...], entries: int) -> Iterator[tuple[slice, ...]]:
    """Slices of the batch that together cover it, each with few enough pairs for tables of `entries` entries."""
    room = max(1, _CHUNK_ENTRIES // entries)
    steps = []
    for length in reversed(batch):  # trailing dimensions stay whole while they fit: what they share is computed once
        steps.append(max(1, min(length, room)))
        room = max(1, room // max(length, 1))
    starts = (range(0, length, step) for length, step in zip(batch, reversed(steps), strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + step) for start, step in zip(corner, reversed(steps), strict=True))


def _narrow(index: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The index for an array that broadcasts: whole along dimensions of length 1."""
    return tuple(part if length != 1 else slice(None) for part, length in zip(index, shape, strict=True))
