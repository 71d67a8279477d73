from dataclasses import replace

import pytest
import torch

from llm_scale.models import cache, warm_start
from llm_scale.models.loading import LoraSettings, load
from llm_scale.models.supervised import answer_probabilities
from llm_scale.models.warm_start import WarmUp, warmed_up
from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.task import Problem, Task

SHORT = WarmUp(problems=20, steps=3, batch_size=8, until=None)
TASK = AdditionTask(1, "bare")


class Silent(Task):
    name = "silent"

    def problems(self, split, number, seed):
        return [Problem(f"{n}?", "", n) for n in range(number)]

    def verify(self, problem, completion):
        return 0.0


@pytest.fixture(autouse=True)
def trainings(tmp_path, monkeypatch):
    """How often a model was trained; the cache is a new one."""
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "models"))
    counted, train = [], warm_start.warm_up
    monkeypatch.setattr(warm_start, "warm_up", lambda *args, **kwargs: counted.append(train(*args, **kwargs)))
    return counted


def same(one, other):
    return all(map(torch.equal, one.parameters(), other.parameters()))


def test_a_model_is_trained_once_and_then_loaded(trainings):
    first, second = (warmed_up("tiny-test", TASK, SHORT) for _ in range(2))
    assert len(trainings) == 1
    assert same(first, second) and not same(first, load("tiny-test"))
    assert first.name == "tiny-test" and not first.model.training


def test_whatever_the_weights_depend_on_makes_another_model(trainings, monkeypatch):
    warmed_up("tiny-test", TASK, SHORT)
    warmed_up("tiny-test", TASK, SHORT, seed=1)
    warmed_up("tiny-test", AdditionTask(2, "bare"), SHORT)
    changes = {"problems": 21, "steps": 4, "batch_size": 9, "learning_rate": 1e-3, "matrix_learning_rate": None}
    for name, value in changes.items():
        warmed_up("tiny-test", TASK, replace(SHORT, **{name: value}))
    monkeypatch.setattr(warm_start, "VERSION", 0)
    warmed_up("tiny-test", TASK, SHORT)
    assert len(trainings) == 9 == len(list(cache.folder().iterdir()))


def test_other_weights_in_the_same_folder_make_another_model(trainings, tmp_path):
    for seed in (0, 1):
        load("tiny-test", seed=seed).save(tmp_path / "mine")
        assert warmed_up(str(tmp_path / "mine"), TASK, SHORT).context == 512
    assert len(trainings) == 2


def test_number_type_and_adapters_are_those_asked_for(trainings):
    plain = warmed_up("tiny-test", TASK, SHORT)
    adapted = warmed_up("tiny-test", TASK, SHORT, lora=LoraSettings(rank=2), dtype="bfloat16")
    assert len(trainings) == 1
    assert adapted.adapted and adapted.dtype == torch.bfloat16
    ids = torch.tensor([plain.encode("2+3=")])
    with adapted.reference() as reference, torch.no_grad():
        torch.testing.assert_close(reference(ids).logits.float(), plain.base(ids).logits, rtol=0.05, atol=0.1)


def test_a_task_without_demonstrations_is_refused():
    with pytest.raises(ValueError, match=r"task 'silent' has no demonstration for '0\?'"):
        warmed_up("tiny-test", Silent(), SHORT)


@pytest.mark.slow
def test_tiny_is_brought_halfway_through_two_digit_addition():
    task = AdditionTask(2, "bare")
    lm = warmed_up("tiny", task)
    held_out = [(problem.prompt, problem.gold) for problem in task.problems("test", 512, seed=1)]
    probabilities = answer_probabilities(lm, held_out)
    assert 0.3 < probabilities.mean() < 0.65
    assert ((probabilities > 0.05) & (probabilities < 0.95)).float().mean() > 0.8  # nearly every group has both


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_tiny_is_brought_halfway_through_one_digit_addition(seed):
    asked = [(problem.prompt, problem.gold) for problem in TASK.problems("train", 75, seed=0)]
    probabilities = answer_probabilities(warmed_up("tiny", TASK, warm_start.ONE_DIGIT, seed=seed), asked)
    assert 0.3 < probabilities.mean() < 0.6
