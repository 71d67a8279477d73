import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.dynamics.candidates import Candidates, EnsembleCandidates, Prediction
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.filtered_model import FilteredModel, PlainModel
from rewardlab.dynamics.rollouts import rollout
from tests.dynamics.toy_models import COLUMNS, LinearModel, Walk, never, same, still


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def starts(rows=30, size=2, seed=7):
    return torch.randn(rows, size, generator=seeded(seed), dtype=torch.float64)


def likely(observations, actions, following):
    return torch.exp(-following.square().sum(-1))


def far(observations, actions, following):
    return following.abs().amax(-1) > 1.2


def step_policy(observations):
    return 0.1 * torch.sign(observations)


def walked(truncation, *, threshold=None, minimal_length=0, horizon=4, begin=(0.0, 2.0, 5.0), reward=None):
    """Three walkers that go 1 on at each step; the task ends at 7; the dynamics reward is 4 - s'."""
    model = FilteredModel(
        Walk(1.0),
        reward or (lambda o, a, n: 4 - n[..., 0]),
        selection="argmax",
        threshold=threshold,
        minimal_length=minimal_length,
        termination=lambda o, a, n: n[:, 0] >= 7,
    )
    begin = torch.tensor(begin)[:, None]
    return rollout(model, still, begin, horizon=horizon, truncation=truncation, generator=seeded())


def rows_of(result):
    return sorted(
        zip(
            result.starts.tolist(),
            result.observations[:, 0].tolist(),
            result.next_observations[:, 0].tolist(),
            result.rewards.tolist(),
            result.terminals.tolist(),
            strict=True,
        )
    )


def test_a_plain_walk_by_hand():
    result = walked("terminal")
    assert result.lengths.tolist() == [4, 4, 2]
    assert rows_of(result) == [
        (0, 0, 1, 10, False), (0, 1, 2, 20, False), (0, 2, 3, 30, False), (0, 3, 4, 40, False),
        (1, 2, 3, 30, False), (1, 3, 4, 40, False), (1, 4, 5, 50, False), (1, 5, 6, 60, False),
        (2, 5, 6, 60, False), (2, 6, 7, 70, True),
    ]  # fmt: skip
    assert result.starts.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 0, 1]  # step after step
    assert not result.truncated.any()
    assert result.report == {
        "transitions": 10, "mean_length": 10 / 3, "share_terminal": 1 / 3, "share_truncated": 0.0,
        "share_survived": 2 / 3, "non_finite": 0, "mean_reward": 41.0, "mean_dynamics_reward": -0.1,
    }  # fmt: skip


def test_the_three_ways_to_truncate_by_hand():
    """Threshold 1: rejected are s' = 4 and beyond, so walkers from 0, 2 and 5 are stopped in step 4, 2 and 1."""
    kept = [(0, 0, 1, 10, False), (0, 1, 2, 20, False), (0, 2, 3, 30, False), (1, 2, 3, 30, False)]
    for truncation, mask in (("terminal", True), ("bootstrap", False)):
        result = walked(truncation, threshold=1.0)
        assert rows_of(result) == sorted([*kept, (0, 3, 4, 40, mask), (1, 3, 4, 40, mask), (2, 5, 6, 60, mask)])
        assert result.lengths.tolist() == [4, 2, 1]
        assert result.truncated.sum() == 3 and (result.next_observations[result.truncated] >= 4).all()
        assert result.report["share_truncated"] == 1 and result.report["mean_length"] == 7 / 3
    result = walked("drop", threshold=1.0)
    assert rows_of(result) == kept and result.lengths.tolist() == [3, 1, 0]
    assert not result.truncated.any() and result.report["share_truncated"] == 1


def test_a_terminal_step_is_stored_as_one_whatever_the_filter_says():
    for truncation in ("terminal", "bootstrap", "drop"):
        result = walked(truncation, threshold=9.0, begin=(6.0,))
        assert rows_of(result) == [(0, 6, 7, 70, True)]
        assert result.report["share_truncated"] == 0 and result.report["share_terminal"] == 1


