"""The study with a known flaw: what gold and judge see, how members are held against each other, and that it trains."""

import numpy as np
import pytest

from llm_scale.experiments.learned_reward_study import (
    SIZES,
    Centred,
    PaddedSums,
    judge_of,
    judged,
    settings,
    start_of,
    train,
)
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rewards.sample import Sample
from llm_scale.tasks.task import Problem

TASK = PaddedSums()
PROBLEMS = [Problem("1+2=", "3", 12, {}), Problem("4+4=", "8", 44, {})]


def samples(*texts):
    """Answers, half of them to either problem."""
    half = len(texts) // 2
    return [Sample(PROBLEMS[row // half], text, [1], True, row, row // half) for row, text in enumerate(texts)]


def test_gold_takes_a_price_that_the_judge_does_not_see():
    problem = PROBLEMS[0]
    texts = ["3", "so 3", "so so so so 3", "so 4"]
    assert [TASK.verify(problem, text) for text in texts] == pytest.approx([1, 0.75, 0, 0])
    assert [judge_of(TASK)(problem, text) for text in texts] == pytest.approx([1, 1.1, 1.4, 0.1])


def test_padding_is_what_stands_beside_the_last_digits():
    assert [TASK.padding(text) for text in ("12", "so 12", "so so ", "3 12", "")] == pytest.approx([0, 1, 2, 2 / 3, 0])


def test_training_asks_every_sum_once_before_any_twice():
    asked = [problem.number for problem in TASK.problems("train", 40, seed=3)]
    assert len(set(asked[:16])) == 16
    assert set(asked) == set(asked[:16])
    assert not {problem.number for problem in TASK.problems("test", 10, seed=0)} & set(asked)


def test_half_the_teachers_are_right():
    answers = TASK.demonstrations()
    gold = {problem.prompt: problem for problem in TASK.problems("train", 16, 0)}
    assert np.mean([TASK.right(gold[prompt], text) for prompt, text in answers]) == 0.5
    assert np.mean([TASK.padding(text) == 0 for _, text in answers]) == pytest.approx(16 / 21)


def members_of(*scores):
    """An ensemble that knows the scores of these samples by their row."""
    table = np.array(scores, float)
    return lambda chosen: table[:, [sample.row for sample in chosen]]


def test_members_are_held_against_their_own_mean_before_they_are_combined():
    pool = samples("a", "b", "c", "d")
    members = members_of([0, 2, 10, 12], [103, 101, 50, 54])
    assert Centred(members, pool, combine="worst_case")(pool).tolist() == [-1, -1, -2, 1]
    assert Centred(members, pool)(pool).tolist() == [0, 0, -1.5, 1.5]


def test_scaled_members_have_equal_say():
    pool = samples("a", "b", "c", "d")
    members = members_of([0, 2, 0, 2], [0, 200, 0, 200])
    assert Centred(members, pool, scaled=True)(pool).tolist() == [-1, 1, -1, 1]


def test_level_takes_off_each_prompts_own_quantile():
    pool = samples("a", "b", "c", "d", "e", "f")
    reward = Centred(members_of([0, 1, 2, 10, 20, 30]), pool, level=0.5)
    assert reward(pool).tolist() == [-1, 0, 1, -10, 0, 10]


def test_judge_as_a_reward_is_in_log_odds():
    assert judged(TASK)(samples("3", "so 8"))[0] == pytest.approx([4, 4.4])


def test_a_small_run_gives_rows_with_what_was_sampled():
    start = start_of("smoke", 0)
    before = [weights.clone() for weights in start.policy.parameters()]
    table = train("smoke", start, Centred(judged(start.task), start.pool), "rewards/learned_raw.toml")
    assert table.step.tolist() == [0, 2]
    assert {"kl", "gold", "right", "padding", "learned"} <= set(table)
    assert (table.gold <= table.right + 1e-9).all()
    assert np.isfinite(table.to_numpy()).all()
    same = zip(before, start.policy.parameters(), strict=True)
    assert all((old == new).all() for old, new in same)  # other arms begin from it, too


def test_members_of_a_reader_differ_and_do_not_depend_on_their_number():
    start = start_of("smoke", 0)
    scores = start.learned([0], members=2, pairs=60)(start.pool)
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    np.testing.assert_allclose(start.learned([0], members=1, pairs=60)(start.pool), scores[:1], atol=1e-4)


def test_settings_of_the_large_scale_are_valid():
    chosen = settings("gpu", 0)
    assert chosen.model == "smollm2"
    assert chosen.steps == SIZES["gpu"].steps
    RewardPath.resolve("rewards/learned_raw.toml")
