"""The process reward model made by hand: what it sees, what it misses, and that it never changes its mind."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.reasoning.arithmetic_chain import FILLERS, ArithmeticProblem, ArithmeticTask, draw_problem
from environments.reasoning.synthetic_prm import SyntheticPRM

PROBLEM = ArithmeticProblem(7, (("+", 5), ("*", 3), ("-", 4)))
seeds = st.integers(0, 2**32 - 1)
lines = st.sampled_from((*FILLERS, "7 + 5 = 12", "7 + 5 = 13", "12 * 3 = 36", "1 + 1 = 3", "Answer: 32")) | st.text()
R, W, F, C = 0.8, 0.2, 0.7, 0.4
JUDGE = SyntheticPRM(right=R, wrong=W, filler=F, carried=C)


@pytest.mark.parametrize(
    ("steps", "scores"),
    [
        (PROBLEM.solution, (R, R, R, R)),
        (("7 + 5 = 13", "13 * 3 = 39", "39 - 4 = 35", "Answer: 35"), (W, C, C, C)),
        (("7 + 5 = 13", "13 * 3 = 38", "38 - 4 = 34"), (W, W, C)),
        # corrected: what follows is right again
        (("7 + 5 = 13", "13 * 3 = 39", "Correction: 7 + 5 = 12", "12 * 3 = 36"), (W, C, R, R)),
        (("7 + 5 = 13", "13 * 3 = 38", "Correction: 13 * 3 = 39"), (W, W, C)),
        # filler, repeats and what nobody asked for
        (("Step ready.", "7 + 5 = 12", "7 + 5 = 12", "🙂", "1 + 1 = 2", "1 + 1 = 3"), (F, R, R, F, R, W)),
        (("7 + 5 = 13", "13 * 3 = 39", "So 13 * 3 = 39"), (W, C, C)),
        (("7 + 5 = 13", "Step ready.", "1 + 1 = 2"), (W, F, R)),
        # it checks arithmetic, not whether the problem asks for it
        (("7 + 6 = 13", "13 * 3 = 39", "39 - 4 = 35", "Answer: 35"), (R, R, R, R)),
        # answers: out of nothing, not what the chain says, right by luck, none
        (("7 + 5 = 12", "Answer: 12"), (R, W)),
        ((*PROBLEM.solution[:-1], "Answer: 31"), (R, R, R, W)),
        (("Answer: 32",), (R,)),
        (("7 + 5 = 12", "12 * 3 = 37", "37 - 4 = 32", "Answer: 32"), (R, W, W, R)),
        (("Answer: I do not know",), (W,)),
        ((), ()),
    ],
)  # fmt: skip
def test_what_it_sees(steps, scores):
    given_scores = JUDGE(PROBLEM, steps)
    assert given_scores.dtype == np.float64
    np.testing.assert_array_equal(given_scores, scores)
    np.testing.assert_array_equal(JUDGE(ArithmeticTask(PROBLEM, max_steps=3), list(steps)), scores)


def test_by_default_each_line_is_judged_by_itself():
    steps = ("7 + 5 = 13", "13 * 3 = 39", "Step ready.", "39 - 4 = 35", "Answer: 35")
    np.testing.assert_array_equal(SyntheticPRM()(PROBLEM, steps), [0.1, 0.9, 0.9, 0.9, 0.9])


@pytest.mark.parametrize("seed", range(5))
def test_an_error_that_it_missed_is_not_held_against_what_follows(seed):
    blind = SyntheticPRM(right=R, wrong=W, filler=F, carried=C, blindness=0.5, seed=seed)
    first, second, third = blind(PROBLEM, ("7 + 5 = 13", "13 * 3 = 39", "39 - 4 = 35"))
    assert (first, second, third) in ((W, C, C), (R, R, R))
    outcomes = {SyntheticPRM(blindness=0.5, seed=s)(PROBLEM, ("7 + 5 = 13",))[0] for s in range(20)}
    assert outcomes == {0.1, 0.9}


def test_wholly_blind_it_likes_everything():
    blind = SyntheticPRM(right=R, wrong=W, filler=F, carried=C, blindness=1.0)
    np.testing.assert_array_equal(blind(PROBLEM, ("7 + 5 = 13", "1 + 1 = 3", "🙂", "Answer: 5")), (R, R, F, R))


def test_blindness_and_noise_come_in_the_doses_asked_for():
    problems = [draw_problem(3, seed) for seed in range(2000)]
    steps = ["1 + 1 = 3", "So far so good."]
    missed = np.array([SyntheticPRM(blindness=0.3)(problem, steps)[0] for problem in problems]) == 0.9
    assert missed.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / len(set(problems))))
    noisy = np.array(
        [SyntheticPRM(right=0.5, filler=0.5, wrong=0.5, noise=0.05)(problem, steps) for problem in problems]
    )
    assert noisy.mean(0) == pytest.approx(0.5, abs=0.006)
    assert noisy.std(0) == pytest.approx(0.05, rel=0.08)
    assert abs(np.corrcoef(noisy.T)[0, 1]) < 0.1
    assert (np.abs(noisy - 0.5) > 0.1).mean() == pytest.approx(0.0455, abs=0.015)  # two standard deviations


@given(st.lists(lines, max_size=6), st.integers(0, 6), st.floats(0, 1), st.floats(0, 2), seeds)
def test_one_prefix_one_score(steps, known, blindness, noise, seed):
    judge = SyntheticPRM(carried=0.4, blindness=blindness, noise=noise, seed=seed)
    scores = judge(PROBLEM, steps)
    assert ((scores >= 0) & (scores <= 1)).all() and scores.shape == (len(steps),)
    np.testing.assert_array_equal(judge(PROBLEM, steps[:known]), scores[:known])
    again = SyntheticPRM(carried=0.4, blindness=blindness, noise=noise, seed=seed)
    np.testing.assert_array_equal(again(PROBLEM, tuple(steps)), scores)


def test_faults_differ_with_the_seed_the_problem_and_the_prefix():
    def score(seed=0, problem=PROBLEM, steps=("🙂",)):
        return SyntheticPRM(filler=0.5, noise=0.1, seed=seed)(problem, steps)[-1]

    other = ArithmeticProblem(8, PROBLEM.operations)
    scores = {score(), score(seed=1), score(problem=other), score(steps=("🙂", "🙂")), score(steps=("Step ready.",))}
    assert len(scores) == 5
    # no two sequences of lines are the same prefix because their texts run together
    assert score(steps=("ab", "c")) != score(steps=("a", "bc"))


def test_faults_are_the_same_in_every_process():
    code = (
        "from environments.reasoning.arithmetic_chain import draw_problem\n"
        "from environments.reasoning.synthetic_prm import SyntheticPRM\n"
        "print(SyntheticPRM(noise=0.1, blindness=0.5)(draw_problem(3, 0), ['1 + 1 = 3', 'Hm.']).tolist())"
    )
    here = SyntheticPRM(noise=0.1, blindness=0.5)(draw_problem(3, 0), ["1 + 1 = 3", "Hm."]).tolist()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(here)


def test_a_clear_eyed_judge_finds_every_false_equation_of_a_solver():
    task = ArithmeticTask(
        draw_problem(4, 1), error_rate=0.3, filler_rate=0.1, repair_rate=0.3, repeat_rate=0.1, max_steps=15
    )
    rng = np.random.default_rng(0)
    for _ in range(200):
        steps = task.sample(rng)
        body = [step for step in steps if not step.startswith("Answer")]
        verdicts = np.array(task.verdicts(body))
        np.testing.assert_array_equal(JUDGE(task, steps)[: len(body)] == W, verdicts == -1)
        labels = np.array(task.step_labels(body))
        np.testing.assert_array_equal(JUDGE(task, steps)[: len(body)][verdicts == 1] == R, labels[verdicts == 1])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"right": 1.2}, ValueError, r"right is 1.2, expected a number in \[0, 1\]"),
        ({"wrong": float("nan")}, ValueError, "wrong is nan"),
        ({"filler": "0.9"}, TypeError, "filler: expected a number"),
        ({"carried": -0.1}, ValueError, "carried is -0.1"),
        ({"blindness": 2}, ValueError, "blindness is 2"),
        ({"noise": -1.0}, ValueError, "noise is -1.0"),
        ({"noise": float("inf")}, ValueError, "noise is inf"),
        ({"seed": 0.5}, TypeError, "seed is 0.5"),
        ({"seed": -1}, ValueError, "seed is -1"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        SyntheticPRM(**options)


def test_bad_solutions():
    with pytest.raises(TypeError, match="steps: expected a sequence of lines, got one string"):
        SyntheticPRM()(PROBLEM, "7 + 5 = 12")
    with pytest.raises(TypeError, match=r"steps\[1\]: expected a string, got NoneType"):
        SyntheticPRM()(PROBLEM, ["7 + 5 = 12", None])
    with pytest.raises(TypeError, match="task: expected an ArithmeticTask or ArithmeticProblem, got str"):
        SyntheticPRM()("Add 5.", ["7 + 5 = 12"])
