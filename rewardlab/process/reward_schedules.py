"""How large each part of a tool reward is, and how that changes as training goes on.

All are pure functions of the training step. Group-standardised advantages take the common scale out again: only the
size of one part against another can matter there.
"""

from dataclasses import dataclass

from rewardlab.checks import check_scalar

__all__ = [
    "EQUAL_SCALE",
    "ORIGINAL_SCALE",
    "RewardScale",
    "length_reward",
    "length_target",
    "linear_schedule",
    "smooth_scale",
    "two_stage_scale",
]


@dataclass(frozen=True, slots=True)
class RewardScale:
    """Lowest and highest format and correctness reward.

    Args:
        format: Format reward of a completion without and with the required tags.
        correctness: Correctness reward of calls of which nothing and everything is right.

    Raises:
        ValueError: If a range is not two finite numbers in ascending order.
        TypeError: If it is no pair of numbers.
    """

    format: tuple[float, float] = (0.0, 1.0)
    correctness: tuple[float, float] = (-3.0, 3.0)

    def __post_init__(self) -> None:
        for name in self.__slots__:
            ends = getattr(self, name)
            if not isinstance(ends, tuple) or len(ends) != 2:
                raise TypeError(f"{name}: expected a pair of numbers, got {ends!r:.60}")
            low, high = (check_scalar(f"{name}[{place}]", end) for place, end in enumerate(ends))
            if low > high:
                raise ValueError(f"{name} is {ends}, expected the lower number first")


ORIGINAL_SCALE = RewardScale()
EQUAL_SCALE = RewardScale(correctness=(-1.0, 1.0))


def linear_schedule(step: int, start: float, end: float, steps: int) -> float:
    """Value that goes from `start` at step 0 to `end` at step `steps` in a straight line, and stays there.

    Args:
        step: Training steps done, from 0.
        start: Value at step 0.
        end: Value from step `steps` on.
        steps: Steps that the change takes, at least 1.

    Raises:
        ValueError: If `step` is negative, `steps` below 1, or a value not finite.
        TypeError: If `step` or `steps` is no whole number, or a value no number.

    Example:
        >>> [linear_schedule(step, 2.0, 1.0, 150) for step in (0, 75, 150, 600)]
        [2.0, 1.5, 1.0, 1.0]
    """
    check_scalar("step", step, low=0, whole=True)
    check_scalar("steps", steps, low=1, whole=True)
    check_scalar("start", start)
    check_scalar("end", end)
    share = min(step / steps, 1.0)
    return float(start * (1 - share) + end * share)


def two_stage_scale(step: int, switch: int = 30) -> RewardScale:
    """Scale that first favours the format and then, from step `switch` on, correctness.

    Correctness is in [-1, 1] and format in [0, 1] before, [-3, 3] and [0, 0.5] after.

    Raises:
        ValueError: If `step` is negative or `switch` below 1.
        TypeError: If one is no whole number.

    Source: ToolRL (arXiv 2504.13958), section 5.2, "two stage".
    """
    check_scalar("step", step, low=0, whole=True)
    check_scalar("switch", switch, low=1, whole=True)
    return EQUAL_SCALE if step < switch else RewardScale(format=(0.0, 0.5))


def smooth_scale(step: int, steps: int = 150) -> RewardScale:
    """Scale that goes smoothly from both parts alike, [-2, 2], to format in [-1, 1] and correctness in [-3, 3].

    Raises:
        ValueError: If `step` is negative or `steps` below 1.
        TypeError: If one is no whole number.

    Source: ToolRL (arXiv 2504.13958), section 5.2, "dynamic", with the released code's 150 steps. There the lowest
        format reward, by a slip, rises twice as fast and is at -1 after 75 steps; the paper's is the one here.

    Example:
        >>> smooth_scale(75)
        RewardScale(format=(-1.5, 1.5), correctness=(-2.5, 2.5))
    """
    form, correct = linear_schedule(step, 2.0, 1.0, steps), linear_schedule(step, 2.0, 3.0, steps)
    return RewardScale((-form, form), (-correct, correct))


def length_reward(words: int, target: float = 512.0) -> float:
    """Reward in [0, 1] for the length of the reasoning: `min(words / target, 1)`.

    It pays for words, whatever they say; the paper finds no gain from it, and harm to small models.

    Args:
        words: Words of reasoning (`rewardlab.process.tool_format.thought_words`).
        target: Words for the full reward, above 0.

    Raises:
        ValueError: If `words` is negative, or `target` not above 0.
        TypeError: If `words` is no whole number, or `target` no number.

    Source: ToolRL (arXiv 2504.13958), section 5.1; the released code rounds to two decimals.

    Example:
        >>> length_reward(128), length_reward(2000)
        (0.25, 1.0)
    """
    check_scalar("words", words, low=0, whole=True)
    check_scalar("target", target, low=0, open_low=True)
    return float(min(words / target, 1.0))


def length_target(step: int) -> float:
    """Words for the full length reward at a training step: 384 at first, 640 from step 105 on.

    Raises:
        ValueError: If `step` is negative.
        TypeError: If it is no whole number.

    Source: ToolRL (arXiv 2504.13958), section 5.1; the released code lets the target grow on after step 105.
    """
    return linear_schedule(step, 384.0, 640.0, 105)
