import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.adapters.samples import SampleReward, check_signals, completion_text, score_sample, score_samples
from rewardlab.transforms import (
    Centre,
    Conjunction,
    Fixed,
    Given,
    LeaveOneOut,
    LogSigmoid,
    Pipeline,
    RunningStandardise,
    ZScore,
    chain,
)


def echo(prompt, completion, value=None, **columns):
    return value


def length(prompt, completion, **columns):
    return len(completion)


def right(prompt, completion, answer=None, **columns):
    return None if answer is None else answer in completion


def sample(**columns):
    return {"prompt": "2 + 2 =", "completion": "4", **columns}


# completion_text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ([], ""),
        ([{"role": "assistant", "content": "four"}], "four"),
        (
            [
                {"role": "assistant", "content": "Let me look.", "tool_calls": [{}]},
                {"role": "tool", "content": "the answer is 4"},
                {"role": "assistant", "content": None},
                {"role": "assistant", "content": [{"type": "text", "text": "It is "}, {"type": "text", "text": "4"}]},
            ],
            "Let me look.\nIt is 4",
        ),
        ([{"role": "assistant", "content": [{"type": "image", "image": 1}, {"type": "text", "text": "x"}]}], "x"),
    ],
)
def test_text_is_what_the_model_wrote(completion, text):
    assert completion_text(completion) == text


@pytest.mark.parametrize("completion", [["text"], [{"content": "no role"}], [{"role": "assistant", "content": 3}]])
def test_other_forms_of_completion_are_errors(completion):
    with pytest.raises(TypeError, match=r"completion\[0\]"):
        completion_text(completion)


def test_a_number_is_no_completion(without_type_checks):
    with pytest.raises(TypeError, match="expected text or a list of messages, got int"):
        completion_text(3)


# values ---------------------------------------------------------------------------------------------------------------


@given(
    st.floats(allow_infinity=False)
    | st.integers(-(10**300), 10**300)
    | st.booleans()
    | st.none()
    | st.floats(-1024, 1024, width=32).map(np.float32)
    | st.integers(-9, 9).map(np.int64)
    | st.booleans().map(np.bool_)
)
def test_numbers_become_floats_and_none_becomes_nan(value):
    (got,) = score_sample({"echo": echo}, "p", "c", value=value).values()
    assert type(got) is float
    assert math.isnan(got) if value is None or value != value else got == float(value)


@pytest.mark.parametrize("value", ["1.0", np.array(1.0), np.array([1.0]), torch.tensor(1.0), [1.0], 1j, {"score": 1.0}])
def test_anything_else_is_an_error_that_names_signal_and_sample(value):
    with pytest.raises(TypeError, match=r"signal 'echo' is a \w+ .* for sample \(prompt 'p', completion 'c'\)"):
        score_sample({"echo": echo}, "p", "c", value=value)
    with pytest.raises(TypeError, match=r"sample 1 \(prompt"):
        score_samples({"echo": echo}, [sample(value=1.0), sample(value=value)])


@pytest.mark.parametrize("value", [math.inf, -math.inf, np.float32("inf"), 10**400])
def test_an_infinite_signal_is_an_error_that_names_signal_and_sample(value):
    with pytest.raises(ValueError, match=r"signal 'echo' .* for sample 1 .*expected a finite number"):
        score_samples({"echo": echo}, [sample(value=1.0), sample(value=value)])


def test_what_a_signal_raises_is_noted_with_signal_and_sample():
    with pytest.raises(TypeError) as caught:
        score_samples({"length": length}, [sample(), sample(completion=None)])
    assert "raised by signal 'length' for sample 1" in caught.value.__notes__[0]


@given(st.lists(st.none() | st.floats(-9, 9), max_size=8))
def test_keys_are_the_same_for_every_sample(values):
    signals = {"b": echo, "a": length}
    assert all(list(score_sample(signals, "p", "c", value=value)) == ["b", "a"] for value in values)
    scores = score_samples(signals, [sample(value=value) for value in values])
    assert list(scores) == ["b", "a"] and {column.shape for column in scores.values()} == {(len(values),)}
    np.testing.assert_array_equal(scores["b"], [math.nan if value is None else value for value in values])


def test_any_column_name_will_do_but_those_of_the_core():
    assert score_sample({"n": lambda prompt, completion, **columns: len(columns)}, "p", "c", signals=1, self=2) == {
        "n": 2.0
    }


def test_samples_are_not_changed():
    samples = [sample(value=1.0)]
    score_samples({"echo": echo}, samples)
    assert samples == [sample(value=1.0)]


def test_a_sample_without_its_completion_is_an_error():
    with pytest.raises(ValueError, match=r"sample 1 has no completion, only \['prompt'\]"):
        score_samples({"echo": echo}, [sample(), {"prompt": "p"}])


async def asynchronous(prompt, completion, **columns):
    return 1.0


