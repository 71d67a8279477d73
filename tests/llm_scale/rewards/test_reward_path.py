"""From a TOML file to rewards of a batch: what is combined, what steps are paid, what goes to the log."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_scale.models.loading import load
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rewards.sample import samples_of
from llm_scale.rollouts.completions import Completions
from rewardlab.process import MODES, step_advantages
from tests.llm_scale.rewards.answers import Lines, Stepless, answers, groups

CORRECT = """
[sources]
correct = "verifier"
[pipeline.signals]
correct = []
"""
TWO = """
[sources]
correct = "verifier"
long = "length"
[pipeline.signals]
correct = []
long = [{ kind = "running_standardise" }]
"""
SCORES = [[0.9, 0.8, 0.2, 0.7], [0.6], [], [0.6, 0.3], [0.9] * 6]
LINES = ["\n".join("line" for _ in row) for row in SCORES]


def process(mode="raw", weight=1.0, source="given", **settings):
    lines = [f'mode = "{mode}"', f"weight = {weight}", f'source = "{source}"']
    lines += [f"{name} = {value!r}" for name, value in settings.items()]
    return CORRECT + "[process]\n" + "\n".join(lines) + "\n"


def scored(samples, steps, step_ends):
    """The scores above, by the samples' rows."""
    return [SCORES[sample.row] for sample in samples]


def path_of(text, **settings):
    return RewardPath.from_toml(text, Lines(), **settings)


def test_a_batch_of_right_and_wrong_answers():
    samples = answers("0", "1", "it is 1", "0", group=2)
    result = path_of(CORRECT)(samples, groups(samples))
    assert result.rewards.tolist() == [1, 0, 1, 0]
    assert result.rewards.dtype == np.float64
    assert result.present.tolist() == [True] * 4
    assert result.signals["correct"].tolist() == [1, 0, 1, 0]
    assert result.advantages is None and result.steps is None
    assert result.step_rewards is None and result.step_ends is None and result.token_step_rewards(9) is None
    expected = {"correct/raw": 0.5, "combined": 0.5, "mean": 0.5, "absent": 0, "failures": 0, "correct/absent": 0}
    assert result.summary() == {f"reward/{name}": value for name, value in expected.items()}


def test_advantages_of_the_file():
    samples = answers("0", "1", "it is 1", "0", group=2)
    result = path_of(CORRECT + '[pipeline.advantage]\nkind = "mean_centred"')(samples, groups(samples))
    assert result.advantages.tolist() == [0.5, -0.5, 0.5, -0.5]


@pytest.mark.parametrize(
    ("mode", "settings", "expected"),
    [
        ("raw", {}, SCORES),
        ("clip", {"threshold": 0.5}, [[0, 0, -0.3, 0], [0], [], [0, -0.2], [0] * 6]),
        ("delta", {}, [[0.1, 0.6, 0.2, 0], [0], [], [0.6, 0], [0, 0, 0, 0, 0.9, 0]]),
        ("clip_delta", {"threshold": 0.5}, [[0, 0.3, -0.3, 0], [0], [], [0, 0], [0] * 6]),
    ],
)
def test_worked_rewards_of_steps(mode, settings, expected):
    samples = answers(*LINES)
    result = path_of(process(mode, **settings), given={"process": scored})(samples, groups(samples))
    assert [len(row) for row in result.step_rewards] == [len(row) for row in SCORES]
    for row, right in zip(result.step_rewards, expected, strict=True):
        assert row == pytest.approx(right)
    assert [steps.scores for steps in result.steps] == SCORES
    assert result.step_ends == [[4, 9, 14, 19], [4], [], [4, 9], [4, 9, 14, 19, 24, 29]]
    tokens = result.token_step_rewards(30)
    assert tokens.shape == (5, 30)
    for row, ends, right in zip(tokens, result.step_ends, expected, strict=True):
        assert row[ends].tolist() == pytest.approx(right)
        assert np.delete(row, ends).tolist() == [0] * (30 - len(ends))
    assert result.present.all()  # the answer without steps too


def test_the_weight_multiplies():
    samples = answers(*LINES)
    one, third = (
        path_of(process("delta", weight=weight), given={"process": scored})(samples, groups(samples))
        for weight in (1.0, 0.3)
    )
    for row, whole in zip(third.step_rewards, one.step_rewards, strict=True):
        assert row == pytest.approx([0.3 * value for value in whole])


