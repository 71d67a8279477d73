"""TRL's reward functions, and what is refused before a trainer runs."""

import math
import sys

import numpy as np
import pytest

from rewardlab.adapters.samples import completion_text
from rewardlab.adapters.trl import per_sample_reward_function, reward_functions, with_pipeline
from rewardlab.transforms import (
    Centre,
    Fixed,
    Given,
    GroupQuantile,
    LogSigmoid,
    MeanCentred,
    Pipeline,
    RunningStandardise,
    chain,
)


def length(prompt, completion, **columns):
    return float(len(completion_text(completion)))


# ---------------------------------------------------------------------------------------------- reward functions


def test_one_function_a_signal_in_order_and_by_name():
    functions = reward_functions({"b": length, "a": lambda prompt, completion, **columns: prompt == "p"})
    assert [function.__name__ for function in functions] == ["b", "a"]
    assert [function(prompts=["p", "q"], completions=["x", "yy"]) for function in functions] == [[1, 2], [1, 0]]


def test_columns_reach_the_sample_they_belong_to_and_trl_s_own_arguments_are_swallowed():
    seen = []
    (function,) = reward_functions({"right": lambda prompt, completion, **columns: seen.append(columns) or 1.0})
    function(
        prompts=["p", "q"],
        completions=["4", "5"],
        completion_ids=[[4], [5, 6]],
        answer=["4", None],
        trainer_state=object(),
        log_extra=print,
        log_metric=lambda *metric: None,
    )
    assert seen == [{"completion_ids": [4], "answer": "4"}, {"completion_ids": [5, 6], "answer": None}]


def test_conversations_come_as_they_are():
    prompts = [[{"role": "user", "content": "Hi"}]]
    completions = [[{"role": "assistant", "content": "Hello"}]]
    (function,) = reward_functions({"length": length})
    assert function(prompts=prompts, completions=completions) == [5.0]


def test_share_of_samples_that_a_signal_applies_to_is_logged():
    logged = []
    (function,) = reward_functions({"some": lambda prompt, completion, **columns: 1.0 if completion == "x" else None})
    function(prompts=["p"] * 4, completions=list("xyzx"), log_metric=lambda *metric: logged.append(metric))
    assert logged == [("reward/some/applies", 0.5)]


@pytest.mark.parametrize(
    ("value", "reward"),
    [
        (None, None),
        (math.nan, None),
        (np.float32("nan"), None),
        (1, 1.0),
        (True, 1.0),
        (np.float64(2.5), 2.5),
        (-800.0, -800.0),
    ],
)
def test_what_a_signal_may_return(value, reward):
    (function,) = reward_functions({"signal": lambda prompt, completion, **columns: value})
    assert function(prompts=["p"], completions=["c"]) == [reward]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("1.0", TypeError, r"'signal' is a str .* for sample 1 "),
        ([1.0], TypeError, r"'signal' is a list .* for sample 1 "),
        (math.inf, ValueError, r"'signal' is inf for sample 1 "),
        (-math.inf, ValueError, r"'signal' is -inf for sample 1 "),
    ],
)
def test_what_a_signal_may_not_return(value, error, message):
    for function in (
        reward_functions({"signal": lambda prompt, completion, **columns: value if completion == "b" else 0.0})[0],
        per_sample_reward_function(
            Pipeline({"signal": chain(LogSigmoid())}),
            {"signal": lambda prompt, completion, **columns: value if completion == "b" else 0.0},
        ),
    ):
        with pytest.raises(error, match=message):
            function(prompts=["p", "p"], completions=["a", "b"])


def test_no_completions_no_rewards():
    assert reward_functions({"length": length})[0](prompts=[], completions=[]) == []
    with pytest.raises(ValueError, match="the batch holds no samples"):
        per_sample_reward_function(Pipeline({"length": chain()}), {"length": length})(prompts=[], completions=[])


@pytest.mark.parametrize("column", ["prompts", "answer"])
def test_wrong_length_names_the_column(column):
    (function,) = reward_functions({"length": length})
    passed = {"prompts": ["p", "q"], "completions": ["x", "y"], "answer": [1, 2]} | {column: ["p"]}
    with pytest.raises(ValueError, match=rf"column '{column.removesuffix('s')}' has 1 values for 2 completions"):
        function(**passed)