def test_minimal_length_by_hand():
    result = walked("bootstrap", threshold=9.0, minimal_length=2, begin=(0.0, 1.0))
    assert result.lengths.tolist() == [3, 3]
    assert result.starts[result.truncated].tolist() == [0, 1]
    assert walked("drop", threshold=9.0, minimal_length=2, begin=(0.0, 1.0)).lengths.tolist() == [2, 2]


def test_when_all_is_dropped_nothing_is_stored():
    result = walked("drop", threshold=9.0)
    assert len(result) == 0 and result.observations.shape == (0, 1) and result.lengths.tolist() == [0, 0, 0]
    assert result.terminals.dtype == torch.bool and np.isnan(result.report["mean_reward"])


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(["terminal", "bootstrap", "drop"]), st.integers(1, 12))
def test_uniform_without_threshold_is_plain_over_whole_rollouts(seed, truncation, horizon):
    options = {"horizon": horizon, "truncation": truncation}
    models = (
        PlainModel(LinearModel(), termination=far),
        FilteredModel(LinearModel(), likely, termination=far, selection="uniform", threshold=None),
    )
    generators = [seeded(seed), seeded(seed)]
    for _ in range(2):  # the second rollout begins where the first left the stream
        results = [
            rollout(model, step_policy, starts(), generator=generator, **options)
            for model, generator in zip(models, generators, strict=True)
        ]
        assert same(*results)
        assert torch.equal(generators[0].get_state(), generators[1].get_state())


@pytest.mark.parametrize("mode", ["sampled", "means_and_samples"])
def test_so_it_is_with_an_ensemble_in_float32(mode):
    ensemble = GaussianEnsemble(3, 3, hidden=(32, 32), generator=seeded(3))
    model = EnsembleCandidates(ensemble, mode=mode)
    begin, ends = starts(200, 3).float(), lambda o, a, n: n[:, 0].abs() > 3.5
    plain = rollout(PlainModel(model, termination=ends), step_policy, begin, horizon=10, generator=seeded())
    uniform = FilteredModel(model, likely, termination=ends, selection="uniform", threshold=None)
    assert same(plain, rollout(uniform, step_policy, begin, horizon=10, generator=seeded()))
    assert plain.observations.dtype == plain.rewards.dtype == torch.float32
    assert 0.05 < plain.report["share_terminal"] < 0.9


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(["argmax", "softmax"]))
def test_every_filter_leaves_the_stream_where_the_plain_model_does(seed, kind):
    plain, filtered = seeded(seed), seeded(seed)
    over = lambda o, a, n: ~never(o, a, n)  # noqa: E731
    rollout(PlainModel(LinearModel(), termination=over), still, starts(), horizon=6, generator=plain)  # all end at once
    model = FilteredModel(LinearModel(), likely, termination=never, selection=kind, threshold=0.5)
    rollout(model, still, starts(), horizon=6, generator=filtered, truncation="drop")
    assert torch.equal(plain.get_state(), filtered.get_state())


def test_a_rollout_does_not_depend_on_the_end_of_another():
    def ends(observations, actions, following):
        return following[:, 0] > 40  # only where a row was put far away

    lonely, begin = starts(), starts()
    begin[::3] += 50.0
    models = [FilteredModel(LinearModel(), likely, termination=ends, threshold=None) for _ in range(2)]
    first, second = (
        rollout(model, still, b, horizon=5, generator=seeded())
        for model, b in zip(models, (lonely, begin), strict=True)
    )
    assert second.lengths[::3].tolist() == [1] * 10 and first.lengths.tolist() == [5] * 30
    for row in (1, 2, 29):
        for name in COLUMNS[:-2]:
            pair = [getattr(result, name)[result.starts == row] for result in (first, second)]
            assert torch.equal(*pair), (row, name)
    assert models[1].candidate_model.asked == [30, 20, 20, 20, 20]  # the dead are not stepped


