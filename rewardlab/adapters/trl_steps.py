"""TRL's GRPOTrainer with an advantage for every step: scores of a process reward model beside the outcome's reward.

    trainer = StepGRPOTrainer(
        model, [right], GRPOConfig(scale_rewards="none"), data,
        step_scores=judge, mode="clip_delta", threshold=0.7, weight=0.1,
    )

where `right` is a reward function of TRL as ever, and `judge(prompt, completion, steps, **columns)` gives one score in
[0, 1] a step. The outcome is TRL's combined reward (`reward_weights` applied, missing rewards left out). Scores and
outcomes of all processes go through `rewardlab.process.step_advantages`, and every token gets its step's advantage.

From text to tokens: see `rewardlab.adapters.completion_steps`.

Nothing here imports TRL before a trainer is asked for.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rewardlab.adapters.completion_steps import EXCERPT, lines, token_steps
from rewardlab.adapters.trl import moved
from rewardlab.arrays import is_array, to_numpy
from rewardlab.process.credit import Baseline, StepAdvantages, step_advantages
from rewardlab.process.refine import LastStep, Mode
from rewardlab.process.tokens import spread_over_tokens

_HOOKS = {  # TRL's methods that the trainer extends, with their first arguments
    "_generate": "prompts",
    "_calculate_rewards": "inputs",
    "_generate_and_score_completions": "inputs",
}
_SETTINGS = {
    "scale_rewards": ("none", "standardise=True divides by the spread of returns, once steps and outcome are added up"),
    "multi_objective_aggregation": ("sum_then_normalize", "the outcome is the weighted sum of the reward functions"),
    "importance_sampling_level": (
        "token",
        "one ratio for the whole completion hands every token the mean of all advantages, whatever its step's is",
    ),
}

__all__ = ["StepGRPOTrainer", "with_step_rewards"]  # noqa: F822 - made when first asked for


def with_step_rewards(trainer_class: type) -> type:
    """Return a subclass of TRL's GRPOTrainer whose advantages are those of steps.

    Its constructor takes, beside the trainer's own arguments:

        step_scores: Process reward model, `step_scores(prompt, completion, steps, **columns)`: a score in [0, 1] for
            each of the steps (texts) of one completion, step k's for the beginning up to and with step k. Prompt,
            completion and columns come as for the signals of `rewardlab.adapters.trl.reward_functions`.
        split: Cuts a text into consecutive pieces whose concatenation is the text; `lines` where left out.
        mode, weight, threshold, last_step, temperature, baseline, standardise: As for
            `rewardlab.process.step_advantages`; the first two always, the threshold for clip modes.

    The steps' texts put together are the completion's text, with or without a chat template. Where TRL parses the
    completion (a response template: reasoning, tool calls), they are what was parsed, and what the policy wrote before
    and after a tool's output is cut by itself.

    A sample to which no reward function applies has advantage 0 and no part in the baseline, nor in what is logged.
    A completion that TRL masks because it was cut off (`mask_truncated_completions`) has a part in the baseline, as in
    TRL, and no advantage.

    Logged are `reward/step/score` and `reward/step/refined`, means over steps; `reward/step/count`, steps a completion;
    and `reward/step/share`: how much of the advantages the steps are, |steps| / (|steps| + |outcome|), each summed over
    all steps, both less their baseline and before standardising. `frac_reward_zero_std` becomes the share of
    completions in groups whose advantages are all 0, and the table of completions (`log_completions`) shows a
    completion's mean advantage over steps.

    Args:
        trainer_class: `trl.GRPOTrainer` or a subclass; `StepGRPOTrainer` is there ready-made. All its loss types work.

    Raises:
        RuntimeError: If the trainer has not the methods of TRL 1.16 that this extends.
        TypeError: If it is no GRPOTrainer, or takes a pipeline, whose advantages would be lost. When constructing: if
            `step_scores` cannot be called so. When training: if scores are no numbers.
        ValueError: When constructing: if a setting would undo the steps' advantages: `scale_rewards` other than "none",
            `multi_objective_aggregation`, `importance_sampling_level="sequence"`; or as `step_advantages`. When
            training: if a score is missing or not in [0, 1]; the message names sample and step.
    """
    for hook, argument in _HOOKS.items():
        if list(inspect.signature(getattr(trainer_class, hook, lambda: None)).parameters)[:2] != ["self", argument]:
            raise moved(f"{trainer_class.__name__} has no {hook}({argument}, ...)")
    import trl

    if not issubclass(trainer_class, trl.GRPOTrainer):
        raise TypeError(
            f"{trainer_class.__name__}: expected trl.GRPOTrainer or a subclass; RLOO has one ratio, and so one "
            f"advantage, for a whole completion"
        )
    if "pipeline" in inspect.signature(trainer_class).parameters:
        raise TypeError(
            f"{trainer_class.__name__} takes its advantages from a pipeline, and they would be lost; for an outcome "
            f"from a pipeline of single samples give StepGRPOTrainer the reward function per_sample_reward_function"
        )
    description = f"`{trainer_class.__name__}` with advantages of steps; see `with_step_rewards`."
    members = {"__doc__": description, "__module__": __name__}
    return type(f"Step{trainer_class.__name__}", (_StepTrainer, trainer_class), members)


def __getattr__(name: str) -> type:
    """Build the trainer when it is first asked for, since importing TRL takes seconds."""
    if name != "StepGRPOTrainer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import trl
    except ImportError as error:
        raise ImportError(f"{name} needs TRL, which is not installed: pip install 'rewardlab[trl]'") from error
    globals()[name] = with_step_rewards(trl.GRPOTrainer)
    return globals()[name]


class _StepTrainer:
    """What `with_step_rewards` adds to a trainer."""

    def __init__(
        self,
        *args: Any,
        step_scores: Callable[..., Sequence[float]],
        mode: Mode,
        weight: float,
        split: Callable[[str], Sequence[str]] = lines,
        threshold: float | None = None,
        last_step: LastStep = "drop",
        temperature: float = 0.1,
        baseline: Baseline = "same_step",
        standardise: bool = False,
        **kwargs: Any,
    ) -> None:
        _check_step_scores(step_scores)
        if not callable(split):
            raise TypeError(f"split: expected a function of a text, got {type(split).__name__}")
        credit = functools.partial(
            step_advantages,
            mode=mode,
            weight=weight,
            threshold=threshold,
            last_step=last_step,
            temperature=temperature,
            baseline=baseline,
            standardise=standardise,
        )
        credit(np.zeros((1, 1)), None, np.zeros(1))  # its checks, before a model is loaded
        if kwargs.get("args") is not None:
            _check_settings(kwargs["args"])
        super().__init__(*args, **kwargs)
        _check_settings(self.args)
        self._step_scores, self._split, self._credit = step_scores, split, credit
        self._written = self._step_ends = self._step_batch = None

    def _generate(self, prompts: list) -> tuple:
        generated = super()._generate(prompts)
        self._written = generated[2]  # TRL zeroes its own copy of this mask where a completion was cut off
        return generated

    def _calculate_rewards(
        self, inputs: list, prompts: Sequence, completions: Sequence, completion_ids_list: Sequence
    ) -> Any:
        from accelerate.utils import gather_object

        gathered = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        expected = (len(inputs) * self.accelerator.num_processes, len(self.reward_func_names))
        if tuple(gathered.shape) != expected:
            raise moved(
                f"scores of all processes have shape {tuple(gathered.shape)}, expected (samples, reward functions) = "
                f"{expected}"
            )
        decode = functools.partial(self.processing_class.batch_decode, skip_special_tokens=True)
        written = [None] * len(inputs) if self._written is None else self._written
        scores, self._step_ends = [], []
        for index, (sample, prompt, completion, ids, mask) in enumerate(
            zip(inputs, prompts, completions, completion_ids_list, written, strict=True)
        ):
            steps, ends = token_steps(ids, decode, self._split, mask)
            columns = {name: value for name, value in sample.items() if name not in ("prompt", "completion")}
            columns["completion_ids"] = ids
            if self.environments is not None:
                columns["environments"] = self.environments[index]
            scores.append(_scored(self._step_scores, prompt, completion, steps, columns, f"sample {index}"))
            self._step_ends.append(ends)
        self._step_batch = _StepBatch(  # every process works out the advantages of all, and gets the same
            gather_object(scores), _outcomes(gathered, self.reward_weights), self._group_size(), self._credit
        )
        return gathered

    def _generate_and_score_completions(self, inputs: list) -> dict[str, Any]:
        self._step_batch = None
        output = super()._generate_and_score_completions(inputs)
        if self._step_batch is None or output.get("advantages", np.empty(())).shape != (len(inputs),):
            raise moved("advantages are no longer made of what _calculate_rewards returns")
        output["advantages"] = self._token_advantages(output)
        self._log_steps()
        return output

    def _group_size(self) -> int:
        return self.num_generations if self.model.training else self.num_generations_eval

    def _token_advantages(self, output: Mapping[str, Any]) -> Any:
        """Advantages of this process's tokens, (completions, tokens), 0 where the loss is masked."""
        batch, theirs = self._step_batch, output["advantages"]
        rows = slice(self.accelerator.process_index * len(theirs), (self.accelerator.process_index + 1) * len(theirs))
        mask = batch.mask[rows]
        ends = np.zeros(mask.shape, np.int64)
        for row, step_ends in enumerate(self._step_ends):
            ends[row, : len(step_ends)] = step_ends
        spread = spread_over_tokens(batch.credit.advantages[rows], mask, ends, output["completion_ids"].shape[1])
        advantages = theirs.new_tensor(spread) * output["completion_mask"]
        return advantages * output["tool_mask"] if "tool_mask" in output else advantages

    def _log_steps(self) -> None:
        batch = self._step_batch
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, value in batch.summary().items():
            metrics[f"reward/step/{name}"].append(value)
        metrics["frac_reward_zero_std"][-1] = batch.idle_share()
        logged = self._logs["advantages"]
        means = batch.credit.advantages.sum(axis=1) / np.maximum(batch.mask.sum(axis=1), 1)
        for _ in range(min(len(logged), len(means))):
            logged.pop()
        logged.extend(means.tolist())


