import importlib.util
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.adapters import verl
from rewardlab.adapters.verl import RESERVED, advantage_estimator, compute_score_function
from rewardlab.transforms import (
    Centre,
    Conjunction,
    Fixed,
    Given,
    LeaveOneOut,
    LogSigmoid,
    MeanCentred,
    NormaliseThenSum,
    Pipeline,
    Standardised,
    chain,
)
from tests.adapters.trainer_calls import (
    VERL_ESTIMATOR_KEYWORDS,
    VERL_EXTRA_INFO,
    VERL_GDPO_KEYWORDS,
    VERL_REWARD_KEYWORDS,
)


def right(prompt, completion, ground_truth, **columns):
    return None if ground_truth is None else ground_truth in completion


def brief(prompt, completion, **columns):
    return -len(completion) / 10


SIGNALS = {"right": right, "brief": brief}


def call(compute_score, solution="It is 42", ground_truth="42", **extra_info):
    """Call the reward function as verl does."""
    values = ("gsm8k", solution, ground_truth, {**extra_info, **VERL_EXTRA_INFO})
    return compute_score(**dict(zip(VERL_REWARD_KEYWORDS, values, strict=True)))


def estimate(estimator, scores, ids, *, lengths=None, tokens=4, config=None, **extra):
    """Call the estimator as verl does: the score lies on the last token of each response."""
    lengths = lengths or [tokens] * len(scores)
    mask = (torch.arange(tokens) < torch.tensor(lengths)[:, None]).long()
    rewards = torch.zeros(len(scores), tokens)
    rewards[torch.arange(len(scores)), torch.tensor(lengths) - 1] = torch.tensor(scores, dtype=torch.float32)
    values = {"token_level_rewards": rewards, "response_mask": mask, "config": config or {}}
    advantages, returns = estimator(**values, index=np.array(list(ids), dtype=object), **extra)
    assert torch.equal(advantages, returns) and advantages.shape == mask.shape and advantages.dtype == torch.float32
    assert not advantages[mask == 0].any()
    return advantages


# the reward function --------------------------------------------------------------------------------------------------


def test_score_and_every_signal_are_floats_under_fixed_keys():
    compute_score = compute_score_function(SIGNALS, "right")
    answers = [call(compute_score), call(compute_score, "no"), call(compute_score, ground_truth="7")]
    assert answers[0] == {"score": 1.0, "right": 1.0, "brief": -0.8}
    assert {tuple(answer) for answer in answers} == {("score", "right", "brief")}
    assert {type(value) for answer in answers for value in answer.values()} == {float}


def test_pipeline_makes_the_score():
    pipeline = Pipeline(
        {"right": chain(Centre(Fixed(1.0)), LogSigmoid()), "brief": chain(Centre(Given()), LogSigmoid())}, Conjunction()
    )
    compute_score = compute_score_function(SIGNALS, pipeline=pipeline)
    expected = -math.log(2) - math.log1p(math.exp(0.8 - 0.5))  # margins 1 - 1 and -0.8 + 0.5
    assert call(compute_score, brief_reference=-0.5)["score"] == pytest.approx(expected, rel=1e-12)


def test_a_signal_sees_what_verl_passes_and_what_the_settings_add():
    seen = {}

    def spy(prompt, completion, **columns):
        seen.update(columns, prompt=prompt, completion=completion)
        return 0.0

    compute_score = compute_score_function({"spy": spy}, prompt_key="question")
    compute_score("gsm8k", "42", "7", {"question": "6 * 7?", "completion": "of the data set"}, strictness=3)
    assert seen == {
        "prompt": "6 * 7?", "completion": "42", "data_source": "gsm8k", "ground_truth": "7", "question": "6 * 7?",
        "strictness": 3,
    }  # fmt: skip


def test_prompt_must_be_where_it_was_said_to_be():
    with pytest.raises(
        ValueError, match=r"extra_info has no 'question', only \['num_turns', 'rollout_reward_scores'\]"
    ):
        call(compute_score_function(SIGNALS, "right", prompt_key="question"))
    assert compute_score_function(SIGNALS, "right")("source", "42", "42")["score"] == 1.0  # extra_info is optional


def test_absent_signals_are_nan_and_the_score_is_not():
    answer = call(compute_score_function(SIGNALS, "brief"), ground_truth=None)
    assert math.isnan(answer["right"]) and answer["score"] == -0.8
    with pytest.raises(ValueError, match="signal 'right' does not apply to sample 0"):
        call(compute_score_function(SIGNALS, "right"), ground_truth=None)
    answer = call(compute_score_function(SIGNALS, "right", absent_reward=math.nan), ground_truth=None)
    assert math.isnan(answer["score"])


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_names_that_verl_keeps_for_itself_are_refused(name):
    with pytest.raises(ValueError, match=f"signal '{name}' has a name that verl keeps"):
        compute_score_function({name: brief})


