"""verl's reward function and advantage estimator from signals and a `Pipeline`.

verl scores samples one by one, in several processes; what needs the group runs in its advantage estimator. So there are
two files, and three settings:

    # my_reward.py
    from rewardlab.adapters.verl import compute_score_function

    def right(prompt, completion, ground_truth, **columns):
        return ground_truth in completion

    def brief(prompt, completion, **columns):
        return -len(completion) / 1000

    compute_score = compute_score_function({"right": right, "brief": brief}, main="right")

    # my_advantage.py, imported by verl because VERL_USE_EXTERNAL_MODULES=my_advantage is set
    from rewardlab.adapters.verl import advantage_estimator
    from rewardlab.transforms import LeaveOneOut, Pipeline, chain
    from verl.trainer.ppo.core_algos import register_adv_est

    pipeline = Pipeline({"score": chain()}, advantage=LeaveOneOut())
    register_adv_est("rewardlab")(advantage_estimator(pipeline))

    # settings of verl
    reward.custom_reward_function.path=my_reward.py
    reward.custom_reward_function.name=compute_score
    algorithm.adv_estimator=rewardlab

What an estimator sees (read and tried in verl 0.9.1). Every estimator gets `token_level_rewards`, where verl puts the
"score" of the reward function, so a pipeline of one signal works under any name. The other keys that the reward
function returned reach an estimator only with `trainer.use_v1=False`, and only if it is called "gdpo". A pipeline of
several signals must take that name, under which verl has its own GDPO:

    core_algos.ADV_ESTIMATOR_REGISTRY["gdpo"] = advantage_estimator(pipeline)

Otherwise such an estimator raises an error that says so. In verl's default trainer, combine the signals sample by
sample (`compute_score_function(signals, pipeline=...)`) and leave to the estimator what needs the group.

Nothing here imports verl before `PromptRewardManager` is asked for.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from rewardlab.adapters.samples import SampleReward, Signal
from rewardlab.arrays import Array
from rewardlab.transforms import Pipeline, token_advantages

# names that verl keeps for itself beside the keys of the reward function; a signal of that name would overwrite them
RESERVED = frozenset({"data_source", "extra_info", "raw_prompt", "reward", "reward_model", "score", "uid"})

__all__ = [
    "ComputeScore",
    "PipelineAdvantage",
    "PromptRewardManager",  # noqa: F822 - __getattr__ has it
    "advantage_estimator",
    "compute_score_function",
]


@dataclass(frozen=True)
class ComputeScore:
    """A reward function for verl's `custom_reward_function`; made by `compute_score_function`."""

    reward: SampleReward
    prompt_key: str | None = None

    def __call__(
        self,
        data_source: str,
        solution_str: str,
        ground_truth: Any,
        extra_info: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, float]:
        """Score one response, as verl calls it.

        Returns:
            The reward under "score" and every signal under its name; always the same keys, all floats.

        Raises:
            TypeError: As `score_sample`.
            ValueError: As `SampleReward`, or if `extra_info` lacks the prompt.
        """
        extra_info = extra_info or {}
        if self.prompt_key is not None and self.prompt_key not in extra_info:
            raise ValueError(
                f"extra_info has no {self.prompt_key!r}, only {sorted(extra_info)}: put the prompt there when making "
                f"the data set, or use PromptRewardManager with prompt_key='prompt'"
            )
        sample = {
            **extra_info,
            **kwargs,
            "data_source": data_source,
            "ground_truth": ground_truth,
            "prompt": None if self.prompt_key is None else extra_info[self.prompt_key],
            "completion": solution_str,
        }
        rewards, scores = self.reward([sample])
        return {"score": float(rewards[0]), **{name: float(values[0]) for name, values in scores.items()}}


def compute_score_function(
    signals: Mapping[str, Signal],
    main: str | None = None,
    pipeline: Pipeline | None = None,
    *,
    prompt_key: str | None = None,
    absent_reward: float | None = None,
) -> ComputeScore:
    """Return a reward function for verl: the reward under "score", every signal under its own name.

    The keys are the same for every sample (verl fails on ragged ones) and their values are floats. A signal that does
    not apply is NaN: `advantage_estimator` leaves it out. verl's own averages of that key (validation, GDPO) are then
    NaN as well, which is true and harmless in a log, but verl's own GDPO must not be given such a key.

    Args:
        signals: Functions `signal(prompt, completion, **columns)` of one sample by name. The completion is text; the
            columns are `data_source`, `ground_truth`, everything in `extra_info`, and the `reward_kwargs` of verl's
            settings. They are called from several threads of several processes.
        main: Name of the signal that is the reward; may be left out where there is but one.
        pipeline: Combines the signals into the reward instead, sample by sample; see `SampleReward`.
        prompt_key: Where `extra_info` holds the prompt, which verl does not pass ("question" in verl's GSM8K example;
            "prompt" with `PromptRewardManager`). None passes None as the prompt.
        absent_reward: The reward of a sample to which no signal applies. None makes it an error; 0 would count as a
            reward of 0 in verl's own estimators; `math.nan` is for `advantage_estimator` only, which leaves the sample
            out (any other estimator would turn it into NaN weights).

    Returns:
        A function for `reward.custom_reward_function`, at the top level of a file that verl loads by path and name.

    Raises:
        TypeError: If a signal cannot be called for a sample.
        ValueError: As `SampleReward`, or if a signal has a name that verl keeps for itself.

    Example:
        >>> def right(prompt, completion, ground_truth, **columns):
        ...     return ground_truth in completion
        >>> compute_score = compute_score_function({"right": right})
        >>> compute_score("gsm8k", "It is 42.", "42", {"index": 7})
        {'score': 1.0, 'right': 1.0}
    """
    taken = sorted(RESERVED.intersection(signals))
    if taken:
        raise ValueError(f"signal {taken[0]!r} has a name that verl keeps for itself; reserved are {sorted(RESERVED)}")
    return ComputeScore(SampleReward(signals, main, pipeline, absent_reward), prompt_key)