class _StepBatch:
    """Steps of the completions of all processes: scores, which of them count, and what they are credited with."""

    def __init__(self, scores: list[list[float]], outcomes: np.ndarray, group_size: int, credit: functools.partial):
        present = ~np.isnan(outcomes)
        counts = np.array([len(row) for row in scores])
        there = np.arange(counts.max()) < counts[:, None]
        self.scores = np.zeros(there.shape)
        self.scores[there] = np.concatenate(scores)
        self.mask = there & present[:, None]  # without an outcome, no part in any baseline
        self.group_size = group_size
        arguments = self.scores, self.mask, np.where(present, outcomes, 0.0)
        group_ids = np.arange(len(scores)) // group_size
        self.credit: StepAdvantages = credit(*arguments, group_ids=group_ids)
        together = credit(*arguments, group_ids=group_ids, standardise=False).advantages
        self.by_outcome = credit(*arguments, group_ids=group_ids, standardise=False, weight=0.0).advantages
        self.by_steps = together - self.by_outcome

    def summary(self) -> dict[str, float]:
        """Means for the log, NaN where there is nothing to average."""
        counts = self.mask.sum(axis=1)
        steps, outcome = np.abs(self.by_steps).sum(), np.abs(self.by_outcome).sum()
        return {
            "score": _mean(self.scores[self.mask]),
            "refined": _mean(self.credit.refined[self.mask]),
            "count": _mean(counts[counts > 0]),
            "share": float(steps / (steps + outcome)) if steps + outcome > 0 else math.nan,
        }

    def idle_share(self) -> float:
        moved = self.credit.advantages.any(axis=1).reshape(-1, self.group_size).any(axis=1)
        return float(1 - moved.mean())