def test_can_be_pickled_and_loaded_from_a_file_by_name(tmp_path):
    compute_score = compute_score_function(SIGNALS, "right")
    assert pickle.loads(pickle.dumps(compute_score)) == compute_score
    lines = [line[4:] for line in verl.__doc__.split("# my_advantage.py")[0].splitlines() if line.startswith("    ")]
    (tmp_path / "my_reward.py").write_text("\n".join(lines))  # the example of the docstring
    spec = importlib.util.spec_from_file_location("custom_module", tmp_path / "my_reward.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert call(module.compute_score) == {"score": 1.0, "right": 1.0, "brief": -0.008}


# the advantage estimator ----------------------------------------------------------------------------------------------


def test_worked_advantages():
    estimator = advantage_estimator(Pipeline({"score": chain()}, advantage=LeaveOneOut()))
    got = estimate(estimator, [1.0, 5.0, 0.0, 0.0, 7.0, 1.0], list("abaaba"), lengths=[4, 1, 2, 3, 4, 4])
    each = [2 / 3, -2.0, -2 / 3, -2 / 3, 2.0, 2 / 3]  # 1, 0, 0, 1 against the mean of the three others; 5 against 7
    np.testing.assert_allclose(got[:, 0], each, rtol=1e-6)


@given(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=12), st.data())
def test_agrees_with_the_formula_of_verls_grpo(scores, data):
    ids = data.draw(st.lists(st.sampled_from("abc"), min_size=len(scores), max_size=len(scores)))
    estimator = advantage_estimator(Pipeline({"score": chain()}, advantage=Standardised(epsilon=1e-6)))
    got = estimate(estimator, scores, ids)[:, 0].numpy()
    for prompt in set(ids):
        rows = [row for row, name in enumerate(ids) if name == prompt]
        group = np.array(scores)[rows]
        spread = group.std(ddof=1) if len(group) > 1 else 0.0
        constant = spread < 1e-6 * max(1.0, abs(group.mean()))  # verl: nearly 0, or the raw score of a lone sample
        expected = np.zeros(len(rows)) if constant else (group - group.mean()) / (spread + 1e-6)
        np.testing.assert_allclose(got[rows], expected, rtol=1e-4, atol=1e-5)


def test_a_score_on_a_token_of_a_tool_counts():
    estimator = advantage_estimator(Pipeline({"score": chain()}, advantage=LeaveOneOut()))
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])  # verl's agent loop puts the score on the last token, whoever wrote it
    rewards = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, 1.0]])
    advantages, _ = estimator(rewards, mask, np.array(["a", "a"]))
    assert advantages.tolist() == [[2.0, 2.0, 0.0], [-2.0, -2.0, 0.0]]


def test_several_signals_come_with_the_batch():
    pipeline = Pipeline({"right": chain(), "brief": chain()}, advantage=NormaliseThenSum(epsilon=0.0))
    batch = {
        "uid": np.array(list("aabb"), dtype=object),
        "right": np.array([0.0, 1.0, 0.0, 1.0]),
        "brief": np.array([0.0, 100.0, 100.0, 0.0]),
    }
    extra = {"non_tensor_batch": batch, "batch": {}}
    got = estimate(advantage_estimator(pipeline), [9.0] * 4, list("aabb"), **extra)
    # +-1/sqrt(2) each: they add up in group a and cancel in b; divided by the batch's deviation sqrt((2 + 2) / 3)
    np.testing.assert_allclose(got[:, 0], [-math.sqrt(1.5), math.sqrt(1.5), 0, 0], atol=1e-6)
    assert {*VERL_ESTIMATOR_KEYWORDS, *extra} == set(VERL_GDPO_KEYWORDS)


@pytest.mark.parametrize("missing", [math.nan, None])
def test_absent_samples_get_0_and_leave_their_group_as_it_would_be_without_them(missing):
    estimator = advantage_estimator(Pipeline({"a": chain()}, advantage=MeanCentred()))
    values = np.array([1.0, missing, 4.0])
    got = estimate(estimator, [0.0] * 3, "xxx", non_tensor_batch={"a": values})
    np.testing.assert_allclose(got[:, 0], [-1.5, 0.0, 1.5])
    got = estimate(estimator, [1.0, math.nan, 4.0], "xxx")  # the same through absent_reward=nan
    np.testing.assert_allclose(got[:, 0], [-1.5, 0.0, 1.5])


def test_signals_that_verl_does_not_pass_are_an_error_that_says_what_to_do():
    estimator = advantage_estimator(Pipeline({"right": chain(), "brief": chain()}, advantage=MeanCentred()))
    batch = {"right": np.zeros(2), "uid": np.array(["a", "a"])}
    with pytest.raises(ValueError, match=r"no signal 'brief'.*'gdpo'.*trainer.use_v1=False"):
        estimate(estimator, [0.0, 1.0], "aa", non_tensor_batch=batch)


