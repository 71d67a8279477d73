"""Tasks by name."""

import pytest

from llm_scale.tasks.loading import TASKS, task


def test_settings_are_read():
    found = task("addition:digits=2, style=bare")
    assert (found.digits, found.style) == (2, "bare")
    assert task("addition").digits == 1
    chains = task("chains:operations=3,filler_rate=0.25,symbols=+-*")
    assert (chains.operations, chains.filler_rate, chains.symbols) == (3, 0.25, "+-*")


def test_gsm8k_by_its_name():
    pytest.importorskip("math_verify")
    assert task("gsm8k").name == "gsm8k"


def test_a_data_set_of_reasoning_gym_by_its_name():
    pytest.importorskip("reasoning_gym")
    found = task("reasoning_gym:chain_sum,max_terms=2,allow_negation=true")
    assert found.name == "reasoning_gym_chain_sum"
    assert (found.dataset.config.max_terms, found.dataset.config.allow_negation) == (2, True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "task is '', expected one of addition, chains, gsm8k, reasoning_gym"),
        ("additions", "task is 'additions', expected one of addition"),
        ("addition:digit=2", "unexpected keyword argument 'digit'; addition takes digits, style"),
        ("addition:digits=3", r"digits is 3, expected a whole number in \[1, 2\]"),
        ("gsm8k:split=train", "gsm8k takes no settings"),
        ("reasoning_gym", "missing a required argument: 'dataset'; reasoning_gym takes dataset, settings"),
    ],
)
def test_bad_names_are_named(name, message):
    with pytest.raises(ValueError, match=message):
        task(name)


def test_every_task_has_what_a_trainer_needs():
    for name in TASKS.keys() - {"reasoning_gym", "gsm8k"}:
        found = task(name)
        (problem,) = found.problems("test", 1, 0)
        assert found.verify(problem, found.demonstration(problem)) == 1.0
        assert found.max_new_tokens > 0 and found.name
