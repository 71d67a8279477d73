"""Labels of steps from rollouts: a prefix is as good as the share of its completions that end right.

The label of a step is an estimate of the policy's chance of success from there, and not of whether the step is right:
a wrong step that the policy mends is labelled right, a right step before a hard one may be labelled wrong.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from rewardlab.arrays import Array, array_namespace, as_float64, is_array, to_numpy
from rewardlab.checks import as_generator, check_array, check_scalar
from rewardlab.process.tasks import STEP_LIMIT, Policy, State, Step, StepTask, check_step_task, checked_verdict, rollout

__all__ = ["RolloutLabels", "expected_hard_label", "label_prefixes", "soft_label_variance", "solution_prefixes"]


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+>")


@dataclass(frozen=True, slots=True, eq=False)
class RolloutLabels:
    """What rollouts say of prefixes, one value for each.

    Args:
        soft: Share of the rollouts that ended right, in [0, 1].
        hard: Whether any did.
        standard_error: Of the soft label, from the unbiased estimate of its variance; NaN after a single rollout,
            which says nothing of it, and 0 where all rollouts agree or the prefix had ended.
        right: How many rollouts ended right; undecided ones did not.
        rollouts: How many there were; 0 for a prefix that had ended, whose answer was looked at instead.
    """

    soft: Float[np.ndarray, " prefixes"]
    hard: Bool[np.ndarray, " prefixes"]
    standard_error: Float[np.ndarray, " prefixes"]
    right: Int[np.ndarray, " prefixes"]
    rollouts: Int[np.ndarray, " prefixes"]


def solution_prefixes(task: StepTask, steps: Sequence[Step]) -> tuple[State, ...]:
    """The states after each step of a solution, the first step's first: what `label_prefixes` labels.

    Raises:
        ValueError: If the episode ends before the last step.
    """
    states = [task.start()]
    for place, step in enumerate(steps):
        if not len(task.legal_steps(states[-1])):
            raise ValueError(f"steps[{place}] comes after the end of the episode")
        states.append(task.apply(states[-1], step))
    return tuple(states[1:])


def label_prefixes(
    task: StepTask,
    prefixes: Sequence[State],
    policy: Policy,
    rng: int | np.random.Generator,
    *,
    rollouts: int = 8,
    limit: int = STEP_LIMIT,
) -> RolloutLabels:
    """Label prefixes by finishing each of them `rollouts` times.

    Each prefix has its own stream of random numbers, made from the seed and the prefix: its label does not depend on
    which other prefixes are labelled, nor on their order, and equal prefixes are rolled out once.

    Args:
        task: What is to be solved; `verify` of an ended state says whether the answer is right.
        prefixes: States to label, each with a `repr` that tells what it holds. One that has ended is not rolled out.
        policy: The completer: from a state to the probabilities of its legal steps, in their order.
        rng: A seed, or a generator of which one number is drawn.
        rollouts: Completions of each prefix, at least 1; 8 in Math-Shepherd.
        limit: The most steps of a rollout.

    Raises:
        TypeError: If the task is no `StepTask`, or a prefix is not hashable or has no `repr` of its own.
        ValueError: If `rollouts` is below 1, the policy gives no distribution, or the task does not end.

    Source: Math-Shepherd (arXiv 2312.08935): hard and soft estimation.

    Example:
        >>> from rewardlab.process.rollout_labels import label_prefixes
        >>> from rewardlab.process.tasks import uniform_policy
        >>> class Coins:  # two coins, right if both show heads
        ...     start = lambda self: ()
        ...     legal_steps = lambda self, state: "ht" if len(state) < 2 else ()
        ...     apply = lambda self, state, step: (*state, step)
        ...     verify = lambda self, state: 0 if len(state) < 2 else 1 if state == ("h", "h") else -1
        >>> labels = label_prefixes(Coins(), [("h",), ("t",), ("h", "h")], uniform_policy(Coins()), 0, rollouts=100)
        >>> labels.soft
        array([0.52, 0.  , 1.  ])
    """
    check_step_task(task)
    check_scalar("rollouts", rollouts, low=1, whole=True)
    seed = int(as_generator(rng).integers(2**63))
    known: dict[State, tuple[int, int]] = {}
    for prefix in prefixes:
        if prefix not in known:
            known[prefix] = _count_right(task, prefix, policy, seed, rollouts, limit)
    counts = np.array([known[prefix] for prefix in prefixes], dtype=np.int64).reshape(-1, 2)
    return _labels(counts[:, 0], counts[:, 1])


def expected_hard_label(value: float | Array, rollouts: int) -> float | Array:
    """Chance that at least one of `rollouts` completions is right: 1 - (1 - value)^rollouts.

    It saturates: with 8 rollouts a step after which one completion in five is right has a hard label of 1 five times
    in six.

    Args:
        value: True chance of success from the prefix, in [0, 1]; a number or an array.
        rollouts: At least 1.

    Returns:
        As `value`, arrays in float64; never below it, and precise for values near 0.

    Raises:
        ValueError: If a value is outside [0, 1], or `rollouts` below 1.

    Example:
        >>> round(expected_hard_label(0.05, 8), 3)
        0.337
    """
    value, number = _checked_value(value, rollouts)
    xp = array_namespace(value)
    possible = value < 1
    failing = number * xp.log1p(-xp.where(possible, value, xp.zeros_like(value)))
    return _as_given(xp.where(possible, -xp.expm1(failing), xp.ones_like(value)), value)


def soft_label_variance(value: float | Array, rollouts: int) -> float | Array:
    """Variance of the share of `rollouts` completions that are right: value (1 - value) / rollouts.

    Args:
        value: True chance of success from the prefix, in [0, 1]; a number or an array.
        rollouts: At least 1.

    Raises:
        ValueError: If a value is outside [0, 1], or `rollouts` below 1.

    Example:
        >>> soft_label_variance(0.5, 8)
        0.03125
    """
    value, number = _checked_value(value, rollouts)
    return _as_given(value * (1 - value) / number, value)


def _count_right(
    task: StepTask, prefix: State, policy: Policy, seed: int, rollouts: int, limit: int
) -> tuple[int, int]:
    """Right endings and rollouts of one prefix; an ended one counts as its own ending, with no rollout."""
    if not len(task.legal_steps(prefix)):
        return int(checked_verdict(task, prefix) == 1), 0
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=_key(prefix)))
    ends = (rollout(task, prefix, policy, rng, limit=limit).end for _ in range(rollouts))
    return sum(checked_verdict(task, end) == 1 for end in ends), rollouts


def _key(prefix: State) -> tuple[int, ...]:
    """Numbers that are the same for the same prefix in every process, which `hash` of a text is not."""
    told = repr(prefix)
    if _ADDRESS.search(told):
        raise TypeError(
            f"prefixes: the repr of a {type(prefix).__name__} tells where in memory something is: {told:.80}; expected "
            f"one that tells what it holds, from which to seed its rollouts"
        )
    digest = hashlib.blake2b(told.encode(), digest_size=16).digest()
    return tuple(np.frombuffer(digest, dtype="<u4").tolist())


def _labels(right: np.ndarray, rollouts: np.ndarray) -> RolloutLabels:
    soft = right / np.maximum(rollouts, 1)
    spread = np.sqrt(soft * (1 - soft) / np.maximum(rollouts - 1, 1))
    return RolloutLabels(soft, right > 0, np.where(rollouts == 1, np.nan, spread), right, rollouts)


def _checked_value(value: float | Array, rollouts: int) -> tuple[Array, int]:
    check_scalar("rollouts", rollouts, low=1, whole=True)
    if not is_array(value):
        return np.float64(check_scalar("value", value, low=0.0, high=1.0)), int(rollouts)
    value = as_float64(check_array("value", value))
    wrong = np.argwhere(~((to_numpy(value) >= 0) & (to_numpy(value) <= 1)))  # NaN is wrong too
    if len(wrong):
        entry = float(to_numpy(value)[tuple(wrong[0])])
        raise ValueError(f"value{wrong[0].tolist()} is {entry:g}, expected a chance in [0, 1]")
    return value, int(rollouts)


def _as_given(result: Array, value: Array) -> float | Array:
    return float(result) if isinstance(value, np.float64) else result
