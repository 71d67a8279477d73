"""A pipeline is its functions in order, whatever the library, the order of the batch and what is missing."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab import transforms as t
from rewardlab.transforms import (
    Centre,
    Conjunction,
    Fixed,
    Given,
    GroupMean,
    GroupQuantile,
    LogSigmoid,
    MeanCentred,
    Pipeline,
    RunningStandardise,
    WeightedSum,
    chain,
)

numbers = st.floats(-800, 800)
SAMPLES = 12
IDS = ["b", "a", "c"] * 4


@st.composite
def batches(draw):
    """Two signals with some samples absent, and their references."""
    values = draw(arrays(np.float64, (4, SAMPLES), elements=numbers))
    absent = draw(arrays(np.bool_, (2, SAMPLES)))
    helpful, harmless = np.where(absent, np.nan, values[:2])
    return {"helpful": helpful, "harmless": harmless}, {"helpful": values[2]}


def two_signals(**options):
    return Pipeline(
        {
            "helpful": chain(Centre(Given()), LogSigmoid()),
            "harmless": chain(Centre(GroupQuantile(0.85)), LogSigmoid()),
        },
        combine=Conjunction({"helpful": 1.0, "harmless": 2.0}),
        **options,
    )


def by_hand(signals, references):
    """The same by loops over groups and samples."""
    harmless, helpful = signals["harmless"], signals["helpful"]
    total = np.zeros(SAMPLES)
    for sample, name in enumerate(IDS):
        group = sorted(
            harmless[other] for other in range(SAMPLES) if IDS[other] == name and harmless[other] == harmless[other]
        )
        if helpful[sample] == helpful[sample]:
            total[sample] += -np.logaddexp(0, -(helpful[sample] - references["helpful"][sample]))
        if harmless[sample] == harmless[sample]:
            reference = group[max(math.ceil(0.85 * len(group)), 1) - 1]
            total[sample] += 2 * -np.logaddexp(0, -(harmless[sample] - reference))
        if np.isnan(helpful[sample]) and np.isnan(harmless[sample]):
            total[sample] = np.nan
    return total


@given(batches())
def test_agrees_with_loops(batch):
    signals, references = batch
    result = two_signals()(signals, group_ids=IDS, references=references)
    expected = by_hand(signals, references)
    np.testing.assert_allclose(result.rewards, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(result.present, ~np.isnan(expected))


@given(batches())
def test_advantages_are_those_of_the_combined_reward(batch):
    signals, references = batch
    for kind, function in (
        (t.MeanCentred(), t.mean_centred),
        (t.LeaveOneOut(), t.leave_one_out),
        (t.BatchStandardised(), t.batch_standardised),
    ):
        result = two_signals(advantage=kind)(signals, group_ids=IDS, references=references)
        np.testing.assert_allclose(result.advantages, function(result.rewards, IDS), atol=1e-12)
        assert (result.advantages[~result.present] == 0).all()


@given(batches(), st.permutations(range(SAMPLES)))
def test_order_of_the_batch_does_not_matter(batch, order):
    signals, references = batch
    pipeline = two_signals(advantage=MeanCentred())
    straight = pipeline(signals, group_ids=IDS, references=references)
    turned = pipeline(
        {name: values[order] for name, values in signals.items()},
        group_ids=[IDS[place] for place in order],
        references={name: values[order] for name, values in references.items()},
    )
    np.testing.assert_allclose(turned.rewards, straight.rewards[order], atol=1e-9)
    np.testing.assert_allclose(turned.advantages, straight.advantages[order], atol=1e-9)


@given(batches())
def test_torch_agrees_with_numpy(batch):
    signals, references = batch
    pipeline = two_signals(advantage=MeanCentred())
    one = pipeline(signals, group_ids=IDS, references=references)
    other = pipeline(
        {name: torch.tensor(values) for name, values in signals.items()},
        group_ids=IDS,
        references={name: torch.tensor(values) for name, values in references.items()},
    )
    assert one.stages.keys() == other.stages.keys()
    for name, values in one.stages.items():
        assert torch.is_tensor(other.stages[name])
        np.testing.assert_allclose(other.stages[name], values, rtol=1e-12, atol=1e-12)


@given(batches())
def test_no_argument_is_changed(batch):
    signals, references = batch
    for values in (*signals.values(), *references.values()):
        values.flags.writeable = False
    two_signals(advantage=MeanCentred())(signals, group_ids=IDS, references=references)


def test_an_absent_sample_is_as_if_it_were_not_there():
    pipeline = Pipeline({"a": chain(t.ZScore()), "b": chain(Centre(GroupMean()))}, advantage=t.NormaliseThenSum())
    a, b = np.array([1.0, 5.0, 2.0, 8.0]), np.array([0.0, 3.0, 1.0, 9.0])
    with_gap = pipeline({"a": [1.0, 5.0, None, 8.0], "b": [0.0, 3.0, None, 9.0]}, group_ids=[0, 0, 0, 0])
    keep = [0, 1, 3]
    without = pipeline({"a": a[keep], "b": b[keep]}, group_ids=[0, 0, 0])
    np.testing.assert_allclose(with_gap.advantages[keep], without.advantages, atol=1e-12)
    assert with_gap.advantages[2] == 0 and np.isnan(with_gap.rewards[2]) and not with_gap.present[2]


class Litter:
    """What absent samples hold must be finite, and must not matter: this checks the one and spoils the other."""

    name = "litter"

    def __call__(self, rewards, context):
        assert np.isfinite(rewards).all()
        return np.where(context.here(rewards), rewards, 1e6)


ACROSS_SAMPLES = {
    "group_mean": lambda: Centre(GroupMean()),
    "group_quantile": lambda: Centre(GroupQuantile(0.6)),
    "gaussian": lambda: Centre(GroupQuantile(0.6, "gaussian")),
    "z_score": t.ZScore,
    "min_max": t.MinMax,
    "rank": t.Rank,
    "running_standardise": RunningStandardise,
}


@pytest.mark.parametrize("stage", ACROSS_SAMPLES.values(), ids=ACROSS_SAMPLES)
@given(batches())
def test_no_stage_counts_an_absent_sample(stage, batch):
    values = batch[0]["helpful"]
    here = ~np.isnan(values)
    for place in ("signal", "after"):
        stages = chain(Litter(), stage(), Litter())
        options = {"signals": {"a": stages}} if place == "signal" else {"signals": {"a": chain()}, "after": stages}
        found = Pipeline(**options)({"a": values}, group_ids=IDS)
        np.testing.assert_array_equal(np.isnan(found.rewards), ~here)
        if here.any():
            ids = [name for name, one in zip(IDS, here, strict=True) if one]
            alone = Pipeline({"a": stage()})({"a": values[here]}, group_ids=ids)
            np.testing.assert_allclose(found.rewards[here], alone.rewards, atol=1e-12)


def test_no_reference_is_needed_where_the_signal_does_not_apply():
    pipeline = Pipeline({"a": Centre(Given())})
    found = pipeline({"a": [3.0, None]}, references={"a": [1.0, None]}).rewards
    np.testing.assert_array_equal(found, [2.0, np.nan])


def test_report_shows_each_stage_and_gaps_as_gaps():
    pipeline = Pipeline({"a": chain(Centre(Fixed(1.0)), t.Scale(2.0), Centre(Fixed(0.5)))}, after=t.ClipAbove(0.0))
    result = pipeline({"a": [3.0, None]})
    shown = {name: values.tolist()[0] for name, values in result.stages.items()}
    assert shown == {
        "a/raw": 3.0,
        "a/centre": 2.0,
        "a/scale": 4.0,
        "a/centre_2": 3.5,
        "combined": 3.5,
        "after/clip_above": 0.0,
    }
    assert all(np.isnan(values[1]) for values in result.stages.values())
    assert result.rewards[0] == 0.0
    assert result.summary() == shown


def test_a_sample_without_any_signal_has_no_reward():
    result = Pipeline({"a": chain(), "b": chain()})({"a": [1.0, None], "b": [2.0, None]})
    assert result.rewards[0] == 3.0 and np.isnan(result.rewards[1])
    assert result.summary()["combined"] == 3.0
    nothing = Pipeline({"a": chain(), "b": chain()})({"a": [None], "b": [2.0]}).summary()
    assert np.isnan(nothing["a/raw"]) and nothing["combined"] == 2.0


def test_extreme_rewards_stay_finite():
    for value in (-800.0, 800.0):
        for kind in ("centre", "sigmoid"):
            stages = chain(LogSigmoid()) if kind == "centre" else chain(t.Sigmoid())
            result = Pipeline({"a": stages}, advantage=MeanCentred())({"a": [value, 0.0]}, group_ids=[0, 0])
            assert np.isfinite(result.rewards).all() and np.isfinite(result.advantages).all()
    assert Pipeline({"a": LogSigmoid()})({"a": [-800.0]}).rewards[0] == -800.0


def test_precision_of_floats_is_kept_and_whole_numbers_become_floats():
    pipeline = Pipeline({"a": LogSigmoid()}, advantage=MeanCentred())
    single = pipeline({"a": np.array([1, 2], np.float32)}, group_ids=[0, 0])
    assert single.rewards.dtype == single.advantages.dtype == np.float32
    centred = Pipeline({"a": Centre(Given())})({"a": np.array([1, 2], np.float32)}, references={"a": [0.5, 1]})
    assert centred.rewards.dtype == np.float32 and centred.rewards.tolist() == [0.5, 1.0]
    for whole in (np.array([0, 1]), np.array([False, True]), [0, 1], [False, True], [np.bool_(False), np.int8(1)]):
        assert pipeline({"a": whole}, group_ids=[0, 0]).rewards.dtype == np.float64


def test_what_it_needs_is_said_before_anything_runs():
    pipeline = two_signals(advantage=MeanCentred())
    assert pipeline.needs_groups and pipeline.needs_references == ("helpful",)
    assert pipeline.group_stages == ("harmless/centre", "advantage/mean_centred")
    assert pipeline.names == ("helpful", "harmless")
    assert not Pipeline({"a": chain(Centre(Fixed(0.0)), LogSigmoid())}).needs_groups
    assert Pipeline({"a": chain()}, after=chain(t.Scale(2.0), t.Rank())).group_stages == ("after/rank",)


def test_weights_go_by_name_not_by_order():
    weights = {"b": 10.0, "a": 1.0}
    assert (
        Pipeline({"a": chain(), "b": chain()}, combine=WeightedSum(weights))({"b": [1.0], "a": [2.0]}).rewards[0]
        == 12.0
    )


def test_each_combiner_is_its_function():
    values = {"a": np.array([-1.0, -4.0]), "b": np.array([-2.0, -0.5]), "c": np.array([-3.0, -0.1])}
    stacked = np.stack(list(values.values()))
    weights = {"a": 1.0, "b": 2.0, "c": 3.0}
    cases = [
        (t.Conjunction(weights), t.conjunction(stacked, [1.0, 2.0, 3.0])),
        (t.WeightedSum(weights), t.weighted_sum(stacked, [1.0, 2.0, 3.0])),
        (t.WeightedMean(weights), t.weighted_mean(stacked, [1.0, 2.0, 3.0])),
        (t.Minimum(), stacked.min(0)),
        (t.Median(), np.median(stacked, 0)),
        (t.SoftMinimum(0.5), t.soft_minimum(stacked, 0.5)),
    ]
    for combiner, expected in cases:
        result = Pipeline({name: chain() for name in values}, combine=combiner)(values)
        np.testing.assert_allclose(result.rewards, expected, atol=1e-12)
    gated = Pipeline({name: t.Sigmoid() for name in values}, combine=t.Product())(values)
    np.testing.assert_allclose(gated.rewards, np.prod(1 / (1 + np.exp(-stacked)), 0), atol=1e-12)


COMBINERS = [
    *(kind({"a": 2.0, "b": 0.5}) for kind in (Conjunction, WeightedSum, t.WeightedMean)),
    *(t.Minimum(), t.Median(), t.Product(), t.SoftMinimum(0.5)),
]


@pytest.mark.parametrize("combiner", COMBINERS, ids=lambda combiner: combiner.name)
def test_where_one_signal_applies_the_combination_is_of_that_one(combiner):
    last = (lambda: t.Sigmoid()) if combiner == t.Product() else LogSigmoid
    values = {"a": [1.0, None, -2.0, None], "b": [3.0, 0.5, None, None]}
    found = Pipeline({name: chain(last(), Litter()) for name in values}, combine=combiner)(values).rewards
    weight = (getattr(combiner, "weights", None) or {"a": 1.0, "b": 1.0}) if combiner.name != "weighted_mean" else None
    for sample, name in ((1, "b"), (2, "a")):
        alone = Pipeline({name: last()})({name: values[name]}).rewards[sample]
        assert found[sample] == pytest.approx(alone * (weight[name] if weight else 1.0), rel=1e-12)
    assert np.isnan(found[3]) and np.isfinite(found[0])


def test_each_advantage_is_its_function_with_its_convention():
    signals = {"a": np.array([1.0, 5.0, 2.0, 0.0, 0.1, 7.0]), "b": np.array([0.0, 2.0, 2.0, 9.0, -3.0, 1.0])}
    ids, stacked = [0, 0, 0, 1, 1, 1], np.stack(list(signals.values()))
    other = {"correction": 0, "epsilon": 0.5}
    cases = [
        (t.Standardised(), t.standardised(stacked.sum(0), ids)),
        (t.Standardised(**other), t.standardised(stacked.sum(0), ids, **other)),
        (t.BatchStandardised(), t.batch_standardised(stacked.sum(0), ids)),
        (t.BatchStandardised(**other), t.batch_standardised(stacked.sum(0), ids, **other)),
        (t.NormaliseThenSum(), t.normalise_then_sum(stacked, ids)),
        (t.NormaliseThenSum({"b": 3.0, "a": -1.0}, **other), t.normalise_then_sum(stacked, ids, [-1.0, 3.0], **other)),
        (MeanCentred(), t.mean_centred(stacked.sum(0), ids)),
        (t.LeaveOneOut(), t.leave_one_out(stacked.sum(0), ids)),
    ]
    for kind, expected in cases:
        result = Pipeline({"a": chain(), "b": chain()}, advantage=kind)(signals, group_ids=ids)
        np.testing.assert_allclose(result.advantages, expected, rtol=1e-12, atol=1e-12, err_msg=repr(kind))


def test_defaults():
    assert GroupQuantile() == GroupQuantile(0.85, "empirical")
    assert t.ClipAbove() == t.ClipAbove(0.0) and t.ZScore() == t.ZScore(0)
    assert RunningStandardise() == RunningStandardise(1e-8)
    for kind in (t.Standardised, t.BatchStandardised, t.NormaliseThenSum):
        assert kind() == kind(correction=1, epsilon=1e-4)


def test_the_scale_of_a_reward_model_decides_which_property_binds():
    """Of two answers, each lacking in another property: the conjunction prefers by the scale of the margins."""
    margins = {"helpful": [1.0, -1.0], "harmless": [-1.0, 1.2]}
    for factor, best in ((1.0, 1), (4.0, 0)):
        stages = {"helpful": chain(t.Scale(factor), LogSigmoid()), "harmless": chain(LogSigmoid())}
        assert Pipeline(stages, combine=Conjunction())(margins).rewards.argmax() == best


def test_each_stage_is_its_function():
    values, ids = np.array([1.0, 5.0, 2.0, -3.0, 0.0, 0.5]), [0, 0, 0, 1, 1, 1]
    rows = values.reshape(2, 3)
    cases = [
        (LogSigmoid(), t.log_sigmoid(values, 0.0)),
        (t.Sigmoid(), t.sigmoid(values, 0.0)),
        (t.ConcaveUtility(0.5), t.concave_utility(values, 0.0, risk_aversion=0.5)),
        (t.ClipAbove(0.5), np.minimum(values, 0.5)),
        (t.Scale(3.0), 3 * values),
        (t.ZScore(), t.z_score(rows).ravel()),
        (t.ZScore(correction=1), t.z_score(rows, correction=1).ravel()),
        (t.MinMax(), t.min_max(rows).ravel()),
        (t.Rank(), t.rank_reward(rows).ravel()),
        (Centre(GroupMean()), (rows - t.mean_reference(rows)).ravel()),
        (Centre(GroupQuantile(0.6)), (rows - t.quantile_reference(rows, 0.6)).ravel()),
        (Centre(GroupQuantile(0.6, "gaussian")), (rows - t.gaussian_quantile_reference(rows, 0.6)).ravel()),
        (Centre(Fixed(2.0)), values - 2.0),
    ]
    for stage, expected in cases:
        result = Pipeline({"a": stage})({"a": values}, group_ids=ids)
        np.testing.assert_allclose(result.rewards, expected, rtol=1e-12, atol=1e-12, err_msg=repr(stage))


def test_an_own_stage_needs_a_name_and_a_call():
    class Squared:
        name = "squared"

        def __call__(self, rewards, context):
            return rewards**2

    pipeline = Pipeline({"a": chain(Squared())})
    assert pipeline({"a": [3.0]}).stages["a/squared"][0] == 9.0
    with pytest.raises(TypeError, match=r"signals.a\[0\].*cannot be written as TOML"):
        pipeline.to_toml()
    with pytest.raises(TypeError, match="expected stages such as LogSigmoid"):
        chain(LogSigmoid)


def test_no_amount_of_help_makes_up_for_a_wrong_answer_in_the_readme_s_example():
    pipeline = Pipeline(
        {
            "right": chain(Centre(Fixed(0.5)), t.Scale(10.0), LogSigmoid()),
            "helpful": chain(Centre(GroupQuantile(0.85)), LogSigmoid()),
        },
        combine=Conjunction(),
        advantage=MeanCentred(),
    )
    result = pipeline({"right": [1, 0, 1, 0], "helpful": [0.0, 2.0, 1.0, 3.0]}, group_ids=[0] * 4)
    assert (result.advantages > 0).tolist() == [True, False, True, False]
