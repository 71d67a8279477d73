"""Small training loops, and answers put into a model's mouth, for the tests of the loop."""

import torch

from llm_scale import grpo
from llm_scale.grpo import Loop
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rollouts.completions import Completions
from llm_scale.settings import Settings
from llm_scale.tasks.loading import task
from llm_scale.training_pass.forward import completion_log_probs

SMALL = {
    "model": "tiny-test",
    "task": "addition:style=bare",
    "prompts": 2,
    "group": 4,
    "steps": 3,
    "max_new_tokens": 4,
    "learning_rate": 1e-2,
    "objective": "dr_grpo",
    "evaluation_problems": 2,
    "evaluation_samples": 2,
    "checkpoint_every": 0,
    "device": "cpu",
}
GIVEN = '[sources]\nlearned = "given"\n[pipeline.signals]\nlearned = []\n'


def loop(**changes) -> Loop:
    parts = {name: changes.pop(name) for name in ("language_model", "task", "reward_path") if not_text(changes, name)}
    return Loop(Settings(**{**SMALL, **changes}), **parts)


def not_text(changes, name):
    return name in changes and not isinstance(changes[name], str)


def scored(score, **changes) -> Loop:
    """A loop whose reward is a function of the samples."""
    asked = changes.pop("task", None) or task(SMALL["task"])
    path = RewardPath.from_toml(GIVEN, asked, given={"learned": score}, on_failure=changes.get("on_failure", "mask"))
    return loop(task=asked, reward_path=path, **changes)


def by_row(*values, error=None):
    """Scores by row; where the value is an exception, it is raised."""

    def score(samples):
        found = [values[sample.row] if sample.row < len(values) else 1.0 for sample in samples]
        for value in found:
            if isinstance(value, Exception):
                raise value
        return found

    return score


LENGTHS = by_row(0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0)


def weights(of: Loop) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in of.lm.parameters()])


def answers(monkeypatch, *texts, ids=None):
    """Let the model answer this, over and over, in place of what it would say."""

    def sample(lm, prompts, *, group, max_new_tokens, temperature, **unused):
        every = ids or [lm.encode_completion(text) for text in texts]
        rows = [every[row % len(every)] for row in range(len(prompts) * group)]
        tokens = torch.full((len(rows), max(map(len, rows))), lm.pad_id)
        for row, own in enumerate(rows):
            tokens[row, : len(own)] = torch.tensor(own)
        mask = torch.arange(tokens.shape[1]) < torch.tensor([[len(own)] for own in rows])
        with torch.no_grad():
            told = completion_log_probs(lm.base, prompts, tokens, mask, group=group, temperature=temperature or 1.0)
        ended = torch.tensor([own[-1] in lm.end_ids for own in rows])
        return Completions([list(p) for p in prompts], group, tokens, mask, told.log_probs.detach(), ended)

    monkeypatch.setattr(grpo, "sample", sample)
