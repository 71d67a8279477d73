"""The simulator: sizes, sharing and tails of errors, and the closed form that normal errors obey."""

import math

import numpy as np
import pytest
from scipy import stats

from rewardlab.audit import (
    RewardModelError,
    Seeds,
    best_of_n_gold,
    draw_scores,
    finetune_ensemble,
    gaussian_best_of_n,
    pretrain_ensemble,
)

PARTS = {"shared": 0.4, "pretraining": 0.7, "finetuning": 0.5}
MEMBERS = (Seeds(0, 0), Seeds(0, 1), Seeds(1, 0), Seeds(1, 0), Seeds(2, 7))


@pytest.mark.parametrize("freedom", [math.inf, 8.0])
def test_errors_have_the_asked_covariance(freedom):
    drawn = draw_scores(
        RewardModelError(**PARTS, degrees_of_freedom=freedom), MEMBERS, prompts=20, samples=20_000, rng=0
    )
    errors = (drawn.members - drawn.gold).reshape(len(MEMBERS), -1)
    expected = np.full((5, 5), 0.4**2)
    for i, j in np.ndindex(5, 5):
        expected[i, j] += 0.7**2 * (MEMBERS[i].pretraining == MEMBERS[j].pretraining) + 0.5**2 * (
            MEMBERS[i] == MEMBERS[j]
        )
    np.testing.assert_allclose(np.cov(errors), expected, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(np.vstack([drawn.gold.ravel(), errors]))[0, 1:], 0, atol=0.01)
    assert drawn.gold.std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("members", [MEMBERS, pretrain_ensemble(5), finetune_ensemble(5), pretrain_ensemble(1)])
def test_variance_of_the_mean_is_what_is_drawn(members):
    error = RewardModelError(**PARTS)
    drawn = draw_scores(error, members, prompts=20, samples=20_000, rng=1)
    assert (drawn.members.mean(axis=0) - drawn.gold).var() == pytest.approx(error.variance_of_mean(members), rel=0.01)


def test_worked_variances():
    error = RewardModelError(pretraining=0.7, finetuning=0.5)
    found = [error.variance_of_mean(each) for each in (MEMBERS[:1], finetune_ensemble(5), pretrain_ensemble(5))]
    assert found == pytest.approx([0.74, 0.54, 0.148])
    assert RewardModelError(shared=0.7).variance_of_mean(pretrain_ensemble(100)) == pytest.approx(0.49)


def test_heavy_tails_are_student_t_of_the_asked_size():
    error = RewardModelError(finetuning=0.5, degrees_of_freedom=2.5)
    drawn = draw_scores(error, MEMBERS[:1], prompts=1, samples=100_000, rng=0)
    found = (drawn.members[0] - drawn.gold).ravel() / 0.5
    assert stats.kstest(found, stats.t(2.5, scale=math.sqrt(0.5 / 2.5)).cdf).pvalue > 0.01
    assert np.mean(np.abs(found) > 10) == pytest.approx(1 / 1700, rel=0.25)  # normal errors: none in 10^22


def test_a_shared_flaw_is_the_same_in_every_member():
    drawn = draw_scores(RewardModelError(shared=1.0), pretrain_ensemble(3), prompts=2, samples=50, rng=0)
    np.testing.assert_array_equal(drawn.members[0], drawn.members[2])
    assert np.abs(drawn.members[0] - drawn.gold).min() > 0


def test_without_errors_scores_are_gold():
    drawn = draw_scores(RewardModelError(), finetune_ensemble(2), prompts=2, samples=5, rng=0)
    np.testing.assert_array_equal(drawn.members, np.stack([drawn.gold] * 2))


def test_more_members_leave_the_first_as_they_were():
    error = RewardModelError(**PARTS, degrees_of_freedom=2.5)
    assert MEMBERS[2] == MEMBERS[3]  # one model asked for twice costs no draw either
    few, many = (draw_scores(error, MEMBERS[:k], prompts=3, samples=8, rng=4) for k in (3, 5))
    np.testing.assert_array_equal(few.members, many.members[:3])
    np.testing.assert_array_equal(few.gold, many.gold)


def test_the_two_ensembles_have_one_member_in_common():
    assert set(pretrain_ensemble(5)) & set(finetune_ensemble(5)) == {Seeds(0, 0)}
    assert {member.pretraining for member in finetune_ensemble(5)} == {0}
    assert len({member.pretraining for member in pretrain_ensemble(5)}) == 5


def test_normal_errors_earn_what_the_closed_form_says():
    error = RewardModelError(pretraining=0.7, finetuning=0.5)
    members = (*pretrain_ensemble(5), *finetune_ensemble(5)[1:])
    drawn = draw_scores(error, members, prompts=400, samples=512, rng=0)
    n = [1, 4, 16, 64]
    for chosen in ([0], [0, 5, 6, 7, 8], range(5)):
        gold = best_of_n_gold(drawn.members[list(chosen)].mean(axis=0), drawn.gold, n)
        noise = error.variance_of_mean([members[i] for i in chosen])
        reach = 4 * gold.std(axis=0) / math.sqrt(len(gold))
        assert (np.abs(gold.mean(axis=0) - gaussian_best_of_n(n, noise_variance=noise)) < reach).all()


BAD = {
    "negative": (lambda: RewardModelError(shared=-1), ValueError, "shared is -1"),
    "no variance": (
        lambda: RewardModelError(degrees_of_freedom=2),
        ValueError,
        r"degrees_of_freedom is 2, .* \(2, inf",
    ),
    "nan": (lambda: RewardModelError(finetuning=math.nan), ValueError, "finetuning is nan"),
    "members": (lambda: RewardModelError().variance_of_mean(()), ValueError, "members is empty"),
    "none drawn": (lambda: draw_scores(RewardModelError(), (), prompts=1, samples=1, rng=0), ValueError, "is empty"),
    "prompts": (
        lambda: draw_scores(RewardModelError(), MEMBERS, prompts=0, samples=1, rng=0),
        ValueError,
        "prompts is 0",
    ),
    "rng": (
        lambda: draw_scores(RewardModelError(), MEMBERS, prompts=1, samples=1, rng=None),
        TypeError,
        "rng: expected",
    ),
    "size": (lambda: pretrain_ensemble(0), ValueError, "size is 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error(case, without_type_checks):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