@settings(max_examples=50)  # of up to four answers each
@given(st.sampled_from(MODES), st.lists(st.lists(st.floats(0, 1), max_size=6), min_size=1, max_size=4), st.data())
def test_returns_are_those_of_step_advantages(mode, scores, data):
    """Steps on their tokens and the outcome on the last one, summed from behind, are the library's returns."""
    weight = data.draw(st.floats(0, 2))
    samples = answers(*("\n".join("step" for _ in row) for row in scores))
    path = path_of(process(mode, weight, threshold=0.7), given={"process": lambda *batch: [r for r in scores if r]})
    result = path(samples, groups(samples))
    width = max([len(sample.ids) for sample in samples])
    tokens = result.token_step_rewards(width)
    for row, sample in enumerate(samples):
        if not scores[row]:
            continue
        paid = tokens[row].copy()
        paid[len(sample.ids) - 1] += result.rewards[row]
        returns = np.cumsum(paid[::-1])[::-1]
        expected = step_advantages(
            np.array([scores[row]]), None, result.rewards[[row]], mode, weight=weight, threshold=0.7
        ).returns[0]
        starts = [0, *(end + 1 for end in result.step_ends[row][:-1])]
        assert returns[starts] == pytest.approx(expected)


def test_credit_of_the_sequence_adds_the_sum_and_nothing_to_tokens():
    samples = answers(*LINES)
    by_token = path_of(process("delta"), given={"process": scored})(samples, groups(samples))
    whole = path_of(process("delta", credit="sequence"), given={"process": scored})(samples, groups(samples))
    assert whole.token_step_rewards(30) is None
    first_scores = np.array([0.9, 0, 0, 0.6, 0.9])  # which is what is left, and nothing where the first is the last
    assert whole.rewards == pytest.approx(by_token.rewards + first_scores)
    assert whole.step_rewards == by_token.step_rewards


def test_a_learned_model_scores_steps_by_their_last_tokens():
    class Learned:
        def steps(self, samples, step_ends):
            return [[end / 100 for end in ends] for ends in step_ends]

    samples = answers("ab\ncd", "", "e")
    result = path_of(process(), given={"process": Learned()})(samples, groups(samples))
    assert [steps.scores for steps in result.steps] == [[0.02, 0.05], [], [0.01]]


def test_the_task_s_own_labels_score_steps():
    text = process(source="step_labels")
    result = path_of(text)(answers("good\nbad 0"), [0])
    assert result.steps[0].scores == [0.9, 0.1]
    assert result.steps[0].texts == ["good", "bad 0"]
    expected = {"reward/step/count": 2.0, "reward/step/score": 0.5, "reward/step/sum": 1.0}
    assert {name: value for name, value in result.summary().items() if "step" in name} == pytest.approx(expected)


def test_steps_are_scored_in_the_form_of_trl_s_step_trainer():
    path = path_of(process(source="step_labels"))
    sample = answers("good\nbad 0")[0]
    theirs = path.process.step_scores("problem 0", sample.completion, ["good\n", "bad 0"], gold="0", even=True)
    assert theirs == path([sample], [0]).steps[0].scores


def test_signals_see_the_problem_the_tokens_and_whether_the_answer_ended():
    seen = []

    def learned(samples):
        seen.extend(samples)
        return torch.arange(len(samples), dtype=torch.float32)

    text = CORRECT.replace("verifier", "given")
    samples = answers("0", "1")
    assert path_of(text, given={"correct": learned})(samples, [0, 0]).rewards.tolist() == [0, 1]
    assert seen == samples


def test_running_statistics_are_kept_and_learn_in_training_only():
    samples = answers("0", "it is 1", "it is certainly 1")
    path, other = path_of(TWO), path_of(TWO)
    before = path.state_dict()
    path(samples, [0, 0, 0], update=False)
    assert path.state_dict() == before
    path(samples, [0, 0, 0])
    assert path.state_dict() != before
    other.load_state_dict(path.state_dict())
    again = [one(samples, [0, 0, 0], update=False).rewards for one in (path, other)]
    assert again[0].tolist() == again[1].tolist()


@settings(max_examples=30)
@given(st.permutations(range(6)))
def test_the_order_of_samples_does_not_matter(order):
    samples = answers("0", "1", "good\nbad 1", "", "1", "a\n\nb0", group=3)
    text = process("clip_delta", source="step_labels", threshold=0.7)
    text += '[[pipeline.after]]\nkind = "rank"\n'
    path = path_of(text)
    first = path(samples, groups(samples))
    shuffled = [samples[place] for place in order]
    second = path(shuffled, groups(shuffled))
    assert second.rewards.tolist() == first.rewards[list(order)].tolist()
    assert second.step_rewards == [first.step_rewards[place] for place in order]


