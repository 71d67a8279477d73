"""Data sets of reasoning-gym, with their own scorers, none of which may run an answer."""

import pytest

reasoning_gym = pytest.importorskip("reasoning_gym")

from llm_scale.tasks.reasoning import ReasoningTask, given_answer, runs_answers  # noqa: E402
from llm_scale.tasks.verifying import Failure, verify_all  # noqa: E402
from tests.llm_scale.tasks.attacks import ATTACKS, attacks  # noqa: E402


def test_problems_are_those_of_the_seed_and_the_splits_are_disjoint():
    task = ReasoningTask("chain_sum", max_terms=2, max_digits=1)  # few questions: many would be in both by chance
    train, test = (task.problems(split, 200, 0) for split in ("train", "test"))
    assert not {p.prompt for p in train} & {p.prompt for p in test}
    assert task.problems("train", 20, 0) == train[:20] != task.problems("train", 20, 1)
    assert ReasoningTask("chain_sum", max_terms=2, max_digits=1).problems("train", 20, 0) == train[:20]


@pytest.mark.parametrize("name", ["chain_sum", "basic_arithmetic", "gcd", "letter_counting", "spell_backward", "ab"])
def test_the_gold_answer_is_right_and_another_is_not(name):
    task = ReasoningTask(name)
    for problem in task.problems("train", 5, 0):
        assert task.verify(problem, task.demonstration(problem)) == 1.0
        assert task.verify(problem, f"Hm.\n{problem.gold}\n") == 1.0
        assert task.verify(problem, "<answer>banana</answer>") < 0.2
        assert task.format_ok(task.demonstration(problem)) and not task.format_ok(problem.gold)


def test_the_last_tag_counts_else_the_last_line():
    assert given_answer("<answer>1</answer> or <answer> 2 </answer>, 3") == "2"
    assert given_answer("4\n<answer>1") == "<answer>1"
    assert given_answer("4\n5 \n\n") == "5"
    assert given_answer("") == ""
    assert given_answer("<answer><answer>1</answer>") == "1"


def test_scorers_that_evaluate_are_found():
    def found(name):
        return runs_answers(reasoning_gym.factory.DATASETS[name][0].score_answer)

    assert found("countdown") == found("puzzle24") == {"parse_expr"}
    assert "eval" in found("spiral_matrix") and "eval" in found("n_queens")
    assert not found("chain_sum") and not found("basic_arithmetic")
    assert not found("propositional_logic")  # its parse_expr is its own and runs nothing


@pytest.mark.parametrize("name", ["countdown", "spiral_matrix", "binary_matrix", "number_sorting"])
def test_a_scorer_that_evaluates_sees_plain_answers_only(name, tmp_path, monkeypatch):
    task, trap, seen = ReasoningTask(name, size=50), tmp_path / "trap", []
    problem = task.problems("train", 1, 0)[0]
    assert task.verify(problem, task.demonstration(problem)) == 1.0
    monkeypatch.setattr(type(task.dataset), "score_answer", lambda self, answer, entry: seen.append(answer) or 0.0)
    strange = (f"[__import__('os').system('touch {trap}')]", "9**9**9", "9* *9", "[].__class__", "x", "1e9", "(" * 201)
    for answer in (*strange, "\N{ARABIC-INDIC DIGIT EIGHT}", "8\0", "\\"):
        assert task.verify(problem, f"<answer>{answer}</answer>") == 0.0
    assert seen == [] and not trap.exists()
    assert task.verify(problem, "<answer>[[1, 2], ['3']] + (4 - 5) * 6 / 7.5</answer>") == 0.0 and len(seen) == 1


def test_countdown_accepts_any_right_expression():
    task = ReasoningTask("countdown", min_numbers=2, max_numbers=2, min_target=2, max_target=400, size=200)
    problem = next(p for p in task.problems("train", 50, 0) if " + " in p.gold)
    left, right = problem.gold.split(" + ")
    assert task.verify(problem, f"<answer>({right}) + {left}</answer>") == 1.0
    assert task.verify(problem, f"<answer>{left} * {right}</answer>") < 0.1


@pytest.mark.parametrize("name", ["string_insertion", "polynomial_multiplication", "n_queens"])
def test_data_sets_that_need_more_than_plain_answers_are_refused(name):
    said = rf"dataset '{name}': its scorer passes the model's answer to (eval|parse_expr)"
    with pytest.raises(ValueError, match=said):
        ReasoningTask(name)


def test_a_data_set_that_runs_programs_is_refused():
    with pytest.raises(ValueError, match="'codeio' runs programs to make its questions"):
        ReasoningTask("codeio", size=10)


def test_an_answer_on_which_the_scorer_raises_is_wrong():
    task = ReasoningTask("prime_factorization")
    problem = task.problems("train", 1, 0)[0]
    with pytest.raises(ValueError, match="invalid literal"):
        task.dataset.score_answer("banana", problem.data["entry"])
    assert task.verify(problem, "banana") == 0.0


def test_bad_names_and_settings_are_named():
    with pytest.raises(ValueError, match=r"dataset is 'chain_sums', expected one of .*chain_sum"):
        ReasoningTask("chain_sums")
    with pytest.raises(ValueError, match=r"'chain_sum' does not take the settings .*terms"):
        ReasoningTask("chain_sum", terms=3)
    with pytest.raises(ValueError, match="'chain_sum' does not take the settings"):
        ReasoningTask("chain_sum", min_terms=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chain_sum", "countdown", "spiral_matrix", "prime_factorization", "ab"])
def test_attacks_earn_next_to_nothing_within_their_time(name, tmp_path):
    task, trap = ReasoningTask(name, size=50), tmp_path / "trap"
    results = verify_all(task, task.problems("train", 1, 0), attacks(trap), seconds=2.0)
    for attack, result in zip(ATTACKS, results, strict=True):
        assert isinstance(result, Failure) or result < 0.2, attack
    assert not trap.exists()
