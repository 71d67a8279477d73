"""Scores of single samples: the core that the adapters of all language-model trainers share.

No trainer promises a reward function its whole group, so a signal sees one sample and nothing else. What needs the
group (centring on its quantile, standardising, advantages) happens later, in the `Pipeline`, over `group_ids`.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rewardlab.transforms import Pipeline

# signal(prompt, completion, **columns) -> number, or None where the signal does not apply to the sample
Signal: TypeAlias = Callable[..., Any]
Messages: TypeAlias = str | list

NUMBER = (float, int, np.floating, np.integer, np.bool_)  # bool is an int: a check that fails or passes is 0 or 1
EXCERPT = 60  # characters of a sample shown in an error

__all__ = ["SampleReward", "Signal", "check_signals", "completion_text", "score_sample", "score_samples"]


def completion_text(completion: Messages) -> str:
    """Return the text that the model wrote, whether it came as plain text or as a conversation.

    Of a conversation, the contents of the assistant's messages count, joined by line breaks. Messages of other roles
    do not: a signal that read a tool's answer as the model's words could be earned without a word of the model.

    Args:
        completion: Plain text, or a list of messages `{"role": ..., "content": ...}`; a content is text, None (a
            message of tool calls only) or a list of parts, of which those of type "text" count.

    Raises:
        TypeError: If it is neither, or a message or its content is of another form.

    Example:
        >>> completion_text([{"role": "assistant", "content": "4"}])
        '4'
    """
    if isinstance(completion, str):
        return completion
    if not isinstance(completion, list | tuple):
        raise TypeError(f"completion: expected text or a list of messages, got {type(completion).__name__}")
    texts = []
    for position, message in enumerate(completion):
        if not isinstance(message, Mapping) or "role" not in message:
            raise TypeError(
                f"completion[{position}]: expected a message with role and content, got {message!r:.{EXCERPT}}"
            )
        if message["role"] == "assistant" and message.get("content") is not None:
            texts.append(_content_text(message["content"], position))
    return "\n".join(texts)


def _content_text(content: Any, position: int) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple) or not all(isinstance(part, Mapping) for part in content):
        raise TypeError(
            f"completion[{position}]['content']: expected text, None or a list of parts, got {type(content).__name__}"
        )
    return "".join(part["text"] for part in content if part.get("type") == "text")


def check_signals(signals: Mapping[str, Signal]) -> dict[str, Signal]:
    """Return the signals if every one can be called for a sample; adapters check once, before training starts.

    Raises:
        TypeError: If it is no mapping from names to functions, a function is asynchronous, or takes no `**columns`
            (a trainer passes every column of the data set, and more of its own from release to release).
        ValueError: If there is none.
    """
    if not isinstance(signals, Mapping):
        raise TypeError(f"signals: expected a dict of name -> function, got {type(signals).__name__}")
    if not signals:
        raise ValueError("signals is empty, expected at least one function to score a sample with")
    for name, signal in signals.items():
        if not isinstance(name, str):
            raise TypeError(f"signals: expected names as keys, got {name!r}")
        if not callable(signal):
            raise TypeError(f"signal {name!r}: expected a function, got {type(signal).__name__}")
        if inspect.iscoroutinefunction(signal):
            raise TypeError(f"signal {name!r} is asynchronous, expected a plain function")
        _check_takes_columns(name, signal)
    return dict(signals)


def _check_takes_columns(name: str, signal: Signal) -> None:
    try:
        parameters = list(inspect.signature(signal).parameters.values())
    except (TypeError, ValueError):  # some functions written in C have no signature to read
        return
    listed = ", ".join(map(str, parameters))
    if "completions" in {parameter.name for parameter in parameters}:
        raise TypeError(
            f"signal {name!r} takes ({listed}), a trainer's form for batches; a signal takes one sample: "
            f"(prompt, completion, **columns)"
        )
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    places = sum(parameter.kind in by_place for parameter in parameters)
    if places < 2 and not any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        raise TypeError(f"signal {name!r} takes ({listed}), expected (prompt, completion, **columns)")
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        raise TypeError(
            f"signal {name!r} takes ({listed}), expected (prompt, completion, **columns): "
            f"every column of the data set is passed"
        )


def score_sample(signals: Mapping[str, Signal], prompt: Any, completion: Any, /, **columns: Any) -> dict[str, float]:
    """Score one sample with every signal.

    Args:
        signals: Functions `signal(prompt, completion, **columns)` by name. Each returns a number, True or False (1 or
            0), or None or NaN where it does not apply to the sample.
        prompt: What the model was asked, as the trainer has it: text or a list of messages.
        completion: What it answered, in the same form; `completion_text` makes text of both.
        columns: Everything else known of the sample, passed on by name.

    Returns:
        A float for every signal, always under the same keys in the same order: NaN where it does not apply.

    Raises:
        TypeError: If a signal returns anything else (a string, an array, a tensor); names signal and sample.
        ValueError: If a signal is infinite; names signal and sample.
        Exception: What a signal raises passes through, with a note that names signal and sample.

    Example:
        >>> signals = {"short": lambda prompt, completion, **columns: len(completion) < 5,
        ...            "right": lambda prompt, completion, answer=None, **columns: answer and completion == answer}
        >>> score_sample(signals, "2 + 2 =", "4", answer="4")
        {'short': 1.0, 'right': 1.0}
        >>> score_sample(signals, "Hello", "Hello to you")
        {'short': 0.0, 'right': nan}
    """
    return _score(signals, prompt, completion, columns, "")


def score_samples(signals: Mapping[str, Signal], samples: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Score a batch of samples with every signal, one sample at a time.

    Args:
        signals: Functions by name, as for `score_sample`.
        samples: One mapping a sample, with the keys "prompt" and "completion" and any further columns.

    Returns:
        For every signal its float64 values, shape (samples,): NaN where it does not apply. What a `Pipeline` takes.

    Raises:
        TypeError: As `score_sample`, or if `signals` are no functions of a sample (see `check_signals`).
        ValueError: As `score_sample`, or if a sample lacks its prompt or completion.

    Example:
        >>> shout = lambda prompt, completion, **columns: completion.isupper()
        >>> samples = [{"prompt": "Hi", "completion": "HI"}, {"prompt": "Hi", "completion": "hi"}]
        >>> score_samples({"shout": shout}, samples)
        {'shout': array([1., 0.])}
    """
    return _score_all(check_signals(signals), samples)


