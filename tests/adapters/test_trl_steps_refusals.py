"""Settings, arguments and scores that advantages of steps refuse, with real TRL trainers: slow, since TRL is."""

import math
import re

import numpy as np
import pytest

from rewardlab.adapters.trl_steps import with_step_rewards
from tests.adapters.step_trainers import always

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_rewards": "group"}, r"GRPOConfig\(scale_rewards='group'\): expected 'none'; standardise=True"),
        ({"scale_rewards": "batch"}, r"scale_rewards='batch'\): expected 'none'"),
        ({"scale_rewards": True}, r"scale_rewards='group'\): expected 'none'"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, "the outcome is the weighted sum"),
        ({"importance_sampling_level": "sequence"}, "hands every token the mean of all advantages"),
    ],
)
def test_settings_that_would_undo_the_steps_are_refused(make, change, message):
    with pytest.raises(ValueError, match=message):
        make(settings=change)


def without_columns(prompt, completion, steps):
    return [0.5] * len(steps)


def without_steps(prompt, completion, **columns):
    return []


async def asynchronous(prompt, completion, steps, **columns):
    return [0.5] * len(steps)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"step_scores": 0.5}, TypeError, "step_scores: expected a function, got float"),
        ({"step_scores": without_columns}, TypeError, r"takes \(prompt, completion, steps\), expected .*\*\*columns"),
        ({"step_scores": without_steps}, TypeError, r"takes \(prompt, completion, \*\*columns\), expected"),
        ({"step_scores": asynchronous}, TypeError, "step_scores is asynchronous"),
        ({"split": "\n"}, TypeError, "split: expected a function of a text, got str"),
        ({"mode": "delta_clip"}, ValueError, "mode is 'delta_clip', expected one of"),
        ({"threshold": None}, ValueError, "threshold is None, expected a number"),
        ({"weight": -0.1}, ValueError, "weight is -0.1"),
        ({"baseline": "batch"}, ValueError, "baseline is 'batch'"),
        ({"last_step": "first"}, ValueError, "last_step is 'first'"),
        ({"mode": "min_form", "temperature": 0.0}, ValueError, "temperature is 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(make, without_type_checks, given, error, message):
    with pytest.raises(error, match=message):
        make(**given)


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        (
            lambda steps: [0.5] * (len(steps) + 1),
            ValueError,
            r"scores of shape \(\d,\) for the \d steps of sample 0 \(",
        ),
        (lambda steps: [math.nan] * len(steps), ValueError, r"step_scores\[0\] is nan for step 'a.*' of sample 0"),
        (lambda steps: [0.5] * (len(steps) - 1) + [1.5], ValueError, r"is 1.5 for step .* squash log-odds"),
        (lambda steps: [-0.1] * len(steps), ValueError, r"step_scores\[0\] is -0.1"),
        (lambda steps: ["good"] * len(steps), TypeError, r"returned \['good'.* for sample 0 .* expected numbers"),
        (lambda steps: 0.5, TypeError, r"step_scores returned 0.5 for sample 0 .*, expected a score a step"),
        (lambda steps: None, TypeError, "step_scores returned None for sample 0"),
        (lambda steps: [None] * len(steps), TypeError, r"returned \[None.* expected numbers"),
    ],
)
def test_scores_that_do_not_fit_are_refused(make, scores, error, message):
    def step_scores(prompt, completion, steps, **columns):
        return scores(steps)

    trainer = make(step_scores=step_scores, text_of=lambda prompt, generation, step: "a\nb\nab")
    with pytest.raises(error, match=message):
        trainer.train()


def test_what_step_scores_or_a_split_raise_names_the_sample(make):
    def step_scores(prompt, completion, steps, **columns):
        raise KeyError("weights")

    with pytest.raises(KeyError) as caught:
        make(step_scores=step_scores).train()
    assert re.search(r"raised by step_scores for sample 0 \(prompt 'p\d'", caught.value.__notes__[0])
    with pytest.raises(ValueError, match=r"outcomes\[0\] is inf"):
        make(signals={"right": lambda prompt, completion, **columns: 1e60}).train()


def test_scores_may_be_tensors_whole_numbers_and_booleans(make):
    import torch

    records = []
    for form in (list, torch.tensor, np.array, lambda labels: [bool(label) for label in labels]):

        def labels(prompt, completion, steps, form=form, **columns):
            return form([place % 2 for place, _ in enumerate(steps)])

        trainer = make(step_scores=labels, mode="raw", signals={"right": always}, settings={"max_steps": 1})
        trainer.train()
        records.append(trainer.record[0]["advantages"])
    assert all(record == records[0] for record in records) and any(map(any, records[0]))


def test_trainers_that_cannot_have_advantages_of_steps_are_refused(tiny):
    import trl

    from rewardlab.adapters.trl import PipelineGRPOTrainer
    from rewardlab.adapters.trl_steps import StepGRPOTrainer

    assert StepGRPOTrainer.__name__ == "StepGRPOTrainer" and issubclass(StepGRPOTrainer, trl.GRPOTrainer)
    with pytest.raises(TypeError, match=r"RLOOTrainer: expected trl\.GRPOTrainer or a subclass; RLOO has one ratio"):
        with_step_rewards(trl.RLOOTrainer)
    with pytest.raises(TypeError, match="PipelineGRPOTrainer takes its advantages from a pipeline"):
        with_step_rewards(PipelineGRPOTrainer)