def test_truncation_at_rate_q_gives_the_mean_length():
    """Rejected with probability q at each step: (1 - (1 - q)^H) / q steps, 19.882 at q = 0.05 and H = 100."""
    q, horizon, rows = 0.05, 100, 8_000

    class Coin:
        candidate_count, output_size = 1, 2

        def one(self, observations, actions, noise, index):
            return Prediction(noise[:, :1], noise[:, 1])

        def candidates(self, observations, actions, noise):
            return Candidates(noise[..., :1], noise[..., 1])

    threshold = -1.6448536269514722  # the 5 % quantile of a normal
    model = FilteredModel(
        Coin(), lambda o, a, n: n[..., 0], selection="uniform", threshold=threshold, termination=never
    )
    begin = torch.zeros(rows, 1)
    result = rollout(model, still, begin, horizon=horizon, generator=seeded(), truncation="bootstrap")
    expected = (1 - (1 - q) ** horizon) / q
    assert abs(expected - 19.882) < 1e-3
    assert abs(result.report["mean_length"] - expected) < 4 * float(result.lengths.double().std()) / rows**0.5
    dropped = rollout(model, still, begin, horizon=horizon, generator=seeded(), truncation="drop")
    share = result.report["share_truncated"]
    np.testing.assert_allclose(dropped.report["mean_length"], result.report["mean_length"] - share)
    np.testing.assert_allclose(share, 1 - (1 - q) ** horizon, atol=0.003)


@pytest.mark.parametrize(("q", "expected"), [(0.01, 63.397), (0.05, 19.882), (0.1, 9.99973)])
def test_mean_length_of_the_formula(q, expected):
    """The formula itself, against lengths counted without it."""
    survives = (1 - q) ** np.arange(100)  # at least t + 1 steps
    np.testing.assert_allclose([survives.sum(), (1 - (1 - q) ** 100) / q], expected, atol=1e-3)


@settings(max_examples=30)
@given(st.sampled_from(["terminal", "bootstrap", "drop"]), st.integers(0, 10**6), st.floats(0, 1))
def test_bookkeeping(truncation, seed, threshold):
    model = FilteredModel(LinearModel(), likely, termination=far, threshold=threshold)
    result = rollout(model, step_policy, starts(), horizon=6, generator=seeded(seed), truncation=truncation)
    assert result.lengths.sum() == len(result) and torch.equal(
        torch.bincount(result.starts, minlength=30), result.lengths
    )
    shares = [result.report[f"share_{name}"] for name in ("terminal", "truncated", "survived")]
    np.testing.assert_allclose(sum(shares) + result.report["non_finite"] / 30, 1)
    assert result.lengths.max() <= 6
    goes_on = ~(result.terminals | result.truncated)
    for row in range(30):
        mine = result.starts == row
        observations, following = result.observations[mine], result.next_observations[mine]
        assert torch.equal(following[:-1], observations[1:])  # a rollout is one path
        assert goes_on[mine][:-1].all()  # nothing follows an end
        if truncation != "drop":
            assert torch.equal(observations[0], starts()[row])
    if truncation == "terminal":
        assert (result.terminals | ~result.truncated).all()
    else:
        assert not (result.terminals & result.truncated).any()


def test_the_modes_differ_in_nothing_else():
    results = {
        t: rollout(
            FilteredModel(LinearModel(), likely, termination=far, threshold=0.3),
            step_policy, starts(), horizon=6, generator=seeded(), truncation=t,
        )
        for t in ("terminal", "bootstrap", "drop")
    }  # fmt: skip
    terminal, bootstrap, drop = results.values()
    for name in COLUMNS:
        equal = torch.equal(getattr(terminal, name), getattr(bootstrap, name))
        assert equal is (name != "terminals"), name
    cut = bootstrap.truncated
    assert cut.any() and (terminal.terminals & ~bootstrap.terminals).equal(cut)
    for name in COLUMNS[:-1]:
        assert torch.equal(getattr(bootstrap, name)[~cut], getattr(drop, name)), name


