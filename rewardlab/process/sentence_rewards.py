"""Rewards sentence by sentence: for a model that flags wrong sentences, and for the policy that writes them."""

from jaxtyping import Bool, Float, Num

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_scalar
from rewardlab.process.flags import check_library, checked_between, checked_flags, index_of_first
from rewardlab.process.padded_steps import as_floats, check_scores, checked_step_mask
from rewardlab.transforms.groups import in_dtype_of

__all__ = ["sentence_flag_reward", "sentence_policy_reward"]

Flags = Num[Array, "*batch sentences"] | Bool[Array, "*batch sentences"]


def sentence_flag_reward(
    faithful: Flags,
    correct: Flags,
    true_faithful: Flags,
    true_correct: Flags,
    mask: Bool[Array, "*batch sentences"] | None = None,
    *,
    faithfulness_weight: float = 0.5,
    flag_bonus: float = 1.0,
) -> Float[Array, "*batch"]:
    """What a model that labels sentences earns for a text: hits on faithfulness and correctness, more for true alarms.

    Averaged over the sentences: `w [faithful hit] + (1 - w) ([correct hit] + b [wrong sentence found out])`.

    The bonus b is against class imbalance: where one sentence in twenty is wrong, never flagging any is right 95% of
    the time. It moves the belief from which flagging pays, from 1/2 down to 1/(2 + b), 1/3 at b = 1. So it is a
    threshold, not information: the same sentences come first at any b, and where more than 1/(2 + b) of all sentences
    are wrong, flagging everything beats flagging nothing. A text with more wrong sentences is worth more, so compare
    rewards between labellings of one text only, as a group's advantage does.

    Args:
        faithful: The model's label, 1 where the sentence is supported by its source, 0 where not.
        correct: The model's label, 1 where the sentence is right, 0 where it is flagged as wrong.
        true_faithful: The true label.
        true_correct: The true label.
        mask: True where there is a sentence, the sentences first; None where all are. Padding may hold anything.
        faithfulness_weight: w, in [0, 1].
        flag_bonus: b, at least 0.

    Returns:
        Rewards in [0, 1 + (1 - w) b], one a text, in float64. 1 + (1 - w) b times the share of wrong sentences is what
        the true labels earn, and no others earn as much where w is neither 0 nor 1.

    Raises:
        TypeError: If labels are no arrays or of different libraries, or the mask is not boolean.
        ValueError: If a label is neither 0 nor 1, a text has no sentence, shapes disagree, or a weight is out of range.

    Source: TRM (arXiv 2509.25409). Reconstruction after public reviews: the two kinds of hits with weight one half and
        an extra reward for flagged wrong sentences are the paper's; the size and place of that extra were not read.

    Example:
        >>> import numpy as np
        >>> truth = np.array([[1, 1, 1, 0]])
        >>> everything_fine = np.ones((1, 4))
        >>> sentence_flag_reward(truth, everything_fine, truth, truth), sentence_flag_reward(truth, truth, truth, truth)
        (array([0.875]), array([1.125]))
    """
    check_scalar("faithfulness_weight", faithfulness_weight, low=0.0, high=1.0)
    check_scalar("flag_bonus", flag_bonus, low=0.0)
    mask = checked_step_mask(mask, correct, name="correct")
    labels = {
        "faithful": faithful,
        "correct": correct,
        "true_faithful": true_faithful,
        "true_correct": true_correct,
    }
    for name, label in labels.items():
        if tuple(check_library(name, label, "correct", correct).shape) != tuple(correct.shape):
            raise ValueError(f"{name} has shape {tuple(label.shape)}, expected that of correct {tuple(correct.shape)}")
    faithful, correct, true_faithful, true_correct = (
        checked_flags(name, label, mask) for name, label in labels.items()
    )
    xp = array_namespace(correct)
    counted = xp.ones_like(correct) if mask is None else as_float64(mask)
    number = xp.sum(counted, axis=-1)
    if bool(xp.any(number == 0)):
        raise ValueError(f"correct{index_of_first(number == 0)[0]} holds no sentence, expected at least one a text")
    faithful_hit, correct_hit = (
        as_float64(left == right) for left, right in ((faithful, true_faithful), (correct, true_correct))
    )
    alarm = (1 - correct) * (1 - true_correct)
    each = faithfulness_weight * faithful_hit + (1 - faithfulness_weight) * (correct_hit + flag_bonus * alarm)
    return xp.sum(each * counted, axis=-1) / number


def sentence_policy_reward(
    correct: Flags,
    mask: Bool[Array, "*batch sentences"] | None,
    preference: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    correctness_weight: float = 1.0,
    preference_weight: float = 2.0,
) -> Float[Array, "*batch sentences"]:
    """What a policy earns for each sentence of its answer: is it right, and is the whole answer preferred?

    The preference is the same for every sentence, so an answer that is liked makes every one of its sentences worth
    more, and each further right sentence is paid: like every sum over steps, it grows with the length. Centre against
    answers to the same question, and watch the number of sentences.

    Args:
        correct: The labelling model's verdict on each sentence, 0 or 1, or its probability of being right.
        mask: True where there is a sentence, the sentences first; None where all are.
        preference: How often the answer is preferred to a fixed other answer, in [0, 1], (*batch,): the mean over both
            orders of presentation.
        correctness_weight: Weight of the sentence's verdict, at least 0.
        preference_weight: Weight of the answer's preference, at least 0.

    Returns:
        Rewards in [0, correctness_weight + preference_weight], 0 in the padding, of the float dtype of `correct`.

    Raises:
        TypeError: If an argument is no array, they are of different libraries, or the mask is not boolean.
        ValueError: If a value is NaN or outside [0, 1], shapes disagree, the mask has a gap, or a weight is negative.

    Source: TRM (arXiv 2509.25409), weights 1 and 2. Reconstruction after public reviews; the equation was not read.

    Example:
        >>> import numpy as np
        >>> sentence_policy_reward(np.array([[1, 0, 1]]), np.array([[True, True, False]]), np.array([0.5]))
        array([[2., 1., 0.]])
    """
    check_scalar("correctness_weight", correctness_weight, low=0.0)
    check_scalar("preference_weight", preference_weight, low=0.0)
    mask = checked_step_mask(mask, correct, name="correct")
    check_scores(correct, mask, name="correct")
    verdict = as_floats(correct, mask)
    xp = array_namespace(verdict)
    check_library("preference", preference, "correct", check_array("correct", correct))
    if tuple(preference.shape) != tuple(verdict.shape[:-1]):
        raise ValueError(
            f"preference has shape {tuple(preference.shape)}, expected {tuple(verdict.shape[:-1])}: one for each answer"
        )
    liked = checked_between("preference", preference, 0, 1)
    reward = correctness_weight * as_float64(verdict) + preference_weight * liked[..., None]
    if mask is not None:
        reward = xp.where(mask, reward, xp.zeros_like(reward))
    return in_dtype_of(reward, verdict)