def test_a_kl_penalty_in_the_reward_is_not_lost_silently():
    estimator = advantage_estimator(Pipeline({"a": chain()}, advantage=MeanCentred()))
    config = {"use_kl_in_reward": True}
    with pytest.raises(ValueError, match="use_kl_in_reward is on"):
        estimate(estimator, [0.0, 1.0], "aa", config=config, non_tensor_batch={"a": np.zeros(2)})
    estimate(estimator, [0.0, 1.0], "aa", config=config)  # read from the rewards, the penalty counts


def test_text_among_the_signals_is_an_error():
    estimator = advantage_estimator(Pipeline({"a": chain()}, advantage=MeanCentred()))
    for values in (np.array(["1.0", "2.0"]), np.array(["1.0", 2.0], dtype=object)):
        with pytest.raises(TypeError, match="signal 'a'"):
            estimate(estimator, [0.0, 1.0], "aa", non_tensor_batch={"a": values})


@pytest.mark.parametrize(
    ("values", "ids", "error", "match"),
    [
        ([1.0, math.inf], "aa", ValueError, "signal 'a', sample 1 is inf"),
        ([1.0, -math.inf], "aa", ValueError, "signal 'a', sample 1 is -inf"),
        ([1.0, 2.0, 3.0], "aa", ValueError, "group_ids has 2 values for 3 samples"),
        ([[1.0], [2.0]], "aa", ValueError, r"signal 'a' has shape \(2, 1\)"),
    ],
)
def test_signals_of_a_batch_that_cannot_be(values, ids, error, match):
    estimator = advantage_estimator(Pipeline({"a": chain()}, advantage=MeanCentred()))
    with pytest.raises(error, match=match):
        estimate(estimator, [0.0] * len(ids), ids, non_tensor_batch={"a": np.array(values)})


def test_an_infinite_score_is_an_error():
    estimator = advantage_estimator(Pipeline({"a": chain()}, advantage=MeanCentred()))
    with pytest.raises(ValueError, match="signal 'a', sample 0 is inf"):
        estimate(estimator, [math.inf, 0.0], "aa")


def test_an_empty_batch_is_an_error():
    estimator = advantage_estimator(Pipeline({"a": chain()}, advantage=MeanCentred()))
    with pytest.raises(ValueError, match="the batch holds no samples"):
        estimator(torch.zeros(0, 3), torch.ones(0, 3), np.array([], dtype=object))


@pytest.mark.parametrize(
    ("values", "ids"),
    [([5.0, 7.0], "ab"), ([0.35] * 3, "aaa"), ([math.nan] * 2, "aa"), ([None, 3.0], "aa"), ([None, None, 3.0], "aab")],
    ids=["groups of one", "constant", "nothing present", "one of the group", "an empty group"],
)
@pytest.mark.parametrize("advantage", [MeanCentred(), Standardised(), LeaveOneOut(), NormaliseThenSum()])
def test_groups_that_have_nothing_to_compare_get_0(values, ids, advantage):
    estimator = advantage_estimator(Pipeline({"a": chain()}, advantage=advantage))
    got = estimate(estimator, [0.0] * len(ids), ids, non_tensor_batch={"a": np.array(values)})
    assert not got.any()


@pytest.mark.parametrize(
    ("value", "error"), [("1.0", TypeError), (np.zeros(1), TypeError), (math.inf, ValueError), (-math.inf, ValueError)]
)
def test_what_a_signal_may_not_return(value, error):
    signals = {"odd": lambda prompt, completion, **columns: value}
    with pytest.raises(error, match=r"signal 'odd' is .* for sample 0"):
        call(compute_score_function(signals, absent_reward=0.0))


def test_groups_are_needed():
    estimator = advantage_estimator(Pipeline({"a": chain()}, advantage=MeanCentred()))
    with pytest.raises(ValueError, match="no prompt ids"):
        estimator(torch.zeros(2, 3), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("pipeline", "match"),
    [
        (Pipeline({"a": chain()}), "no advantage"),
        (Pipeline({"a": Centre(Given())}, advantage=MeanCentred()), "references for a"),
    ],
)
def test_pipelines_that_cannot_work_are_refused_at_once(pipeline, match):
    with pytest.raises(ValueError, match=match):
        advantage_estimator(pipeline)


def test_a_module_imported_twice_registers_the_same_estimator():
    first, second = (advantage_estimator(Pipeline({"a": chain()}, advantage=LeaveOneOut())) for _ in range(2))
    assert first == second  # verl refuses a second, different function under one name


def test_importing_the_adapter_imports_neither_verl_nor_torch():
    code = "import sys, rewardlab.adapters.verl as _; print({'torch', 'verl', 'ray'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_module_has_no_other_attributes():
    with pytest.raises(AttributeError, match="no attribute 'RewardManager'"):
        _ = verl.RewardManager
