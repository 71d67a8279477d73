"""The shared study: the same table for any number of workers, and numbers equal to those of its parts."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from paper_figures.metric_study import (
    Sizes,
    column,
    correlations,
    distance_columns,
    draw_world,
    map_worlds,
    measure,
    published_correlations,
)
from paper_figures.runner import discover
from rewardlab.distance.starc import standardise, starc
from rewardlab.exact import symmetric_greedy_regret

SIZES = Sizes(worlds=4, lines=2, steps=5, states=8, actions=3)


def _measured(sizes: Sizes, rng: np.random.Generator, index: int) -> pd.DataFrame:
    return measure(draw_world(rng, sizes), ("epic", "val"), ("1", "2"), ("1", "2"))


def _table(seed: int = 0, worlds: int = SIZES.worlds, workers: int = 1) -> pd.DataFrame:
    return map_worlds(partial(_measured, SIZES), seed, worlds, workers)


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return _table()


def test_two_workers_give_the_table_of_one(pairs):
    pd.testing.assert_frame_equal(_table(workers=2), pairs, check_exact=True)


def test_the_same_seed_gives_the_same_table_and_another_another(pairs):
    pd.testing.assert_frame_equal(_table(), pairs, check_exact=True)
    assert not np.isclose(_table(seed=1).regret, pairs.regret).all()


def test_a_world_does_not_depend_on_how_many_there_are(pairs):
    pd.testing.assert_frame_equal(_table(worlds=2), pairs[pairs.world < 2], check_exact=True)


def test_worlds_differ(pairs):
    means = pairs.groupby("world")[column("val")].mean()
    assert means.nunique() == SIZES.worlds


def test_a_spawned_seed_can_be_used_twice():
    seed = np.random.SeedSequence(3).spawn(1)[0]
    first, second = (map_worlds(partial(_measured, SIZES), seed, 1) for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_rows_are_the_pairs_they_say_they_are():
    world = draw_world(np.random.default_rng(5), SIZES)
    rows = measure(world, ("epic", "val", "minimal_potential"), ("none", "2"), ("1", "inf"))
    assert column("minimal_potential", "none", "1") not in rows
    for row in rows.to_dict("records"):
        pair = world.start[row["line"], 0], world.others[row["line"], row["step"] - 1]
        assert row["regret"] == pytest.approx(float(symmetric_greedy_regret(world.mdp, *pair)), abs=1e-12)
        assert row["trivial"] == any(standardise(world.mdp, reward).trivial for reward in pair)
        for name in distance_columns(rows) if not row["trivial"] else []:
            canonicaliser, normaliser, metric = name.split("-")
            options = {"canonicaliser": canonicaliser, "normaliser": normaliser, "metric": metric}
            assert row[name] == pytest.approx(float(starc(world.mdp, *pair, **options)), rel=1e-9, abs=1e-9)


def test_clean_worlds_have_no_trivial_pair_and_published_ones_do():
    sizes = Sizes(worlds=6, lines=4, steps=2)
    share = {
        clean: map_worlds(partial(_trivial, sizes, clean), 0, sizes.worlds).trivial.mean() for clean in (False, True)
    }
    assert share[True] == 0
    assert 0 < share[False] < 0.3


def _trivial(sizes: Sizes, clean: bool, rng: np.random.Generator, index: int) -> pd.DataFrame:
    return measure(draw_world(rng, sizes, clean=clean), ("val",), ("2",), ("2",))


def test_correlations_are_pearsons_and_leads_are_differences(pairs):
    names = distance_columns(pairs)
    references = {name: column("val", *name.split("-")[1:]) for name in names}
    found = correlations(pairs, references, resamples=50)
    expected = {name: stats.pearsonr(pairs[name], pairs.regret).statistic for name in names}
    np.testing.assert_allclose(found.correlation, list(expected.values()), atol=1e-12)
    leads = [expected[references[name]] - expected[name] for name in names]
    np.testing.assert_allclose(found.lead, leads, atol=1e-12)
    assert (found.low <= found.correlation).all()
    assert (found.correlation <= found.high).all()


def test_missing_distances_count_nowhere(pairs):
    some = pairs.copy()
    some.loc[some.world == 0, column("epic")] = np.nan
    there = some[some.world > 0]
    rows = correlations(some, dict.fromkeys(distance_columns(some), column("val")), resamples=20)
    row = rows[(rows.canonicaliser == "epic") & (rows.normaliser == "2") & (rows.metric == "2")].iloc[0]
    own, val = (stats.pearsonr(there[column(name)], there.regret).statistic for name in ("epic", "val"))
    assert row.correlation == pytest.approx(own, abs=1e-12)
    assert row.lead == pytest.approx(val - own, abs=1e-12)


def test_weighting_changes_no_correlation_of_val():
    """VAL is the same for every next state, so its weighted norms are multiples of the plain ones: on dense tables."""
    world = draw_world(np.random.default_rng(0), SIZES, clean=True)
    regret = symmetric_greedy_regret(world.mdp, world.start, world.others).ravel()
    found = []
    for normaliser in ("1", "weighted_1"):
        for metric in ("1", "weighted_1"):
            distance = starc(world.mdp, world.start, world.others, normaliser=normaliser, metric=metric)
            found.append(stats.pearsonr(distance.ravel(), regret).statistic)
    assert np.ptp(found) < 1e-9


def test_the_published_table_is_whole_and_consistent():
    published = published_correlations().set_index(["canonicaliser", "normaliser", "metric"]).correlation
    assert len(published) == 222
    assert published.index.is_unique
    assert published.groupby("canonicaliser").size().to_dict() == {
        **dict.fromkeys(("none", "epic", "dard", "val_potential", "val"), 42),
        "minimal_potential": 12,
    }
    val = published["val"].unstack()
    for plain, weighted in (("1", "weighted_1"), ("2", "weighted_2")):
        np.testing.assert_allclose(val.loc[plain], val.loc[weighted], atol=1e-6)  # the same row twice
        np.testing.assert_allclose(val[plain], val[weighted], atol=1e-6)  # and the same column
    assert [round(published[name, "2", "2"], 3) for name in ("none", "epic", "dard", "val")] == [
        0.618,
        0.778,
        0.782,
        0.856,
    ]


def test_the_study_is_not_taken_for_a_figure():
    assert "metric_study" not in discover()