def _outcomes(gathered: Any, weights: Any) -> np.ndarray:
    """TRL's combined reward of every sample, NaN where no reward function applies."""
    scores = gathered.cpu().numpy().astype(np.float64)
    combined = np.nansum(scores * weights.cpu().numpy(), axis=1)
    return np.where(np.isnan(scores).all(axis=1), np.nan, combined)


def _scored(
    step_scores: Callable[..., Any], prompt: Any, completion: Any, steps: list[str], columns: dict, sample: str
) -> list[float]:
    where = f"{sample} (prompt {prompt!r:.{EXCERPT}}, completion {completion!r:.{EXCERPT}})"
    try:
        scores = step_scores(prompt, completion, list(steps), **columns)
    except Exception as error:
        error.add_note(f"raised by step_scores for {where}")
        raise
    try:
        values = np.asarray(to_numpy(scores) if is_array(scores) else list(scores))
    except (TypeError, ValueError) as error:
        raise TypeError(f"step_scores returned {scores!r:.{EXCERPT}} for {where}, expected a score a step") from error
    if values.dtype.kind not in "fiub":
        raise TypeError(f"step_scores returned {scores!r:.{EXCERPT}} for {where}, expected numbers")
    if values.shape != (len(steps),):
        raise ValueError(f"step_scores returned scores of shape {values.shape} for the {len(steps)} steps of {where}")
    values = values.astype(np.float64)
    wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(wrong):
        step = wrong[0]
        raise ValueError(
            f"step_scores[{step}] is {values[step]:g} for step {steps[step]!r:.{EXCERPT}} of {where}, expected a score "
            f"in [0, 1]; squash log-odds with a sigmoid first"
        )
    return values.tolist()


def _check_step_scores(step_scores: Any) -> None:
    if not callable(step_scores):
        raise TypeError(f"step_scores: expected a function, got {type(step_scores).__name__}")
    if inspect.iscoroutinefunction(step_scores):
        raise TypeError("step_scores is asynchronous, expected a plain function")
    try:
        signature = inspect.signature(step_scores)
    except (TypeError, ValueError):  # some functions written in C have no signature to read
        return
    try:
        signature.bind_partial("prompt", "completion", ["step"], **{"a column of the data set": None})
    except TypeError as error:
        raise TypeError(
            f"step_scores takes {signature}, expected (prompt, completion, steps, **columns): every column of the data "
            f"set is passed"
        ) from error


def _check_settings(args: Any) -> None:
    for name, (value, why) in _SETTINGS.items():
        if getattr(args, name, value) != value:
            raise ValueError(f"{type(args).__name__}({name}={getattr(args, name)!r}): expected {value!r}; {why}")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan
