"""Which stages undo which: a warning each, once, by name."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from rewardlab import transforms as t
from rewardlab.transforms import Centre, Fixed, GroupMean, LogSigmoid, Pipeline, PipelineWarning, chain, conflicts

good_enough = chain(Centre(Fixed(0.0)), LogSigmoid())


def warned(*arguments, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipeline = Pipeline(*arguments, **options)
        values = {name: [-1.0, -2.0] for name in pipeline.names}
        for _ in range(2):
            pipeline(values, group_ids=[0, 0])
    assert all(issubclass(warning.category, PipelineWarning) for warning in caught)
    assert [str(warning.message) for warning in caught] == conflicts(pipeline)
    return [str(warning.message).split(":")[0] for warning in caught]


@pytest.mark.parametrize("advantage", [t.Standardised(), t.NormaliseThenSum()])
def test_group_standardisation_after_log_sigmoid(advantage):
    assert warned({"help": good_enough}, advantage=advantage) == [
        f"'advantage/{advantage.name}' undoes 'help/log_sigmoid'"
    ]


def test_signals_that_do_not_saturate_hide_none_that_do():
    signals = {"length": chain(), "help": good_enough, "style": chain(t.Scale(2.0))}
    assert warned(signals, advantage=t.Standardised()) == ["'advantage/standardised' undoes 'help/log_sigmoid'"]


@pytest.mark.parametrize("saturating", [t.LogSigmoid(), t.Sigmoid(), t.ConcaveUtility(0.5), t.ClipAbove()])
@pytest.mark.parametrize("rescaling", [t.ZScore(), t.MinMax(), t.Rank()])
def test_rescaling_a_group_after_any_saturation(saturating, rescaling):
    assert warned({"help": chain(saturating, rescaling)}) == [
        f"'help/{rescaling.name}' undoes 'help/{saturating.name}'"
    ]
    assert warned({"help": chain(saturating)}, after=rescaling) == [
        f"'after/{rescaling.name}' undoes 'help/{saturating.name}'"
    ]
    assert warned({"help": chain(rescaling, saturating)}) == []


def test_centring_after_conjunction():
    both = {"help": good_enough, "harm": good_enough}
    assert warned(both, combine=t.Conjunction(), after=Centre(GroupMean())) == ["'after/centre' undoes 'conjunction'"]
    assert warned(both, combine=t.Minimum(), after=Centre(GroupMean())) == []


def test_centring_what_saturates_already():
    assert warned({"help": chain(LogSigmoid(), Centre(Fixed(1.0)))}) == ["'help/centre' undoes 'help/log_sigmoid'"]


def test_one_warning_names_all_that_a_stage_undoes():
    both = {"help": good_enough, "harm": good_enough}
    named = "'advantage/standardised' undoes 'help/log_sigmoid', 'harm/log_sigmoid'"
    assert warned(both, advantage=t.Standardised()) == [named]


def absence_warnings(*batches, names=("help", "harm"), group_ids=(0, 0, 1, 1)):
    pipeline = Pipeline({name: chain() for name in names}, advantage=t.MeanCentred())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for values in batches:
            pipeline(
                {"help": [1.0, 2.0, 3.0, 4.0], "harm": values} if len(names) > 1 else {names[0]: values},
                group_ids=list(group_ids),
            )
    return [str(warning.message).split(" applies")[0] for warning in caught]


def test_a_signal_absent_for_some_answers_of_a_prompt_is_warned_of_once():
    partly = [1.0, None, 2.0, 3.0]
    assert absence_warnings(partly, partly, partly) == ["signal 'harm'"]


def test_a_signal_absent_for_whole_prompts_or_alone_is_not_warned_of():
    assert absence_warnings([1.0, 2.0, None, None], [None] * 4, [1.0] * 4) == []
    assert absence_warnings([1.0, None, 2.0, 3.0], names=("only",)) == []  # without it there is no reward at all


@pytest.mark.parametrize("advantage", [None, t.MeanCentred(), t.LeaveOneOut(), t.BatchStandardised()])
def test_what_is_sound_is_not_warned_of(advantage):
    pipelines = [
        {"help": good_enough, "harm": good_enough},
        {"help": chain(Centre(GroupMean()), t.Scale(2.0)), "harm": chain(t.ZScore())},
    ]
    for signals in pipelines:
        assert warned(signals, advantage=advantage) == []
    assert warned({"help": chain()}, advantage=t.Standardised()) == []


def test_the_warning_points_at_the_line_that_made_the_pipeline(tmp_path):
    script = tmp_path / "training.py"
    script.write_text(
        "from rewardlab.transforms import LogSigmoid, Pipeline, Standardised\n\n"
        "Pipeline({'a': LogSigmoid()}, advantage=Standardised())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert f"{script}:3: PipelineWarning: 'advantage/standardised' undoes 'a/log_sigmoid'" in done.stderr


def test_the_warning_is_true():
    """Two groups, one hopeless and one already good: standardisation makes them push alike, the mean does not."""
    rewards, ids = np.array([-4.0, -2.0, 8.0, 10.0]), [0, 0, 1, 1]
    kept = Pipeline({"a": good_enough}, advantage=t.MeanCentred())({"a": rewards}, group_ids=ids).advantages
    with pytest.warns(PipelineWarning):
        undone = Pipeline({"a": good_enough}, advantage=t.Standardised(epsilon=0.0))(
            {"a": rewards}, group_ids=ids
        ).advantages
    assert abs(kept[3]) < 1e-3 * abs(kept[1])
    np.testing.assert_allclose(np.abs(undone), np.sqrt(0.5))