@pytest.mark.parametrize(
    ("signals", "error", "match"),
    [
        ([echo], TypeError, "expected a dict"),
        ({}, ValueError, "signals is empty"),
        ({1: echo}, TypeError, "names as keys, got 1"),
        ({"a": 0.5}, TypeError, "'a': expected a function, got float"),
        ({"a": asynchronous}, TypeError, "asynchronous"),
        ({"a": lambda prompt, completion: 0}, TypeError, r"'a' takes \(prompt, completion\), expected .*\*\*columns"),
    ],
)
def test_signals_are_checked_before_training_starts(signals, error, match, without_type_checks):
    with pytest.raises(error, match=match):
        check_signals(signals)


# one reward a sample --------------------------------------------------------------------------------------------------


def test_main_signal_is_the_reward():
    rewards, scores = SampleReward({"length": length, "right": right}, "right")(
        [sample(answer="4"), sample(answer="5")]
    )
    assert rewards.tolist() == [1.0, 0.0] and scores["length"].tolist() == [1.0, 1.0]
    assert SampleReward({"length": length}).main == "length"


def test_pipeline_combines_sample_by_sample():
    pipeline = Pipeline(
        {"length": chain(Centre(Given()), LogSigmoid()), "right": chain(Centre(Fixed(0.5)), LogSigmoid())},
        combine=Conjunction(),
    )
    reward = SampleReward({"right": right, "length": length}, pipeline=pipeline)
    rewards, _ = reward([sample(length_reference=0.0, answer="4"), sample(length_reference=3.0)])
    log_sigmoid = [-math.log1p(math.exp(-margin)) for margin in (1.0, 0.5, -2.0)]
    np.testing.assert_allclose(rewards, [log_sigmoid[0] + log_sigmoid[1], log_sigmoid[2]], rtol=1e-12)


def test_reward_of_a_sample_does_not_depend_on_its_neighbours():
    reward = SampleReward({"a": echo}, pipeline=Pipeline({"a": chain(Centre(Fixed(1.0)), LogSigmoid())}))
    samples = [sample(value=float(value)) for value in range(5)]
    np.testing.assert_array_equal(reward(samples)[0], [reward([one])[0][0] for one in samples])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({}, "main is None, expected the signal that is the reward, one of 'a', 'b'"),
        ({"main": "c"}, "main is 'c'"),
        ({"main": "a", "pipeline": Pipeline({"a": chain(), "b": chain()})}, "expected one of the two"),
        ({"pipeline": Pipeline({"a": chain()})}, r"the pipeline is for \['a'\], but the signals are \['a', 'b'\]"),
        ({"pipeline": Pipeline({"a": ZScore(), "b": chain()})}, "'a/z_score' compares the samples of a group"),
        (
            {"pipeline": Pipeline({"a": chain(), "b": chain()}, advantage=LeaveOneOut())},
            "'advantage/leave_one_out' compares the samples of a group",
        ),
        ({"pipeline": Pipeline({"a": RunningStandardise(), "b": chain()})}, "running statistics"),
    ],
)
def test_what_the_reward_is_must_be_clear_and_work_on_single_samples(arguments, match):
    with pytest.raises(ValueError, match=match):
        SampleReward({"a": echo, "b": length}, **arguments)


@pytest.mark.parametrize("pipeline", [None, Pipeline({"a": chain()})])
def test_a_sample_without_a_reward_is_an_error_unless_it_is_said_what_it_gets(pipeline):
    samples = [sample(value=2.0), sample(value=None)]
    with pytest.raises(ValueError, match=r"to sample 1 \(prompt '2 \+ 2 ='.*absent_reward"):
        SampleReward({"a": echo}, pipeline=pipeline)(samples)
    rewards, scores = SampleReward({"a": echo}, pipeline=pipeline, absent_reward=-1.0)(samples)
    assert rewards.tolist() == [2.0, -1.0] and math.isnan(scores["a"][1])  # the signal itself stays absent


@pytest.mark.parametrize(("columns", "match"), [({}, "no column 'a_reference'"), ({"a_reference": math.inf}, "is inf")])
def test_references_are_checked(columns, match):
    reward = SampleReward({"a": echo}, pipeline=Pipeline({"a": Centre(Given())}))
    with pytest.raises(ValueError, match=match):
        reward([sample(value=1.0, **columns)])


def test_survives_pickling():
    reward = SampleReward({"length": length}, pipeline=Pipeline({"length": LogSigmoid()}))
    assert pickle.loads(pickle.dumps(reward)) == reward


def test_importing_the_core_imports_no_framework():
    code = "import sys, rewardlab.adapters.samples as _; print({'torch', 'trl', 'verl', 'ray'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (lambda completions, **columns: 1.0, "a trainer's form for batches; a signal takes one sample"),
        (lambda prompts, completions, **columns: 1.0, "a trainer's form for batches"),
        (lambda completion, **columns: 1.0, r"expected \(prompt, completion, \*\*columns\)"),
        (lambda **columns: 1.0, r"expected \(prompt, completion, \*\*columns\)"),
    ],
)
def test_a_function_that_cannot_take_one_sample_is_refused_before_training(signal, message):
    with pytest.raises(TypeError, match=message):
        check_signals({"helpful": signal})


def test_a_function_that_takes_anything_may_be_a_signal():
    check_signals(
        {"any": lambda *arguments, **columns: 1.0, "named": lambda prompt, completion, answer, **columns: 1.0}
    )
