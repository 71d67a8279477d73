"""A tiny model trained by TRL, as a script that runs on any number of processes and writes down what it saw.

    python -m torch.distributed.run --nproc_per_node 2 tests/adapters/trl_two_processes.py OUTPUT.json

Twelve completions a step, four of each of three prompts: on two processes the second group is split between them. Two
runs: "canned", where completions are given by prompt, place in the group and step, so that they are the same on any
number of processes (what a process samples depends on its own random numbers); and "sampled", where the model writes
them itself.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig

from rewardlab.adapters.trl import PipelineGRPOTrainer, reward_functions
from rewardlab.transforms import (
    Centre,
    Conjunction,
    Given,
    GroupQuantile,
    LogSigmoid,
    MeanCentred,
    Pipeline,
    RunningStandardise,
    chain,
)

WORDS = ["good", "bad", "kind", "rude", "yes", "no", "tea", "please"]
GENERATIONS, PROMPTS_A_STEP, STEPS = 4, 3, 3
CHAT = "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"


def tiny_tokenizer():
    vocabulary = ["<pad>", "<eos>", "<unk>", "user", "assistant", *(f"p{i}" for i in range(24)), *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", chat_template=CHAT
    )


def tiny_model():
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"vocab_size": 40, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    return LlamaForCausalLM(LlamaConfig(max_position_embeddings=64, **size, **tokens))


def tiny_data(prompts=PROMPTS_A_STEP * STEPS):
    rows = range(prompts)
    return Dataset.from_dict(
        {
            "prompt": [f"p{i}" for i in rows],
            "even": [i % 2 == 0 for i in rows],
            "harmless_reference": [-0.1 * i for i in rows],
        }
    )


def helpful(prompt, completion, **columns):
    """Differs between any two words; says nothing of an answer that is only "no"."""
    words = completion.split()
    return None if words == ["no"] else sum((WORDS.index(word) + 1) * 0.3 for word in words if word in WORDS)


def harmless(prompt, completion, even, **columns):
    """Judges answers to even prompts only, and no answer that is only "no"."""
    return -float(completion.count("rude")) if even and completion != "no" else None


SIGNALS = {"helpful": helpful, "harmless": harmless}


def group_pipeline():
    return Pipeline(
        {
            "helpful": chain(Centre(GroupQuantile(0.85)), LogSigmoid()),
            "harmless": chain(Centre(Given()), RunningStandardise(), LogSigmoid()),
        },
        combine=Conjunction(),
        advantage=MeanCentred(),
    )


def tiny_settings(folder, processes=1, **changes):
    return GRPOConfig(
        **{
            "output_dir": str(folder),
            "per_device_train_batch_size": GENERATIONS * PROMPTS_A_STEP // processes,
            "num_generations": GENERATIONS,
            "max_completion_length": 6,
            "max_steps": STEPS,
            "learning_rate": 0.05,
            "lr_scheduler_type": "constant",
            "optim": "sgd",
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "scale_rewards": "none",
            **changes,
        }
    )


def canned_completion(prompt, generation, step):
    """A few words that depend on all three numbers; "no" alone for one completion of a step."""
    if prompt % PROMPTS_A_STEP == 1 and generation == 2:
        return "no"
    numbers = [prompt * 5 + generation * (2 + k) + step * 3 + k for k in range(1 + generation)]
    return " ".join(WORDS[number % len(WORDS)] for number in numbers)


def canned_rollout(prompts, trainer):
    """TRL's `rollout_func`: what completes the prompts of this process."""
    tokenizer = trainer.processing_class
    first = trainer.accelerator.process_index * len(prompts)
    texts = [
        canned_completion(int(prompt[1:]), (first + i) % GENERATIONS, trainer.state.global_step)
        for i, prompt in enumerate(prompts)
    ]
    return {
        "prompt_ids": [tokenizer(prompt)["input_ids"] for prompt in prompts],
        "completion_ids": [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts],
        "logprobs": None,
    }


class RecordingTrainer(PipelineGRPOTrainer):
    """Writes down, for every step, the completions of all processes and the advantages that enter the loss."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.record = []

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        texts = self.processing_class.batch_decode(output["completion_ids"], skip_special_tokens=True)
        self.record.append(
            {
                "prompts": gather_object([sample["prompt"] for sample in inputs]),
                "completions": gather_object(texts),
                "completions_here": len(texts),
                "advantages": self.accelerator.gather(output["advantages"]).tolist(),
            }
        )
        return output


def train(rollout):
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    pipeline = group_pipeline()
    with tempfile.TemporaryDirectory() as folder:
        trainer = RecordingTrainer(
            tiny_model(),
            reward_functions(SIGNALS),
            tiny_settings(folder, processes),
            tiny_data(),
            processing_class=tiny_tokenizer(),
            rollout_func=rollout,
            pipeline=pipeline,
        )
        trainer.train()
    model = trainer.accelerator.unwrap_model(trainer.model)
    weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    return trainer.accelerator.is_main_process, {
        "processes": trainer.accelerator.num_processes,
        "record": trainer.record,
        "log": [entry for entry in trainer.state.log_history if "reward" in entry],
        "state": pipeline.state_dict(),
        "weights": weights.tolist(),
    }


if __name__ == "__main__":
    runs = {"canned": train(canned_rollout), "sampled": train(None)}
    if runs["canned"][0]:
        Path(sys.argv[1]).write_text(json.dumps({name: run for name, (_, run) in runs.items()}))