@dataclass(frozen=True)
class SampleReward:
    """One reward a sample, with every signal beside it: what verl and OpenRLHF ask of a reward function.

    It can be pickled if the signals can: functions defined in a module can, lambdas cannot.

    Args:
        signals: Functions of one sample by name, as for `score_sample`.
        main: Name of the signal that is the reward. May be left out where there is but one signal.
        pipeline: Combines the signals into the reward instead, sample by sample: exactly the signals' names, and no
            stage that needs the group, no advantage and no running statistics. A reference that comes with the prompt
            (`Centre(Given())`) is read from the sample's column `<signal>_reference`.
        absent_reward: The reward of a sample that has none because no signal applies, for these trainers cannot leave a
            sample out. None makes it an error.

    Raises:
        TypeError: If a signal cannot be called for a sample.
        ValueError: If neither or both of `main` and `pipeline` say what the reward is, `main` is no signal, or the
            pipeline cannot work on single samples.

    Example:
        >>> signals = {"short": lambda prompt, completion, **columns: len(completion) < 5,
        ...            "right": lambda prompt, completion, answer, **columns: completion == answer}
        >>> reward = SampleReward(signals, main="right")
        >>> reward([{"prompt": "2 + 2 =", "completion": "5", "answer": "4"}])
        (array([0.]), {'short': array([1.]), 'right': array([0.])})
    """

    signals: Mapping[str, Signal]
    main: str | None = None
    pipeline: Pipeline | None = None
    absent_reward: float | None = None

    def __post_init__(self):
        signals = check_signals(self.signals)
        object.__setattr__(self, "signals", signals)
        if self.main is not None and self.pipeline is not None:
            raise ValueError(f"main is {self.main!r} and there is a pipeline, expected one of the two to be the reward")
        if self.pipeline is not None:
            _check_works_on_samples(self.pipeline, signals)
        elif self.main is None and len(signals) == 1:
            object.__setattr__(self, "main", next(iter(signals)))
        elif self.main not in signals:
            raise ValueError(
                f"main is {self.main!r}, expected the signal that is the reward, one of "
                f"{', '.join(map(repr, signals))}, or a pipeline that combines them"
            )

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Score samples, each a mapping with "prompt", "completion" and any further columns.

        Returns:
            Rewards (samples,), and every signal's values (samples,) by name, NaN where it does not apply.

        Raises:
            TypeError: As `score_sample`.
            ValueError: As `score_samples`, if no signal applies to a sample and `absent_reward` is None, or if a sample
                lacks a reference.
        """
        scores = _score_all(self.signals, samples)
        rewards = scores[self.main] if self.pipeline is None else self._combined(scores, samples)
        absent = np.isnan(rewards)
        if not absent.any():
            return rewards, scores
        if self.absent_reward is None:
            index = int(np.argmax(absent))
            what = f"signal {self.main!r} does not apply" if self.pipeline is None else "no signal applies"
            excerpt = _excerpt(samples[index]["prompt"], samples[index]["completion"])
            raise ValueError(
                f"{what} to sample {index}{excerpt}, so it has no reward; "
                f"absent_reward says what the trainer is to get instead"
            )
        return np.where(absent, self.absent_reward, rewards), scores

    def _combined(self, scores: dict[str, np.ndarray], samples: Sequence[Mapping[str, Any]]) -> np.ndarray:
        references = {name: _references(name, samples) for name in self.pipeline.needs_references}
        return np.asarray(self.pipeline(scores, references=references or None, update=False).rewards)


def _check_works_on_samples(pipeline: Pipeline, signals: Mapping[str, Signal]) -> None:
    if set(pipeline.names) != set(signals):
        raise ValueError(f"the pipeline is for {sorted(pipeline.names)}, but the signals are {sorted(signals)}")
    if pipeline.needs_groups:
        raise ValueError(
            f"{', '.join(map(repr, pipeline.group_stages))} compares the samples of a group, but the trainer passes "
            f"samples one by one; what needs the group belongs in the trainer's advantage estimator"
        )
    if pipeline.state_dict():
        raise ValueError(
            "the pipeline keeps running statistics, but the trainer calls the reward in several processes, each of "
            "which would keep its own"
        )


def _references(name: str, samples: Sequence[Mapping[str, Any]]) -> np.ndarray:
    column = f"{name}_reference"
    for index, sample in enumerate(samples):
        if column not in sample:
            raise ValueError(
                f"sample {index} has no column {column!r}, which the pipeline's stage Centre(Given()) needs"
            )
        _as_float(sample[column], column, lambda: f"sample {index}")  # noqa: B023 - called at once or not at all
    return np.array([sample[column] for sample in samples], dtype=np.float64)


def _score_all(signals: Mapping[str, Signal], samples: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    rows = []
    for index, sample in enumerate(samples):
        columns = dict(sample)
        missing = {"prompt", "completion"} - columns.keys()
        if missing:
            raise ValueError(f"sample {index} has no {' and no '.join(sorted(missing))}, only {sorted(columns)}")
        rows.append(_score(signals, columns.pop("prompt"), columns.pop("completion"), columns, f" {index}"))
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in signals}


def _score(signals: Mapping[str, Signal], prompt: Any, completion: Any, columns: dict, index: str) -> dict[str, float]:
    scores = {}
    for name, signal in signals.items():
        try:
            value = signal(prompt, completion, **columns)
        except Exception as error:
            error.add_note(f"raised by signal {name!r} for sample{index}{_excerpt(prompt, completion)}")
            raise
        if type(value) is not float or not math.isfinite(value):  # the usual case pays for no more than this
            value = _as_float(value, name, lambda: f"sample{index}{_excerpt(prompt, completion)}")
        scores[name] = value
    return scores


def _as_float(value: Any, name: str, sample: Callable[[], str]) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, NUMBER):
        raise TypeError(
            f"signal {name!r} is a {type(value).__name__} ({value!r:.{EXCERPT}}) for {sample()}, expected one number, "
            f"or None where it does not apply"
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise ValueError(
            f"signal {name!r} is {value!r:.{EXCERPT}} for {sample()}, expected a finite number, "
            f"or None where it does not apply"
        )
    return number


def _excerpt(prompt: Any, completion: Any) -> str:
    return f" (prompt {prompt!r:.{EXCERPT}}, completion {completion!r:.{EXCERPT}})"
