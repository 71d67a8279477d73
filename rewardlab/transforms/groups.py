"""Which samples answer the same prompt: sums, means and order statistics within each group."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from array_api_compat import device
from jaxtyping import Bool, Float, Int

from rewardlab.arrays import Array, array_namespace, is_array, is_floating, is_torch, to_numpy
from rewardlab.checks import check_array, check_finite, check_same_shape

__all__ = ["Groups", "in_dtype_of", "restored", "ungrouped"]

LEAST_SPREAD = 1e-6  # a standard deviation below this, relative to the mean, is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """A partition of a batch of samples, in the library of the batch.

    Args:
        index: Group of each sample, (samples,), whole numbers from 0 to `count - 1`.
        count: Number of groups.
        sizes: Samples in each group, (count,).
    """

    index: Int[Array, " samples"]
    count: int
    sizes: Int[Array, " groups"]

    @classmethod
    def from_ids(cls, group_ids: Sequence | Array, *, like: Array) -> "Groups":
        """Groups of samples with equal ids, numbered by first appearance where ids are Python objects, else sorted.

        Args:
            group_ids: One id a sample: whole numbers, or any hashables (verl sends text). The order of the batch is
                free.
            like: The batch (..., samples) that will be grouped; the groups live in its library and on its device.

        Raises:
            TypeError: If `group_ids` is an array of anything but whole numbers or text, or a list of tensors.
            ValueError: If there are as many ids as there are not samples, or the batch is empty.
        """
        samples = like.shape[-1]
        if samples == 0:
            raise ValueError("the batch holds no samples, expected at least one")
        if not is_array(group_ids):
            if isinstance(group_ids, str) or not isinstance(group_ids, Sequence):
                raise TypeError(f"group_ids: expected a sequence with one id a sample, got {type(group_ids).__name__}")
            if len(group_ids) and is_torch(group_ids[0]):
                raise TypeError("group_ids holds tensors, each equal to itself alone; give one tensor or plain numbers")
            number: dict = {}
            index = np.fromiter((number.setdefault(name, len(number)) for name in group_ids), np.int64, len(group_ids))
            count = len(number)
            if None in number:
                raise ValueError(f"group_ids[{list(group_ids).index(None)}] is None, expected the id of a prompt")
        else:
            ids = to_numpy(group_ids)
            if ids.dtype.kind not in "iuUSOb" or ids.ndim != 1:
                raise TypeError(
                    f"group_ids: expected whole numbers or text of shape (samples,), got {ids.dtype} {ids.shape}"
                )
            if ids.dtype.kind == "O":
                return cls.from_ids(ids.tolist(), like=like)
            names, index = np.unique(ids, return_inverse=True)
            count = len(names)
        if len(index) != samples:
            raise ValueError(f"group_ids has {len(index)} values for {samples} samples")
        return cls._of(index, count, like)

    @classmethod
    def of_rows(cls, shape: tuple[int, ...], *, like: Array) -> "Groups":
        """Groups of a batch (..., prompts, samples) laid out flat, each row one group."""
        if not shape or 0 in shape:
            raise ValueError(f"rewards have shape {tuple(shape)}, expected (prompts, samples) with at least one sample")
        rows = prod(shape[:-1])
        return cls._of(np.repeat(np.arange(rows), shape[-1]), rows, like)

    @classmethod
    def _of(cls, index: np.ndarray, count: int, like: Array) -> "Groups":
        xp = array_namespace(like)
        sizes = np.bincount(index, minlength=count)
        return cls(xp.asarray(index, device=device(like)), count, xp.asarray(sizes, device=device(like)))

    def sum(self, values: Float[Array, "*batch samples"]) -> Float[Array, "*batch groups"]:
        """Sum of each group."""
        if is_torch(values):
            return values.new_zeros((*values.shape[:-1], self.count)).index_add(-1, self.index, values)
        rows = values.reshape(-1, values.shape[-1])
        sums = [np.bincount(self.index, weights=row, minlength=self.count) for row in rows]
        return np.stack(sums).reshape(*values.shape[:-1], self.count)

    def mean(
        self, values: Float[Array, "*batch samples"], present: Bool[Array, "*batch samples"]
    ) -> Float[Array, "*batch groups"]:
        """Mean over the present samples of each group; 0 where a group has none."""
        xp = array_namespace(values)
        number = self.sum(xp.astype(present, values.dtype))
        total = self.sum(xp.where(present, values, xp.zeros_like(values)))
        return total / xp.maximum(number, xp.ones_like(number))

    def deviation(
        self, values: Float[Array, "*batch samples"], present: Bool[Array, "*batch samples"], *, correction: int
    ) -> tuple[Float[Array, "*batch samples"], Float[Array, "*batch groups"]]:
        """Each sample's deviation from its group's mean, and each group's standard deviation, in two passes.

        The two passes and the exact zeros matter: the one-pass formula leaves rounding behind in a constant group,
        which a division would blow up into an advantage of thousands.

        Args:
            values: Finite numbers; absent samples may hold anything finite.
            present: Which samples count.
            correction: 1 for the sample, 0 for the population standard deviation.

        Returns:
            (deviation, exactly 0 for absent samples and in constant groups; standard deviation, exactly 0 in groups
            of one present sample and in groups whose spread is rounding: below 1e-6 of max(1, |mean|)).
        """
        xp = array_namespace(values)
        zero = xp.zeros_like(values)
        mean = self.mean(values, present)
        deviation = xp.where(present, values - self.spread(mean), zero)
        number = self.sum(xp.astype(present, values.dtype))
        variance = self.sum(deviation * deviation) / xp.maximum(number - correction, xp.ones_like(number))
        deviation_of_group = xp.sqrt(variance)
        least = LEAST_SPREAD * xp.maximum(xp.abs(mean), xp.ones_like(mean))
        varies = (deviation_of_group >= least) & (number > 1)
        return (
            xp.where(self.spread(varies), deviation, zero),
            xp.where(varies, deviation_of_group, xp.zeros_like(deviation_of_group)),
        )

    def order_statistic(
        self, values: Float[Array, "*batch samples"], present: Bool[Array, "*batch samples"], level: float
    ) -> Float[Array, "*batch groups"]:
        """The ceil(level x n)-th smallest of each group's n present samples; NaN where a group has none."""
        xp = array_namespace(values)
        last = xp.where(present, values, xp.full_like(values, float("inf")))
        by_value = xp.argsort(last, axis=-1, stable=True)
        groups = xp.take(self.index, xp.reshape(by_value, (-1,)), axis=0)
        groups = xp.reshape(groups, by_value.shape)
        by_group = xp.argsort(groups, axis=-1, stable=True)
        order = xp.take_along_axis(by_value, by_group, axis=-1)
        ascending = xp.take_along_axis(last, order, axis=-1)  # group after group, absent samples last in each
        number = self.sum(xp.astype(present, values.dtype))
        rank = xp.astype(xp.ceil(level * number - 1e-9), xp.int64)  # .85 * 20 is 17, whatever rounding says
        start = xp.cumulative_sum(self.sizes) - self.sizes
        place = start + xp.clip(rank, 1, None) - 1
        found = xp.take_along_axis(ascending, xp.broadcast_to(place, rank.shape), axis=-1)
        return xp.where(number > 0, found, xp.full_like(found, float("nan")))

    def spread(self, of_groups: Array) -> Array:
        """Hand each sample its group's value: (*batch, groups) -> (*batch, samples)."""
        return array_namespace(of_groups).take(of_groups, self.index, axis=-1)