def test_a_signal_s_own_error_says_which_sample():
    def broken(prompt, completion, **columns):
        return 1 / len(completion)

    (function,) = reward_functions({"broken": broken})
    with pytest.raises(ZeroDivisionError) as caught:
        function(prompts=["p", "p"], completions=["x", ""])
    assert "signal 'broken' for sample 1" in caught.value.__notes__[0]


# ------------------------------------------------------------------------- one reward function without a subclass


def test_pipeline_of_single_samples_is_one_function():
    pipeline = Pipeline({"good": chain(Centre(Fixed(1.0)), LogSigmoid()), "short": chain(Centre(Given()))})
    function = per_sample_reward_function(
        pipeline,
        {
            "good": lambda prompt, completion, **columns: None if completion == "?" else 1.0,
            "short": lambda prompt, completion, **columns: None if completion in "?!" else -float(len(completion)),
        },
    )
    metrics, extra = {}, {}
    rewards = function(
        prompts=["p"] * 3,
        completions=["abc", "?", "!"],
        short_reference=[-1.0, 0.0, 0.0],
        log_metric=metrics.__setitem__,
        log_extra=extra.__setitem__,
    )
    assert function.__name__ == "pipeline"
    assert rewards == [pytest.approx(-math.log(2) - 2), None, pytest.approx(-math.log(2))]
    assert metrics["reward/short/centre"] == -2
    assert metrics["reward/good/log_sigmoid"] == pytest.approx(-math.log(2))
    assert extra["reward/short/raw"] == [-3.0, None, None]


def test_a_stage_without_samples_is_not_logged():
    function = per_sample_reward_function(Pipeline({"a": chain()}), {"a": lambda prompt, completion, **columns: None})
    metrics = {}
    assert function(prompts=["p"], completions=["c"], log_metric=metrics.__setitem__) == [None]
    assert metrics == {}


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (Pipeline({"a": chain(Centre(GroupQuantile(0.85)))}), "a/centre of the pipeline need whole groups"),
        (Pipeline({"a": chain()}, advantage=MeanCentred()), "advantage/mean_centred of the pipeline need whole groups"),
        (Pipeline({"a": chain(RunningStandardise())}), "running statistics"),
        (Pipeline({"b": chain()}), r"named \['a'\], expected one for each of the pipeline's signals \['b'\]"),
    ],
)
def test_pipelines_that_need_more_than_a_sample_are_refused(pipeline, message):
    with pytest.raises(ValueError, match=message):
        per_sample_reward_function(pipeline, {"a": length})


def test_missing_reference_column_is_named():
    function = per_sample_reward_function(Pipeline({"a": chain(Centre(Given()))}), {"a": length})
    with pytest.raises(ValueError, match="expected a column 'a_reference' in the data set"):
        function(prompts=["p"], completions=["c"], answer=["x"])


# ------------------------------------------------------------------------------------------------ when TRL moves


def test_a_trainer_of_another_make_is_refused():
    class Trainer:
        def _calculate_rewards(self, inputs, prompts): ...

    with pytest.raises(RuntimeError, match=r"no _generate_and_score_completions\(inputs, ...\); rewardlab extends TRL"):
        with_pipeline(Trainer)


def test_module_has_no_other_trainers():
    import rewardlab.adapters.trl as adapter

    with pytest.raises(AttributeError, match="PipelineDPOTrainer"):
        _ = adapter.PipelineDPOTrainer


def test_without_trl_the_reward_functions_work_and_the_trainers_say_what_to_install(monkeypatch):
    import rewardlab.adapters.trl as adapter

    monkeypatch.setitem(sys.modules, "trl", None)
    monkeypatch.delitem(vars(adapter), "PipelineGRPOTrainer", raising=False)
    with pytest.raises(ImportError, match=r"PipelineGRPOTrainer needs TRL, .* pip install 'rewardlab\[trl\]'"):
        _ = adapter.PipelineGRPOTrainer
    assert adapter.reward_functions({"length": length})[0](prompts=["p"], completions=["c"]) == [1.0]
