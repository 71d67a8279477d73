"""Trainers of a tiny model with advantages of steps, which several files test; TRL is imported when one is made."""

import pytest


@pytest.fixture(scope="module")
def tiny():
    from tests.adapters.step_trainers import load_tiny

    return load_tiny()


@pytest.fixture
def make(tiny, tmp_path):
    """Make a trainer of the tiny model; whatever is given replaces the default."""
    from rewardlab.adapters.trl import reward_functions
    from rewardlab.adapters.trl_steps import StepGRPOTrainer
    from tests.adapters.step_trainers import (
        CREDIT,
        SIGNALS,
        canned_text,
        judge,
        model,
        recording,
        rollout_of,
        tokenizer,
    )

    def make(trainer_class=StepGRPOTrainer, *, signals=None, data=None, text_of=canned_text, settings=None, **given):
        if text_of is not None:
            given.setdefault("rollout_func", rollout_of(text_of))
        if trainer_class is StepGRPOTrainer:
            trainer_class, given = recording(trainer_class), {"step_scores": judge, **CREDIT} | given
        return trainer_class(
            model=model(),
            reward_funcs=given.pop("reward_funcs", None) or reward_functions(signals or SIGNALS),
            args=tiny.tiny_settings(tmp_path, **(settings or {})),
            train_dataset=data or tiny.tiny_data(),
            processing_class=tokenizer(),
            **given,
        )

    return make
