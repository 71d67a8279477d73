"""The study behind the ensemble figures: distances, bookkeeping, intervals and trained reward models."""

import numpy as np
import pytest
from scipy import optimize
from scipy.special import log_expit

from paper_figures.ensemble_study import (
    CASES,
    MEMBERS,
    METHODS,
    TRAINED,
    Sizes,
    best_of_n_distance,
    curves,
    fall,
    measure,
    over_seeds,
)
from paper_figures.trained_ensembles import FEATURES, RIDGE, _bradley_terry, draw_trained

SIZES = Sizes(seeds=2, prompts=4, samples=16)


@pytest.fixture(scope="module")
def frame():
    return measure(SIZES, 0, trained=True)


def test_distances_are_the_published_divergences():
    n = np.array([1, 2, 4, 16, 64, 1000, 12_500, 60_000])
    published = [0, 0.193147, 0.636294, 1.835089, 3.174508, 5.908755, 8.433564, 10.002117]
    np.testing.assert_allclose(best_of_n_distance(n) ** 2, published, atol=1e-6)


def test_one_row_a_seed_case_method_and_n(frame):
    assert len(frame) == 2 * (len(CASES) + 1) * len(METHODS) * 5
    assert not frame.gold.isna().any()
    assert frame.win_rate.isna().equals(frame.case == TRAINED)
    assert sorted(frame.n.unique()) == SIZES.n == [1, 2, 4, 8, 16]


def test_at_1_every_method_earns_the_same_mean(frame):
    at_1 = frame[frame.n == 1].groupby(["seed", "case"]).gold
    assert (at_1.max() - at_1.min()).max() < 1e-12


def test_curves_find_each_row_again(frame):
    values = curves(frame.sample(frac=1, random_state=0).sort_values(["seed", "n"]).sort_index())
    assert values.shape == (2, len(CASES) + 1, len(METHODS), 5)
    row = frame[(frame.seed == 1) & (frame.case == "shared") & (frame.method == "pretrain min") & (frame.n == 8)]
    assert values[1, 2, list(METHODS).index("pretrain min"), 3] == row.gold.item()


def test_the_same_seed_gives_the_same_numbers_and_more_seeds_leave_the_first_alone(frame):
    more = measure(Sizes(seeds=3, prompts=4, samples=16), 0)
    first = frame[frame.case != TRAINED].reset_index(drop=True)
    np.testing.assert_array_equal(curves(more)[:2], curves(first))


def test_fall_is_counted_from_the_peak():
    np.testing.assert_array_equal(fall(np.array([[0.0, 3.0, 1.0], [0.0, 1.0, 2.0]])), [2.0, 0.0])


def test_intervals_of_a_mean_have_their_textbook_width():
    values = np.random.default_rng(0).normal(size=(60, 3))
    value, low, high = over_seeds(values)
    np.testing.assert_allclose(value, values.mean(axis=0))
    np.testing.assert_allclose(high - low, 2 * 1.96 * values.std(axis=0) / np.sqrt(60), rtol=0.15)
    alone = over_seeds(values, lambda means: means.max(axis=-1))
    assert np.shape(alone[1]) == () and alone[1] < alone[0] < alone[2]


def test_trained_heads_are_the_penalised_optimum():
    rng = np.random.default_rng(0)
    gaps, wins = rng.normal(size=(80, FEATURES)), rng.random(80) < 0.5

    def loss(head):
        return RIDGE / 2 * head @ head - log_expit(np.where(wins, 1, -1) * (gaps @ head)).sum()

    best = optimize.minimize(loss, np.zeros(FEATURES), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(_bradley_terry(gaps, wins), best.x, atol=1e-5)


def test_trained_members_know_gold_and_agree_more_within_one_pretraining():
    related = []
    for seed in range(8):
        gold, members = draw_trained(MEMBERS, prompts=5, samples=400, rng=np.random.default_rng(seed))
        np.testing.assert_allclose(members.mean(axis=-1), 0, atol=1e-12)
        np.testing.assert_allclose(members.std(axis=(1, 2)), 1)
        related.append(np.corrcoef(np.vstack([gold.reshape(1, -1), members.reshape(len(members), -1)])))
    related = np.mean(related, axis=0)
    assert (related[0, 1:] > 0.6).all()
    pretrained, finetuned = related[1, 2:6], related[1, 6:]
    assert finetuned.min() > pretrained.max()