def ungrouped(
    name: str, rewards: Array, group_ids: "Sequence | Array | Groups | None", present: Array | None
) -> tuple[Array, Groups, Array]:
    """Lay a batch out flat: (values in float64, groups, which samples are present), checked.

    Args:
        name: What to call the batch in messages.
        rewards: (samples,) with ids, or (prompts, samples) without.
        group_ids: One id a sample, groups made of them before, or None where each row is a group.
        present: Which samples count, of the shape of `rewards`, or None for all but NaN.

    Raises:
        ValueError: If a present reward is NaN or infinite, or shapes disagree.
    """
    xp = array_namespace(check_array(name, rewards))
    values = xp.astype(rewards, xp.float64, copy=False)
    if present is None:
        present = ~xp.isnan(values)
    else:
        check_same_shape("present", check_array("present", present), name, rewards)
        present = xp.astype(present, xp.bool, copy=False)
    if group_ids is None:
        groups = Groups.of_rows(values.shape, like=values)
        values, present = (xp.reshape(part, (-1,)) for part in (values, present))
    else:
        if values.ndim != 1:
            raise ValueError(
                f"{name} has shape {tuple(values.shape)}, expected (samples,) where group_ids are given; "
                f"leave them out where each row of (prompts, samples) is a group"
            )
        groups = group_ids if isinstance(group_ids, Groups) else Groups.from_ids(group_ids, like=values)
        if tuple(groups.index.shape) != tuple(values.shape):
            raise ValueError(f"{name} has {values.shape[0]} samples, the groups {groups.index.shape[0]}")
    values = xp.where(present, values, xp.zeros_like(values))
    return check_finite(name, values), groups, present


def restored(values: Array, rewards: Array) -> Array:
    """Values laid out flat in the shape and dtype of `rewards`; see `in_dtype_of`."""
    return in_dtype_of(array_namespace(rewards).reshape(values, rewards.shape), rewards)


def in_dtype_of(values: Array, rewards: Array) -> Array:
    """Values in the dtype of `rewards`, or as they are where `rewards` holds integers: no fraction is cut."""
    xp = array_namespace(rewards)
    return xp.astype(values, rewards.dtype, copy=False) if is_floating(rewards) else values
