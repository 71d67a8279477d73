"""TOML: every pipeline comes back as it was, and what cannot be read is refused with its place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab import transforms as t
from rewardlab.transforms import Pipeline, chain, pipeline_text

unit, plain, positive = st.floats(0.01, 0.99), st.floats(-1e6, 1e6), st.floats(1e-6, 1e6)
references = st.one_of(
    st.builds(t.Fixed, plain),
    st.just(t.Given()),
    st.just(t.GroupMean()),
    st.builds(t.GroupQuantile, unit, st.sampled_from(["empirical", "gaussian"])),
)
stages = st.one_of(
    st.builds(t.Centre, references),
    st.sampled_from([t.LogSigmoid(), t.Sigmoid(), t.MinMax(), t.Rank(), t.RunningStandardise(1e-3)]),
    st.builds(t.ClipAbove, plain),
    st.builds(t.Scale, positive),
    st.builds(t.ConcaveUtility, unit),
    st.builds(t.ZScore, st.sampled_from([0, 1])),
)
chains = st.lists(stages, max_size=4).map(lambda some: chain(*some))
free = st.lists(stages.filter(lambda stage: stage != t.Centre(t.Given())), max_size=3).map(lambda some: chain(*some))
weights = st.fixed_dictionaries({"a": unit, "b b": unit}) | st.none()
combiners = st.one_of(
    *(st.builds(kind, weights) for kind in (t.Conjunction, t.WeightedSum, t.WeightedMean)),
    st.sampled_from([t.Minimum(), t.Median(), t.Product()]),
    st.builds(t.SoftMinimum, positive),
)
advantages = st.one_of(
    st.sampled_from([None, t.MeanCentred(), t.LeaveOneOut()]),
    st.builds(t.Standardised, st.sampled_from([0, 1]), positive),
    st.builds(t.BatchStandardised, st.sampled_from([0, 1]), positive),
    st.builds(t.NormaliseThenSum, weights, st.sampled_from([0, 1]), positive),
)


@pytest.mark.filterwarnings("ignore::rewardlab.transforms.PipelineWarning")
@given(chains, chains, combiners, free, advantages)
def test_round_trip(one, other, combine, after, advantage):
    pipeline = Pipeline({"a": one, "b b": other}, combine=combine, after=after, advantage=advantage)
    again = Pipeline.from_toml(pipeline.to_toml())
    assert again == pipeline
    assert set(again.names) == set(pipeline.names)


def test_every_public_kind_has_a_name_in_the_text():
    kinds = {*pipeline_text.STAGES.values(), *pipeline_text.REFERENCES.values()}
    kinds |= {*pipeline_text.COMBINERS.values(), *pipeline_text.ADVANTAGES.values()}
    public = {thing for thing in vars(t).values() if isinstance(thing, type) and hasattr(thing, "name")}
    assert public == kinds


def test_a_file_written_by_hand():
    pipeline = Pipeline.from_toml(
        """
        [signals]
        helpful = [{kind = "centre", reference = {kind = "fixed", value = 1}}, {kind = "log_sigmoid"}]
        short = []
        """
    )
    assert pipeline == Pipeline({"helpful": chain(t.Centre(t.Fixed(1)), t.LogSigmoid()), "short": chain()})
    np.testing.assert_allclose(pipeline({"helpful": [1.0], "short": [2.0]}).rewards, 2 - np.log(2))


def test_a_kind_of_your_own_under_a_name_of_the_library_is_not_written():
    class Scale(t.Scale):
        def __call__(self, rewards, context):
            return -rewards

    with pytest.raises(TypeError, match=r"signals.a\[0\]: .* is not one of this library's kinds"):
        Pipeline({"a": Scale(2.0)}).to_toml()


def test_statistics_are_state_not_text():
    pipeline = Pipeline({"a": t.RunningStandardise()})
    text = pipeline.to_toml()
    pipeline({"a": [1.0, 2.0]})
    assert pipeline.to_toml() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("signals = [", "not TOML"),
        ("", r"expected a table \[signals\]"),
        ("signals = 3", r"expected a table \[signals\]"),
        ("[signals]", r"pipeline: expected a table \[signals\] with one signal at least"),
        ("[signals]\n[extra]\n", "unknown section 'extra'"),
        ("[signals]\na = 1", "signals.a: expected a list of stages, got int"),
        ("[signals]\na = [1]", r"signals.a\[0\]: expected a table with a kind"),
        ('[signals]\na = [{kind = "sigmoidal"}]', r"signals.a\[0\]: unknown kind 'sigmoidal', expected one of centre"),
        ('[signals]\na = [{kind = "scale", by = 2}]', r"signals.a\[0\]: scale has no field 'by', expected factor"),
        ('[signals]\na = [{kind = "scale"}]', r"signals.a\[0\]: .*factor"),
        ('[signals]\na = [{kind = "scale", factor = "2"}]', r"signals.a\[0\]: factor: expected a number, got str"),
        ('[signals]\na = [{kind = "scale", factor = -2}]', r"signals.a\[0\]: factor is -2"),
        ('[signals]\na = [{kind = "centre", reference = 0}]', r"signals.a\[0\].reference: expected a table"),
        ('[signals]\na = []\n[combine]\nkind = "vote"', "combine: unknown kind 'vote'"),
        ('[signals]\na = []\n[combine]\nkind = "rank"', "combine: unknown kind 'rank', expected one of conjunction"),
        (
            '[signals]\na = []\n[combine]\nkind = "weighted_sum"\nweights = {b = 1}',
            r"weights of 'weighted_sum' are for",
        ),
        (
            '[signals]\na = []\n[combine]\nkind = "weighted_sum"\nweights = {a = "x"}',
            "combine: weights.*expected a number",
        ),
        ('[signals]\na = []\n[advantage]\nkind = "gae"', "advantage: unknown kind 'gae'"),
        (
            '[signals]\na = []\n[advantage]\nkind = "standardised"\nstatistics = 1',
            "advantage: standardised has no field",
        ),
        (
            '[signals]\na = [{kind = "running_standardise", statistics = 1}]',
            "has no field 'statistics', expected epsilon",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text, message, without_type_checks):
    with pytest.raises(ValueError, match=message):
        Pipeline.from_toml(text)
