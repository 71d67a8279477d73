"""TRL's GRPOTrainer and RLOOTrainer with rewards and advantages from a `Pipeline`.

TRL calls a reward function with the completions of one process, and a group of completions of one prompt may lie on
several processes. So a reward function scores samples one by one, and what needs the group happens after TRL has
gathered the scores of all processes:

    trainer = PipelineGRPOTrainer(
        model, reward_funcs=reward_functions(signals), args=GRPOConfig(scale_rewards="none"), ..., pipeline=pipeline
    )

What TRL does to a bounded reward by itself. With `scale_rewards="group"`, its default, TRL divides the rewards of every
group by their standard deviation. Advantages then stay the same whatever a > 0 and b turn a group's rewards r into
a r + b, so the sizes that a log-sigmoid took care to give are lost: a group whose completions all clear the reference
(utilities between -0.007 and -0.001) pushes as hard as one that runs from -5 to 0, and the utility's promise to stop
pushing once completions are good is broken. "batch" keeps the sizes of groups relative to one another but not from
batch to batch. The trainers here take the pipeline's advantages as they are and insist on `scale_rewards="none"`, so
that nothing is standardised unless the pipeline says so.

Nothing here imports TRL before a trainer is asked for.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from rewardlab.adapters.samples import Signal, check_signals, score_samples
from rewardlab.transforms import Pipeline

STATE = "rewardlab_pipeline"  # where a checkpoint's trainer_state.json keeps the pipeline's running statistics
_HOOKS = ("_calculate_rewards", "_generate_and_score_completions")  # TRL's methods that the trainers extend
_TRAINERS = {"PipelineGRPOTrainer": "GRPOTrainer", "PipelineRLOOTrainer": "RLOOTrainer"}

__all__ = ["moved", "per_sample_reward_function", "reward_functions", "with_pipeline", *_TRAINERS]


def reward_functions(signals: Mapping[str, Signal]) -> list[Callable[..., list[float | None]]]:
    """Return TRL reward functions, one a signal, in the signals' order and under their names.

    Args:
        signals: Functions `signal(prompt, completion, **columns)` of one sample by name, each returning a number, or
            None where it does not apply. Prompt and completion come as the data set has them: text, or lists of
            messages (`rewardlab.adapters.samples.completion_text` makes text of both). Columns are those of the data
            set, `completion_ids`, and `environments` where an environment factory is used.

    Returns:
        Functions with TRL's signature, for `reward_funcs`. None stays None: TRL carries it as a missing score. Each
        logs the share of samples to which its signal applies as `reward/<signal>/applies`.

    Raises:
        TypeError: If a signal cannot be called for a sample; when called, if it returns no number (a string, say).
        ValueError: When called, if a signal is infinite; the message names signal and sample.

    Example:
        >>> short, = reward_functions({"short": lambda prompt, completion, **columns: len(completion) < 5})
        >>> short.__name__, short(prompts=["Hi", "Hi"], completions=["Ho", "Good day"])
        ('short', [1.0, 0.0])
    """
    return [_reward_function(name, signal) for name, signal in check_signals(signals).items()]


def _reward_function(name: str, signal: Signal) -> Callable[..., list[float | None]]:
    def reward(prompts: Sequence, completions: Sequence, log_metric: Any = None, **columns: Any) -> list[float | None]:
        scores = score_samples({name: signal}, _samples(prompts, completions, columns))[name]
        if log_metric is not None:
            log_metric(f"reward/{name}/applies", float(np.mean(~np.isnan(scores))))
        return _none_where_nan(scores)

    reward.__name__ = reward.__qualname__ = name
    return reward


def per_sample_reward_function(pipeline: Pipeline, signals: Mapping[str, Signal]) -> Callable[..., list[float | None]]:
    """Return one TRL reward function for a pipeline that looks at one sample at a time: no trainer subclass needed.

    Use it with `trl.GRPOTrainer` and `scale_rewards="none"`; see the top of this module for what the default would do
    to the rewards. TRL then subtracts the group's mean.

    Args:
        pipeline: A pipeline without group stages, advantage or running statistics. A signal's reference that comes
            with the prompt (`Centre(Given())`) is read from the data set's column `<signal>_reference`.
        signals: Functions of one sample by name, as for `reward_functions`; exactly the pipeline's names.

    Returns:
        A function with TRL's signature that gives the combined reward, None where no signal applies. It logs the mean
        of every stage as `reward/<stage>` (TRL averages these over processes, not over samples: they differ by a
        little where signals are missing) and every sample's values into the table of completions.

    Raises:
        ValueError: If the pipeline needs more than one sample, since TRL may split a group between processes and every
            process would keep statistics of its own; or if names differ. When called, as `reward_functions`.
        TypeError: As `reward_functions`.
    """
    signals = check_signals(signals)
    _check_names(pipeline, list(signals))
    if pipeline.needs_groups:
        raise ValueError(
            f"{', '.join(pipeline.group_stages)} of the pipeline need whole groups, but TRL may split a group between "
            f"processes and show a reward function only a part; use PipelineGRPOTrainer(pipeline=...) with "
            f"reward_functions(...)"
        )
    if pipeline.state_dict():
        raise ValueError(
            "the pipeline keeps running statistics, which would differ from process to process inside a reward "
            "function; use PipelineGRPOTrainer(pipeline=...) with reward_functions(...)"
        )

    def reward(
        prompts: Sequence, completions: Sequence, log_metric: Any = None, log_extra: Any = None, **columns: Any
    ) -> list[float | None]:
        samples = _samples(prompts, completions, columns)
        references = {name: np.array(_references(name, samples)) for name in pipeline.needs_references}
        result = pipeline(score_samples(signals, samples), references=references or None, update=False)
        for stage, mean in result.summary().items():
            if log_metric is not None and not math.isnan(mean):
                log_metric(f"reward/{stage}", mean)
        for stage, values in result.stages.items():
            if log_extra is not None:
                log_extra(f"reward/{stage}", _none_where_nan(values))
        return _none_where_nan(result.rewards)

    reward.__name__ = reward.__qualname__ = "pipeline"
    return reward


def with_pipeline(trainer_class: type) -> type:
    """Return a subclass of a TRL trainer that takes rewards and advantages from a pipeline.

    Its constructor takes `pipeline=` beside the trainer's own arguments. Scores of all processes go through the
    pipeline once TRL has gathered them (groups are runs of `num_generations`), so that the numbers do not depend on how
    many processes there are; each process keeps the advantages of its own completions. A reference that comes with the
    prompt (`Centre(Given())`) is read from the data set's column `<signal>_reference`. Running statistics learn in
    training only, and are kept in checkpoints.

    Means of all stages are logged as `reward/<stage>`, and the table of completions (`log_completions`) shows every
    stage. TRL's own `reward` and `reward_std` become those of the combined reward, `frac_reward_zero_std` the share of
    completions in groups whose advantages are all 0.

    Args:
        trainer_class: `trl.GRPOTrainer`, `trl.RLOOTrainer` or a subclass; `PipelineGRPOTrainer` and
            `PipelineRLOOTrainer` are there ready-made.

    Raises:
        RuntimeError: If the trainer has not the methods of TRL 1.16 that this extends.
        ValueError: When constructing: if the pipeline has no advantage, names of reward functions and signals differ, a
            reference column is missing, or a setting would be lost or undo the pipeline: `scale_rewards` other than
            "none", `reward_weights`, `multi_objective_aggregation`; of RLOO `beta` other than 0 (its KL penalty is a
            part of the reward), `normalize_advantages` and `reward_clip_range`.
    """
    for hook in _HOOKS:
        if list(inspect.signature(getattr(trainer_class, hook, lambda: None)).parameters)[:2] != ["self", "inputs"]:
            raise moved(f"{trainer_class.__name__} has no {hook}(inputs, ...)")
    description = f"`{trainer_class.__name__}` with rewards and advantages from a pipeline; see `with_pipeline`."
    members = {"__doc__": description, "__module__": __name__}
    return type(f"Pipeline{trainer_class.__name__}", (_PipelineTrainer, trainer_class), members)


def __getattr__(name: str) -> type:
    """Build a trainer when it is first asked for, since importing TRL takes seconds."""
    if name not in _TRAINERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import trl
    except ImportError as error:
        raise ImportError(f"{name} needs TRL, which is not installed: pip install 'rewardlab[trl]'") from error
    globals()[name] = with_pipeline(getattr(trl, _TRAINERS[name]))
    return globals()[name]


class _PipelineTrainer:
    """What `with_pipeline` adds to a trainer."""

    def __init__(self, *args: Any, pipeline: Pipeline, **kwargs: Any) -> None:
        if not isinstance(pipeline, Pipeline):
            raise TypeError(f"pipeline: expected a Pipeline, got {type(pipeline).__name__}")
        if pipeline.advantage is None:
            raise ValueError("the pipeline has no advantage; give it one: Pipeline(..., advantage=MeanCentred()), say")
        if kwargs.get("args") is not None:
            _check_settings(kwargs["args"])  # before a model is loaded
        super().__init__(*args, **kwargs)
        _check_settings(self.args)
        _check_names(pipeline, self.reward_func_names)
        columns = getattr(self.train_dataset, "column_names", None)
        for name in pipeline.needs_references if columns is not None else ():
            _check_reference_column(name, columns)
        self.pipeline = pipeline
        self._pipeline_result = None
        self.add_callback(_state_keeper(pipeline))

    def _calculate_rewards(self, inputs: list, *args: Any, **kwargs: Any) -> Any:
        gathered = super()._calculate_rewards(inputs, *args, **kwargs)
        self._pipeline_result = self._combine(gathered, inputs)
        return gathered

    def _generate_and_score_completions(self, inputs: list) -> dict[str, Any]:
        self._pipeline_result = None
        output = super()._generate_and_score_completions(inputs)
        if self._pipeline_result is None or output.get("advantages", np.empty(())).shape != (len(inputs),):
            raise moved("advantages are no longer made of what _calculate_rewards returns")
        output["advantages"] = self._local_advantages(output["advantages"])
        self._log_pipeline()
        return output

    def _combine(self, gathered: Any, inputs: list) -> Any:
        """Run the pipeline over the scores of all processes; every process does so and gets the same."""
        if tuple(gathered.shape) != (len(inputs) * self.accelerator.num_processes, len(self.reward_func_names)):
            raise moved(
                f"scores of all processes have shape {tuple(gathered.shape)}, expected (samples, reward functions) = "
                f"({len(inputs) * self.accelerator.num_processes}, {len(self.reward_func_names)})"
            )
        scores = _on_host(gathered)
        references = {
            name: _on_host(self.accelerator.gather(gathered.new_tensor(_references(name, inputs))))
            for name in self.pipeline.needs_references
        }
        return self.pipeline(
            {name: scores[:, column] for column, name in enumerate(self.reward_func_names)},
            group_ids=np.arange(len(scores)) // self._group_size(),
            references=references or None,
            update=self.model.training,
        )

    def _group_size(self) -> int:
        return self.num_generations if self.model.training else self.num_generations_eval

    def _local_advantages(self, theirs: Any) -> Any:
        start = self.accelerator.process_index * len(theirs)
        return theirs.new_tensor(self._pipeline_result.advantages[start : start + len(theirs)])

    def _log_pipeline(self) -> None:
        result = self._pipeline_result
        metrics = self._metrics["train" if self.model.training else "eval"]
        for stage, mean in result.summary().items():
            metrics[f"reward/{stage}"].append(mean)
        rewards = result.rewards[result.present]
        idle = ~result.advantages.reshape(-1, self._group_size()).any(axis=1)
        metrics["reward"][-1] = float(rewards.mean()) if len(rewards) else math.nan
        metrics["reward_std"][-1] = float(rewards.std(ddof=1)) if len(rewards) > 1 else math.nan
        metrics["frac_reward_zero_std"][-1] = float(idle.mean())
        logged = self._logs["advantages"]
        for _ in range(min(len(logged), len(result.advantages))):
            logged.pop()
        logged.extend(result.advantages.tolist())
        if self.log_completions:
            for stage, values in result.stages.items():
                self._logs["extra"][f"reward/{stage}"].extend(_none_where_nan(values))


def _check_settings(args: Any) -> None:
    import trl

    expected = {
        "scale_rewards": ("none", "the pipeline's advantage says whether anything is standardised"),
        "multi_objective_aggregation": ("sum_then_normalize", "use the pipeline's advantage=NormaliseThenSum()"),
        "reward_weights": (None, "give the weights to the pipeline's combine="),
        "normalize_advantages": (False, "use the pipeline's advantage=BatchStandardised()"),
        "reward_clip_range": (None, "clip in the pipeline instead"),
    }
    if isinstance(args, trl.RLOOConfig):
        expected["beta"] = (0.0, "RLOO takes its KL penalty off the reward, where the pipeline's advantages replace it")
    for name, (value, why) in expected.items():
        if getattr(args, name, value) != value:
            raise ValueError(f"{type(args).__name__}({name}={getattr(args, name)!r}): expected {value!r}; {why}")


def _check_names(pipeline: Pipeline, names: list[str]) -> None:
    if sorted(names) != sorted(pipeline.names):
        raise ValueError(
            f"reward functions are named {names}, expected one for each of the pipeline's signals "
            f"{list(pipeline.names)}"
        )


def _check_reference_column(name: str, columns: Any) -> None:
    if f"{name}_reference" not in columns:
        raise ValueError(
            f"the pipeline compares signal {name!r} with a reference that comes with the prompt: expected a column "
            f"'{name}_reference' in the data set, which has {sorted(columns)}"
        )


def _references(name: str, samples: list) -> list[float]:
    for sample in samples:
        _check_reference_column(name, sample)
    values = [sample[f"{name}_reference"] for sample in samples]
    return [math.nan if value is None else float(value) for value in values]


def _samples(prompts: Sequence, completions: Sequence, passed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn TRL's columns into samples; what is no list (`trainer_state`, `log_extra`) is no column."""
    columns = {"prompt": prompts, "completion": completions}
    columns |= {name: values for name, values in passed.items() if isinstance(values, list)}
    for name, values in columns.items():
        if len(values) != len(completions):
            raise ValueError(f"column {name!r} has {len(values)} values for {len(completions)} completions")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _on_host(scores: Any) -> np.ndarray:
    """Scores of a batch as float64 for the pipeline: a few kilobytes, and some devices have no float64."""
    return scores.cpu().numpy().astype(np.float64)


def _none_where_nan(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _state_keeper(pipeline: Pipeline) -> Any:
    """Return a callback that keeps the pipeline's running statistics in the trainer's state, so in its checkpoints."""
    from transformers import TrainerCallback

    class StateKeeper(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            state.stateful_callbacks[STATE] = {"args": {}, "attributes": pipeline.state_dict()}

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if STATE in state.stateful_callbacks:
                pipeline.load_state_dict(state.stateful_callbacks[STATE]["attributes"])

    return StateKeeper()


def moved(what: str) -> RuntimeError:
    """The error that says that the installed TRL is not the one these trainers extend."""
    return RuntimeError(
        f"{what}; rewardlab extends TRL 1.16, installed is trl {metadata.version('trl')}: install trl 1.16"
    )