@dataclass(frozen=True)
class PipelineAdvantage:
    """An advantage estimator for verl's registry; made by `advantage_estimator`."""

    pipeline: Pipeline

    def __call__(
        self,
        token_level_rewards: Float[Array, "samples tokens"],
        response_mask: Shaped[Array, "samples tokens"],
        index: Shaped[Array, " samples"] | None = None,
        config: Any = None,
        non_tensor_batch: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Float[Array, "samples tokens"], Float[Array, "samples tokens"]]:
        """Estimate advantages, as verl calls it.

        Args:
            token_level_rewards: The score at one token of each response (less the KL penalty where verl puts it in the
                reward), (samples, tokens).
            response_mask: 1 for the tokens the model wrote, (samples, tokens).
            index: The prompt's id of each sample, (samples,).
            config: verl's `algorithm` settings.
            non_tensor_batch: Keys of the reward function, each (samples,), where verl passes them.
            kwargs: What else verl passes; not used.

        Returns:
            Advantages and returns, which are the same, (samples, tokens): 0 outside the mask and for samples to which
            no signal applies.

        Raises:
            ValueError: If verl passes no prompt ids or not the pipeline's signals, or if a KL penalty in the reward
                would be lost.
        """
        import torch

        if index is None:
            raise ValueError("verl passed no prompt ids (index), so there are no groups to compare samples in")
        with torch.no_grad():
            signals = self._signals(token_level_rewards, config, non_tensor_batch or {})
            advantages = self.pipeline(signals, group_ids=index.tolist()).advantages
            advantages = torch.as_tensor(advantages, device=token_level_rewards.device)
            tokens = token_advantages(advantages.to(token_level_rewards.dtype), response_mask.bool())
        return tokens, tokens

    def _signals(self, token_level_rewards: Array, config: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
        names = self.pipeline.names
        missing = [name for name in names if name not in batch]
        if missing and len(names) == 1:
            return {names[0]: token_level_rewards.sum(-1).double()}
        if missing:
            raise ValueError(
                f"verl passed no signal {missing[0]!r} to the advantage estimator: it passes the keys of the reward "
                f"function only to the estimator called 'gdpo', and only with trainer.use_v1=False. Use that, or "
                f"combine the signals in compute_score_function(signals, pipeline=...) and give the estimator a "
                f"pipeline of one signal"
            )
        if config is not None and config.get("use_kl_in_reward", False):
            raise ValueError(
                "algorithm.use_kl_in_reward is on, but the estimator reads the signals and would lose the penalty; "
                "use actor_rollout_ref.actor.use_kl_loss instead"
            )
        return {name: _column(batch[name]) for name in names}


def _column(values: Any) -> Any:
    """A signal as a pipeline reads it, to whom None means absent and text an error."""
    values = np.asarray(values)
    return values.tolist() if values.dtype == object else values


def advantage_estimator(pipeline: Pipeline) -> PipelineAdvantage:
    """Return an advantage estimator for verl's `register_adv_est`: the pipeline over each prompt's samples.

    Args:
        pipeline: A pipeline with an advantage. Of one signal: it stands for the reward function's "score", under any
            name of signal and estimator. Of several: see the top of this module. Running statistics learn once a batch;
            they live in verl's trainer process and are not in its checkpoints.

    Returns:
        A function of verl's `(token_level_rewards, response_mask, index, config, ...)`. Equal pipelines make equal
        estimators, so that a module may be imported twice.

    Raises:
        ValueError: If the pipeline has no advantage, or needs references, which verl does not pass to an estimator.
    """
    if pipeline.advantage is None:
        raise ValueError("the pipeline has no advantage; give it one, Pipeline(..., advantage=LeaveOneOut()), say")
    if pipeline.needs_references:
        raise ValueError(
            f"the pipeline needs references for {', '.join(pipeline.needs_references)}, which verl does not pass to an "
            f"advantage estimator; centre on them in compute_score_function(signals, pipeline=...)"
        )
    return PipelineAdvantage(pipeline)


def __getattr__(name: str) -> type:
    """Make `PromptRewardManager` when it is asked for: it is a subclass of a class of verl (PEP 562)."""
    if name == "PromptRewardManager":
        return _prompt_reward_manager()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _prompt_reward_manager() -> type:
    from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager

    class PromptRewardManager(NaiveRewardManager):
        """verl's naive reward manager, which also passes the prompt on, as a list of messages: extra_info["prompt"].

        Settings: `reward.reward_manager.source=importlib reward.reward_manager.name=PromptRewardManager
        reward.reward_manager.module.path=pkg://rewardlab.adapters.verl`; then `prompt_key="prompt"`.
        """

        async def run_single(self, data):
            data = data[-1:]  # as verl does: only the last of several sequences is scored
            rows = data.non_tensor_batch
            extra_info = {
                **(rows["extra_info"][0] if "extra_info" in rows else {}),
                "prompt": list(rows["raw_prompt"][0]),
            }
            rows["extra_info"] = np.array([extra_info], dtype=object)
            return await super().run_single(data)

    return PromptRewardManager
