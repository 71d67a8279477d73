"""What the pipeline costs of a TRL training step: the hooks, and what reward functions add to the bare signals.

Run with OMP_NUM_THREADS=1, as `make bench` does. Five signals through a conjunction of log-sigmoids, group quantiles
and mean-centred advantages; the step is TRL's `training_step` (generation, scoring, forward and backward pass), median
over steps, the first left out. The promise is less than a hundredth of a step of a small real model. A model of 23,200
parameters, whose step costs next to nothing, is there to see the hooks at all.
"""

import statistics
import time

import pytest

from rewardlab.adapters.trl import reward_functions
from rewardlab.transforms import Centre, Conjunction, GroupQuantile, LogSigmoid, MeanCentred, Pipeline, chain

pytest.importorskip("trl")

import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM

from rewardlab.adapters.trl import PipelineGRPOTrainer
from tests.adapters.trl_two_processes import tiny_model, tiny_settings, tiny_tokenizer

GROUP, PROMPTS = 8, 8  # 64 completions a step
NAMES = ("length", "vowels", "spaces", "first", "words")


class TimedSignals:
    """Five cheap signals that clock themselves."""

    def __init__(self):
        self.seconds = 0.0

    def named(self):
        return {name: self.one(name) for name in NAMES}

    def one(self, name):
        def signal(prompt, completion, **columns):
            start = time.perf_counter()
            value = float(completion.count(name[0]))
            self.seconds += time.perf_counter() - start
            return value

        return signal


class TimedTrainer(PipelineGRPOTrainer):
    """Clocks everything that the adapter adds to TRL's step."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.hooks, self.steps = [], []

    def _combine(self, *arguments):
        self.hooks.append(0.0)
        return self._clocked(super()._combine, *arguments)

    def _local_advantages(self, *arguments):
        return self._clocked(super()._local_advantages, *arguments)

    def _log_pipeline(self):
        return self._clocked(super()._log_pipeline)

    def _clocked(self, function, *arguments):
        start = time.perf_counter()
        result = function(*arguments)
        self.hooks[-1] += time.perf_counter() - start
        return result

    def training_step(self, *arguments):
        start = time.perf_counter()
        loss = super().training_step(*arguments)
        self.steps.append(time.perf_counter() - start)
        return loss


def run(model, folder, *, tokens, steps, prompts=PROMPTS):
    """Median seconds of a step, of the hooks, and of what five reward functions add to their signals."""
    signals = TimedSignals()
    spent = [0.0]
    functions = [clocked(function, spent) for function in reward_functions(signals.named())]
    pipeline = Pipeline(
        {name: chain(Centre(GroupQuantile(0.85)), LogSigmoid()) for name in NAMES},
        combine=Conjunction(),
        advantage=MeanCentred(),
    )
    trainer = TimedTrainer(
        model,
        functions,
        tiny_settings(
            folder,
            max_steps=steps,
            num_generations=GROUP,
            per_device_train_batch_size=GROUP * prompts,
            max_completion_length=tokens,
            learning_rate=1e-6,
        ),
        Dataset.from_dict({"prompt": [f"p{i % 24}" for i in range(prompts * steps)]}),
        processing_class=tiny_tokenizer(),
        pipeline=pipeline,
    )
    trainer.train()
    first = 1 if steps > 1 else 0
    step, hooks = (statistics.median(times[first:]) for times in (trainer.steps, trainer.hooks))
    return step, hooks, (spent[0] - signals.seconds) / steps


def clocked(function, spent):
    def reward(**batch):
        start = time.perf_counter()
        rewards = function(**batch)
        spent[0] += time.perf_counter() - start
        return rewards

    reward.__name__ = function.__name__
    return reward


def report(label, step, hooks, functions):
    total = hooks + functions
    print(
        f"\n{label}: step {step * 1e3:.1f} ms; hooks {hooks * 1e3:.3f} ms ({hooks / step:.3%}), "
        f"reward functions beyond their signals {functions * 1e3:.3f} ms ({functions / step:.3%}), "
        f"together {total / step:.3%}"
    )


def test_tiny_model(tmp_path, record_property):
    step, hooks, functions = run(tiny_model(), tmp_path, tokens=56, steps=20)
    report("model of 23,200 parameters, 64 completions of 56 tokens", step, hooks, functions)
    record_property("share_of_a_tiny_step", (hooks + functions) / step)
    assert hooks + functions < 0.03 * step


@pytest.mark.slow
def test_model_of_smollm_s_size_spends_less_than_a_hundredth(tmp_path, record_property):
    """SmolLM2-135M's architecture with random weights: the cost of a step does not depend on their values."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
        )
    )
    step, hooks, functions = run(model, tmp_path, tokens=16, steps=1, prompts=2)
    report("SmolLM2-135M's shape, 16 completions of 16 tokens", step, hooks, functions)
    record_property("share_of_a_smollm_step", (hooks + functions) / step)
    assert hooks + functions < 0.01 * step