def test_a_broken_prediction_ends_its_rollout_and_is_counted():
    broken = lambda o, i: o[..., 0] > 0.8  # noqa: E731
    expected = int((starts()[:, 0] > 0.8).sum())
    assert expected > 0
    for truncation in ("terminal", "bootstrap", "drop"):
        for model in (
            PlainModel(LinearModel(broken=broken), termination=never),
            FilteredModel(LinearModel(broken=broken), likely, termination=never, threshold=None),
        ):
            result = rollout(model, still, starts(), horizon=1, generator=seeded(), truncation=truncation)
            assert result.report["non_finite"] == expected and len(result) == 30 - expected
            assert torch.isfinite(result.next_observations).all() and torch.isfinite(result.rewards).all()
            assert (result.lengths == 0).sum() == expected
            dynamics = result.report.get("mean_dynamics_reward", 0.0)
            assert np.isfinite(dynamics)


def test_a_broken_penalty_ends_its_rollout_too():
    class Unsure(LinearModel):
        def one(self, observations, actions, noise, index):
            made = super().one(observations, actions, noise, index)
            return Prediction(made.next_observations, made.rewards, observations[:, 0].sqrt())

    result = rollout(PlainModel(Unsure(), termination=never), still, starts(), horizon=1, generator=seeded())
    fine = starts()[:, 0] >= 0
    assert torch.equal(result.starts, fine.nonzero()[:, 0]) and result.report["non_finite"] == int((~fine).sum()) > 0
    np.testing.assert_allclose(result.report["mean_penalty"], starts()[fine, 0].sqrt().mean())


class Penalised(LinearModel):
    def one(self, observations, actions, noise, index):
        made = super().one(observations, actions, noise, index)
        return Prediction(made.next_observations, made.rewards, observations.abs().sum(-1))


def test_the_penalty_is_taken_off_the_reward():
    options = {"starts": starts(), "horizon": 3}
    free, less = (
        rollout(PlainModel(Penalised(), termination=never), still, generator=seeded(), penalty_weight=weight, **options)
        for weight in (0.0, 2.5)
    )
    penalties = free.observations.abs().sum(-1)
    assert torch.equal(less.rewards, free.rewards - 2.5 * penalties)
    assert torch.equal(less.next_observations, free.next_observations)
    np.testing.assert_allclose(free.report["mean_penalty"], penalties.mean())
    with pytest.raises(ValueError, match=r"penalty_weight is 1\.0, but the model gives no penalties"):
        rollout(PlainModel(LinearModel(), termination=never), still, generator=seeded(), penalty_weight=1.0, **options)


def test_same_seed_same_rollouts_and_no_global_stream():
    model = FilteredModel(LinearModel(), likely, termination=far, threshold=0.1)
    before = torch.get_rng_state()
    first, second, other = (rollout(model, still, starts(), horizon=4, generator=seeded(s)) for s in (0, 0, 1))
    assert same(first, second) and not torch.equal(first.rewards, other.rewards[: len(first)])
    assert torch.equal(before, torch.get_rng_state())


def test_bad_input_is_named(without_type_checks):
    model = PlainModel(LinearModel(), termination=never)
    run = lambda **options: rollout(  # noqa: E731
        **({"model": model, "policy": still, "starts": starts(), "horizon": 2, "generator": seeded()} | options)
    )
    bad = starts()
    bad[3, 1] = torch.nan
    for options, message in (
        ({"starts": bad}, r"starts\[3, 1\] is nan, expected finite numbers"),
        ({"starts": bad[:0]}, "starts has no rows"),
        ({"starts": bad.to("meta")}, "generator is on cpu, starts on meta; expected one device"),
        ({"horizon": 0}, "horizon is 0"),
        ({"truncation": "timeout"}, "truncation is 'timeout', expected one of 'terminal', 'bootstrap', 'drop'"),
        ({"penalty_weight": -1.0}, "penalty_weight is -1.0"),
        ({"policy": lambda o: o[:, 0]}, r"policy gave actions of shape \(30,\), expected \(30, m\)"),
        ({"policy": lambda o: o[:5]}, r"policy gave actions of shape \(5, 2\)"),
        ({"policy": lambda o: o / 0}, r"actions\[0, 0\] is -?inf, expected finite"),
    ):
        with pytest.raises(ValueError, match=message):
            run(**options)