def test_samples_of_completions():
    lm = load("tiny-test")
    texts = ["5", "", "12\n7", "no end"]
    ids = [lm.encode_completion(text) for text in texts]
    ids[3] = ids[3][:-1]
    width = max(map(len, ids))
    mask = torch.tensor([[place < len(row) for place in range(width)] for row in ids])
    padded = torch.tensor([row + [lm.pad_id] * (width - len(row)) for row in ids])
    ended = torch.tensor([True, True, True, False])
    completions = Completions([[5], [6]], 2, padded, mask, torch.zeros(4, width), ended)
    problems = Lines().problems("train", 2, 0)
    samples = samples_of(lm, problems, completions)
    assert [sample.completion for sample in samples] == texts
    assert [sample.ids for sample in samples] == ids
    assert [sample.problem.number for sample in samples] == [0, 0, 1, 1]
    assert [(sample.row, sample.prompt_row, sample.ended) for sample in samples] == [
        (0, 0, True),
        (1, 0, True),
        (2, 1, True),
        (3, 1, False),
    ]
    text = process(source="step_labels")
    assert path_of(text)(samples, groups(samples)).step_ends == [[1], [], [2, 4], [5]]
    with pytest.raises(ValueError, match="there are 1 problems, but completions of 2 prompts"):
        samples_of(lm, problems[:1], completions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sources\n", "reward: not TOML: "),
        ("[rewards]\na = 1\n", r"reward: unknown section 'rewards', expected one of sources, pipeline, process"),
        ("[pipeline.signals]\na = []\n", r"reward: expected a section \[sources\] that is not empty"),
        ('[sources]\na = "verifier"\n', r"reward: expected a section \[pipeline\]"),
        (
            CORRECT.replace("correct = []", "right = []"),
            r"sources are \['correct'\], but the pipeline's signals \['right'\]",
        ),
        (CORRECT.replace("[]", '[{ kind = "twist" }]'), r"signals.correct\[0\]: unknown kind 'twist'"),
        (
            CORRECT.replace("[]", '[{ kind = "centre", reference = { kind = "given" } }]'),
            "pipeline: correct need a given",
        ),
        ("process = 3\n" + CORRECT, "process: expected a table, got 3"),
        (process() + "speed = 3\n", "process: unknown setting 'speed', expected source, mode, weight, threshold"),
        (process().replace("weight = 1.0\n", ""), "process: 'weight' is missing"),
        (process(weight=-1, source="step_labels"), "process: weight is -1"),
        (process("twice", source="step_labels"), "process: mode is 'twice'"),
        (process("clip", source="step_labels"), "process: threshold is None"),
        (process("clip", threshold=2, source="step_labels"), "process: threshold is 2"),
        (process(credit="word", source="step_labels"), "process: credit is 'word'"),
        (process(source="oracle"), "process.source: unknown kind 'oracle', expected one of flawed_labels, "),
        (process(source="flawed_labels"), "process.source: flawed_labels judge arithmetic chains, got task 'l"),
        (process(), r"process.source: is to be handed in: from_toml\(..., given={'process': ...}\)"),
        (process(source="step_labels") + '[pipeline.advantage]\nkind = "mean_centred"', "pipeline.advantage: "),
    ],
)
def test_files_that_cannot_be_say_where(text, message):
    with pytest.raises(ValueError, match=message):
        path_of(text)


def test_other_arguments_that_cannot_be():
    with pytest.raises(ValueError, match="process: task 'stepless' has no steps to reward"):
        RewardPath.from_toml(process(), Stepless())
    with pytest.raises(ValueError, match="given: no source is called 'corect', only correct"):
        path_of(CORRECT, given={"corect": len})
    with pytest.raises(ValueError, match="on_failure is 'ignore'"):
        path_of(CORRECT, on_failure="ignore")
    with pytest.raises(ValueError, match="seconds is 0"):
        path_of(CORRECT, seconds=0)
    with pytest.raises(ValueError, match="there are 2 samples, but 1 group_ids"):
        path_of(CORRECT)(answers("0", "1"), [0])
    with pytest.raises(ValueError, match="samples is empty"):
        path_of(CORRECT)([], [])


def test_empty_summaries_are_nan_not_errors():
    assert math.isnan(path_of(process(), given={"process": scored})(answers(""), [0]).summary()["reward/step/score"])


def test_reading_another_trainer_s_batch_needs_nothing_of_ours():
    samples = [SimpleNamespace(**vars(sample)) for sample in answers("0")]
    assert path_of(CORRECT)(samples, [0]).rewards.tolist() == [1]
