"""What goes wrong for one sample: it is left out and counted, or stops with an error that names it."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rewards.scoring import RewardError
from llm_scale.running.distributed import World
from tests.llm_scale.rewards.answers import Lines, answers, groups
from tests.llm_scale.rewards.test_reward_path import CORRECT, process

BRIEF = """
[sources]
correct = "verifier"
brief = { kind = "brevity", target = 2 }
[pipeline.signals]
correct = []
brief = []
[pipeline.combine]
kind = "minimum"
"""


class Judge(Lines):
    """Does something else for some answers."""

    def __init__(self, **behaviour):
        self.behaviour = behaviour

    def verify(self, problem, completion):
        if completion not in self.behaviour:
            return super().verify(problem, completion)
        value = self.behaviour[completion]
        if isinstance(value, Exception):
            raise value
        return value


def by_row(**values):
    """A learned signal that gives these values by row, 1 otherwise; exceptions are raised."""

    def score(samples):
        found = [values.get(f"row{sample.row}", 1.0) for sample in samples]
        for value in found:
            if isinstance(value, Exception):
                raise value
        return found

    return score


def steps_by_row(**values):
    """Scores of steps: 0.5 each, but for some rows."""

    def score(samples, steps, ends):
        found = [
            values.get(f"row{sample.row}", [0.5] * len(texts)) for sample, texts in zip(samples, steps, strict=True)
        ]
        for value in found:
            if isinstance(value, Exception):
                raise value
        return found

    return score


def learned(text, task=None, on_failure="mask", **given):
    return RewardPath.from_toml(text, task or Lines(), given=given, on_failure=on_failure)


GIVEN = CORRECT.replace("verifier", "given")
GIVEN_BRIEF = BRIEF.replace('"verifier"', '"given"')


@pytest.mark.parametrize("value", [None, math.nan, np.float32("nan")])
def test_a_signal_that_does_not_apply_is_absent_and_counted(value):
    samples = answers("0", "1", "2", "3", group=2)
    result = learned(GIVEN, correct=by_row(row1=value))(samples, groups(samples))
    assert result.present.tolist() == [True, False, True, True]
    assert np.isnan(result.rewards[1]) and result.rewards[[0, 2, 3]].tolist() == [1, 1, 1]
    assert result.failures == []
    summary = result.summary()
    assert (summary["reward/absent"], summary["reward/failures"], summary["reward/correct/absent"]) == (1, 0, 1)
    assert summary["reward/mean"] == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (KeyError("no key"), "raised KeyError"),
        (None, "returned None"),
        (math.nan, "returned nan"),
        (2.0, "returned 2.0, expected a number in"),
    ],
)
def test_a_verifier_that_fails_takes_its_sample_out_altogether(value, reason, caplog):
    """Else an answer that breaks the verifier would be paid for its brevity."""
    samples = answers("0", "x", "1", "1", group=2)
    result = RewardPath.from_toml(BRIEF, Judge(x=value))(samples, groups(samples))
    assert result.present.tolist() == [True, False, True, True]
    assert result.rewards[[0, 2, 3]].tolist() == [1, 1, 1] and np.isnan(result.rewards[1])
    assert np.isnan(result.stages["brief/raw"][1])
    assert result.signals["brief"][1] == 1  # what was measured stays on record
    (failure,) = result.failures
    assert (failure.signal, failure.row) == ("correct", 1)
    assert reason in str(failure)
    assert "sample 1 of prompt 0 (prompt 'problem 0', completion 'x')" in str(failure)
    assert caplog.messages == [str(failure)]
    assert result.summary()["reward/failures"] == 1


def test_absence_in_a_group_is_not_in_its_statistics():
    text = BRIEF + '[pipeline.advantage]\nkind = "mean_centred"\n'
    samples = answers("0", "x", "5", "1", "1", "7", group=3)
    result = RewardPath.from_toml(text, Judge(x=ValueError("broken")))(samples, groups(samples))
    assert result.advantages.tolist() == pytest.approx([1 / 2, 0, -1 / 2, 1 / 3, 1 / 3, -2 / 3])


def test_failing_samples_raise_no_warning_of_partial_absence(recwarn):
    RewardPath.from_toml(BRIEF, Judge(x=ValueError("broken")))(answers("0", "x"), [0, 0])
    assert not recwarn.list


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(CORRECT, 0.3), (CORRECT.replace('"verifier"', '{ kind = "verifier", seconds = 0.3 }'), 50)],
)
def test_a_verifier_that_hangs_is_ended(text, seconds):
    class Hanging(Lines):
        always_ends = False

        def verify(self, problem, completion):
            if completion == "x":
                time.sleep(60)
            return super().verify(problem, completion)

    samples = answers("0", "x", "1", "1", group=2)
    began = time.monotonic()
    result = RewardPath.from_toml(text, Hanging(), seconds=seconds)(samples, groups(samples))
    assert time.monotonic() - began < 20
    assert result.present.tolist() == [True, False, True, True]
    assert "took longer than 0.3 s" in result.failures[0].reason


@pytest.mark.parametrize("error", [ValueError("bad luck"), RuntimeError("bad luck")])
def test_a_learned_signal_that_raises_is_asked_again_sample_by_sample(error):
    samples = answers("0", "1", "2")
    result = learned(GIVEN_BRIEF, correct=by_row(row1=error))(samples, [0, 0, 0])
    assert result.present.tolist() == [True, False, True]
    assert f"{type(error).__name__}: bad luck" in result.failures[0].reason


def test_a_learned_signal_with_too_few_scores_has_none():
    with pytest.raises(
        ValueError, match=r"none of the 2 samples .*\(2 samples\)\n.* 'correct' failed for sample 0.*0 sc"
    ):
        learned(GIVEN, correct=lambda samples: [])(answers("0", "1"), [0, 0])


def test_stop_names_signal_prompt_and_sample():
    samples = answers("0", "x", "1", "1", group=2)
    with pytest.raises(
        RewardError, match=r"'correct' failed for sample 1 of prompt 0 \(prompt 'problem 0', completion 'x'"
    ):
        RewardPath.from_toml(CORRECT, Judge(x=ValueError("no")), on_failure="stop")(samples, groups(samples))
    with pytest.raises(RewardError, match=r"'correct' failed for sample 2 of prompt 1 .*: KeyError: 'luck'") as caught:
        learned(GIVEN, on_failure="stop", correct=by_row(row2=KeyError("luck")))(samples, groups(samples))
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("on_failure", ["mask", "stop"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, pytest.param(10**400, id="huge")])
def test_an_infinite_value_is_an_error_that_names_prompt_and_sample(value, on_failure):
    samples = answers("0", "1", "2", "3", group=2)
    with pytest.raises(
        ValueError, match=r"'correct' is -?inf for sample 2 of prompt 1 \(prompt 'problem 1', completion '2'\)"
    ):
        learned(GIVEN, on_failure=on_failure, correct=by_row(row2=value))(samples, groups(samples))


@pytest.mark.parametrize("value", ["1", [1.0], 1j])
def test_a_value_that_is_no_number_is_an_error(value):
    with pytest.raises(TypeError, match=r"signal 'correct' is a \w+ \(.*\) for sample 1 of prompt 0"):
        learned(GIVEN, correct=by_row(row1=value))(answers("0", "1"), [0, 0])


def test_all_absent_is_an_error_that_names_the_signals():
    with pytest.raises(
        ValueError, match=r"none of the 2 samples has a reward: 'correct' apply to none, or failed \(0 samples"
    ):
        learned(GIVEN, correct=by_row(row0=None, row1=math.nan))(answers("0", "1"), [0, 0])
    with pytest.raises(
        ValueError, match=r"'correct', 'brief' apply to none, or failed \(2 samples\)\n  signal 'correct' f"
    ):
        RewardPath.from_toml(BRIEF, Judge(x=ValueError("broken")))(answers("x", "x"), [0, 0])


@dataclass(frozen=True)
class TwoProcesses(World):
    """The first or the second of two processes; the other one has passed `others`."""

    others: Any = None

    def gather(self, own):
        return [own, self.others] if self.rank == 0 else [self.others, own]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("advantage", [None, "mean_centred", "normalise_then_sum"])
def test_what_compares_samples_sees_those_of_all_processes(advantage, rank):
    text = GIVEN + (f'[pipeline.advantage]\nkind = "{advantage}"\n' if advantage else "")
    theirs = ({"correct": np.array([3.0, 5.0])}, [(1 - rank, 0), (1 - rank, 0)], np.array([True, True]), [])
    values = {"row0": 1.0, "row1": 2.0, "row2": ValueError("no")}
    world = TwoProcesses(rank, 2, others=theirs)
    own = learned(text, correct=by_row(**values))(answers("0", "1", "2"), [0, 0, 0], world=world)
    assert own.rewards[:2].tolist() == [1, 2]
    assert own.present.tolist() == [True, True, False]
    if advantage == "mean_centred":  # their group is another one, though both call it 0
        assert own.advantages.tolist() == [-0.5, 0.5, 0]
    if advantage == "normalise_then_sum":
        alone = learned(text, correct=by_row(**values))(answers("0", "1", "2"), [0, 0, 0])
        assert own.advantages[:2].tolist() != alone.advantages[:2].tolist()  # the last step is over the whole batch


@pytest.mark.parametrize("values", [{"row0": None, "row1": None}, {"row0": ValueError("no"), "row1": math.nan}])
def test_a_process_s_share_of_a_batch_may_be_absent(values):
    theirs = ({"correct": np.array([3.0, 5.0])}, [(1, 0), (1, 0)], np.array([True, True]), [])
    path, both = learned(GIVEN, correct=by_row(**values)), answers("0", "1")
    result = path(both, [0, 0], world=TwoProcesses(0, 2, others=theirs))
    assert not result.present.any() and np.isnan(result.rewards).all()
    assert result.summary()["reward/absent"] == 2
    nothing = ({"correct": np.array([math.nan])}, [(1, 0)], np.array([True]), [])
    with pytest.raises(ValueError, match="none of the 3 samples has a reward"):
        path(both, [0, 0], world=TwoProcesses(0, 2, others=nothing))


@pytest.mark.parametrize("value", [None, [0.5, None], [0.5, math.nan], ValueError("no idea")])
def test_a_step_without_score_takes_its_sample_out(value):
    samples = answers("a\n0", "b\n0", "0")
    result = learned(process(), process=steps_by_row(row1=value))(samples, [0, 0, 0])
    assert result.present.tolist() == [True, False, True]
    assert [steps.scores for steps in result.steps] == [[0.5, 0.5], [], [0.5]]
    assert result.token_step_rewards(4)[1].tolist() == [0] * 4
    assert [(failure.signal, failure.row) for failure in result.failures] == [("process", 1)]
    with pytest.raises(RewardError, match="'process' failed for sample 1 of prompt 0"):
        learned(process(), on_failure="stop", process=steps_by_row(row1=value))(samples, [0, 0, 0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0.5, 1.5], r"score of step 1 \('0'\) of sample 1 of prompt 0 .* is 1.5, expected one in \[0, 1\]"),
        ([0.5, math.inf], "score of step 1 .* is inf"),
        ([-0.1, 0.5], "score of step 0 .* is -0.1"),
        ([0.5], r"there are scores of shape \(1,\) for the 2 steps of sample 1 of prompt 0"),
    ],
)
def test_a_step_s_score_that_cannot_be_is_an_error_that_names_prompt_sample_and_step(value, message):
    with pytest.raises(ValueError, match=message):
        learned(process(), process=steps_by_row(row1=value))(answers("a\n0", "b\n0"), [0, 0])
    with pytest.raises(TypeError, match=r"score of step 0 .* is 'good', expected a number"):
        learned(process(), process=steps_by_row(row0=["good", 1.0]))(answers("a\n0"), [0])


@pytest.mark.parametrize("kind", [np.float32, np.float64, int, bool, torch.tensor, np.array])
def test_scores_of_steps_may_be_numbers_of_any_kind(kind):
    scores = kind([1.0, 0.0]) if kind in (torch.tensor, np.array) else [kind(1), kind(0)]
    result = learned(process(), process=steps_by_row(row0=scores))(answers("a\n0"), [0])
    assert result.steps[0].scores == [1.0, 0.0]


def test_answers_that_cannot_be_cut_into_steps_are_left_out():
    class Rewriting(Lines):
        def steps(self, completion):
            return ["0"] if completion == "0" else ["something else"]

    text = process(source="step_labels")
    result = RewardPath.from_toml(text, Rewriting())(answers("0", "x0"), [0, 0])
    assert result.present.tolist() == [True, False]
    assert "'something else'" in result.failures[0].reason


def test_samples_whose_verifier_failed_are_not_sent_to_the_judge_of_steps():
    rows = []

    def judge(samples, steps, ends):
        rows.extend(sample.row for sample in samples)
        return [[0.5] * len(texts) for texts in steps]

    path = RewardPath.from_toml(process(), Judge(x=ValueError("broken")), given={"process": judge})
    path(answers("0", "x", ""), [0, 0, 0])
    assert rows == [0]
