"""From samples to rewards: signals, pipeline and rewards of steps, as one TOML file describes them.

    [sources]                                       # what is measured: a kind, or a table with a kind and settings
    correct = "verifier"
    brief = { kind = "brevity", target = 8 }

    [pipeline.signals]                              # how it is reshaped and combined: rewardlab.transforms.Pipeline
    correct = []
    brief = []

    [pipeline.combine]
    kind = "minimum"

    [process]                                       # and what each step is paid, where the task has steps
    source = "step_labels"
    mode = "clip_delta"
    threshold = 0.7
    weight = 0.1

The same file runs in other trainers, which score samples one by one: `path.signals` and `path.pipeline` are what
`rewardlab.adapters.trl.per_sample_reward_function` and `rewardlab.adapters.verl.compute_score_function` take.
"""

import logging
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tomli_w
from jaxtyping import Bool, Float

from llm_scale.rewards.process_rewards import Process, ScoredSteps, StepSignal, process_of
from llm_scale.rewards.sample import Sample
from llm_scale.rewards.scoring import Failure, score_signals, score_steps
from llm_scale.rewards.sources import BatchSignal, source_of
from llm_scale.running.distributed import World
from llm_scale.tasks.task import Task
from rewardlab.adapters.samples import Signal
from rewardlab.checks import check_choice
from rewardlab.process import pad_steps, place_on_tokens
from rewardlab.transforms import Pipeline

__all__ = ["Failure", "RewardPath", "Rewards"]

HOME = Path(__file__).parent
OnFailure = Literal["mask", "stop"]
SECTIONS = ("sources", "pipeline", "process")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Rewards:
    """What a batch of samples is worth.

    Args:
        rewards: One reward a sample, NaN where it has none. With credit "sequence" the steps are in it.
        present: Which samples have a reward; the others have no part in training.
        advantages: One advantage a sample if the reward file has a section [pipeline.advantage], to be used in place of
            the objective's; 0 where there is no reward. None otherwise.
        signals: Each signal before the pipeline, NaN where it does not apply or failed.
        stages: What each stage of the pipeline made of it, NaN where absent.
        failures: Signals that raised, ran out of time, or lacked a step's score, one entry each.
        steps: The steps of each sample, none where it has none or is absent; None without a section [process].
        credit: "token" or "sequence"; see `Process`.
    """

    rewards: Float[np.ndarray, " samples"]
    present: Bool[np.ndarray, " samples"]
    advantages: Float[np.ndarray, " samples"] | None
    signals: dict[str, Float[np.ndarray, " samples"]]
    stages: dict[str, Float[np.ndarray, " samples"]]
    failures: list[Failure] = field(default_factory=list)
    steps: list[ScoredSteps] | None = None
    credit: str = "token"

    @property
    def step_rewards(self) -> list[list[float]] | None:
        """What each step is paid, sample by sample; None without rewards of steps."""
        return None if self.steps is None else [steps.rewards for steps in self.steps]

    @property
    def step_ends(self) -> list[list[int]] | None:
        """Index of each step's last token in its completion, sample by sample; None without rewards of steps."""
        return None if self.steps is None else [steps.ends for steps in self.steps]

    def token_step_rewards(self, tokens: int) -> Float[np.ndarray, "samples tokens"] | None:
        """Each step's reward at its last token, 0 elsewhere; None where steps are not credited token by token.

        Args:
            tokens: Length of the padded completions.
        """
        if self.steps is None or self.credit == "sequence":
            return None
        rewards = pad_steps(self.step_rewards)
        return place_on_tokens(rewards.values, rewards.mask, pad_steps(self.step_ends).values.astype(np.int64), tokens)

    def summary(self) -> dict[str, float]:
        """Numbers for a log: mean of each signal and stage, how many samples are absent, what the steps are like."""
        row = {f"reward/{name}": _mean(values) for name, values in self.stages.items()}
        row["reward/mean"] = _mean(self.rewards)
        row["reward/absent"] = float(np.sum(~self.present))
        row["reward/failures"] = float(len(self.failures))
        for name, values in self.signals.items():
            row[f"reward/{name}/absent"] = float(np.isnan(values).sum())
        if self.steps is not None:
            here = [steps for steps, present in zip(self.steps, self.present, strict=True) if present]
            row["reward/step/count"] = _mean([len(steps.scores) for steps in here])
            row["reward/step/score"] = _mean([score for steps in here for score in steps.scores])
            row["reward/step/sum"] = _mean([sum(steps.rewards) for steps in here])
        return row


@dataclass
class RewardPath:
    """Signals, pipeline and rewards of steps; called with a batch of samples.

    Args:
        task: Whose answers are rewarded.
        signals: Functions of one sample, by name.
        pipeline: Makes one reward of them.
        process: Rewards of steps, if any.
        on_failure: "mask" leaves a sample out for which a signal raises, runs out of time or lacks a step's score, and
            counts it; "stop" makes it an error.
    """

    task: Task
    signals: Mapping[str, Signal]
    pipeline: Pipeline
    process: Process | None = None
    on_failure: OnFailure = "mask"

    def __post_init__(self) -> None:
        check_choice("on_failure", self.on_failure, get_args(OnFailure))
        if set(self.signals) != set(self.pipeline.names):
            raise ValueError(
                f"sources are {sorted(self.signals)}, but the pipeline's signals {sorted(self.pipeline.names)}"
            )
        if self.pipeline.needs_references:
            names = ", ".join(self.pipeline.needs_references)
            raise ValueError(
                f"pipeline: {names} need a given reference, which is not known here; use fixed or group ones"
            )
        if self.process is not None and self.pipeline.advantage is not None:
            raise ValueError(
                "pipeline.advantage: expected none beside [process]; what steps are paid has to be added up with the "
                "reward of the answer before anything is centred"
            )

    @classmethod
    def from_toml(
        cls,
        source: str | Path,
        task: Task,
        *,
        given: Mapping[str, BatchSignal | StepSignal] | None = None,
        on_failure: OnFailure = "mask",
        seconds: float = 5.0,
    ) -> "RewardPath":
        """Read a reward file.

        Args:
            source: The file (see `resolve`), or its text.
            task: Whose answers are rewarded.
            given: Learned rewards for the entries of kind "given": signals under their names, the scores of steps under
                "process".
            on_failure: As of the class.
            seconds: Time that the verifier has for one answer, where the file does not say.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the text is not TOML, or anything in it is unknown, missing or out of range; says where.
        """
        text = source if isinstance(source, str) and "\n" in source else cls.resolve(source).read_text("utf-8")
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"reward: not TOML: {error}") from None
        unknown = sorted(set(document) - set(SECTIONS))
        if unknown:
            raise ValueError(f"reward: unknown section {unknown[0]!r}, expected one of {', '.join(SECTIONS)}")
        for section in ("sources", "pipeline"):
            if not isinstance(document.get(section), Mapping) or not document[section]:
                raise ValueError(f"reward: expected a section [{section}] that is not empty")
        given = given or {}
        process = process_of(document["process"], task, given) if "process" in document else None
        sources = document["sources"].items()
        signals = {name: source_of(name, table, task, given, seconds) for name, table in sources}
        unused = sorted(set(given) - set(signals) - {"process"})
        if unused:
            raise ValueError(f"given: no source is called {unused[0]!r}, only {', '.join(signals)}")
        pipeline = Pipeline.from_toml(tomli_w.dumps(document["pipeline"]))
        return cls(task, signals, pipeline, process, on_failure)

    @staticmethod
    def resolve(path: str | Path) -> Path:
        """The file that is meant: `path` as it stands, or, where there is none, inside llm_scale: `rewards/clip.toml`.

        Raises:
            FileNotFoundError: If there is neither.
        """
        path = Path(path)
        for candidate in (path, HOME.parent / path):
            if candidate.is_file():
                return candidate
        shipped = ", ".join(sorted(file.name for file in HOME.glob("*.toml")))
        raise FileNotFoundError(f"no reward file {str(path)!r}; in rewards/ there are {shipped}")

    def __call__(
        self, samples: Sequence[Sample], group_ids: Any, *, update: bool = True, world: World | None = None
    ) -> Rewards:
        """Score a batch.

        A sample for which a signal fails is left out altogether, as it would be without having been drawn: an answer
        that breaks a verifier must not be paid for its brevity. NaN or None only says that the signal does not apply.

        Args:
            samples: The answers.
            group_ids: One id a sample; samples of equal ids answer the same prompt.
            update: Whether running statistics take in this batch: True in training, False in evaluation.
            world: The processes of which each scores its own share of the batch: what compares samples (centring,
                advantages, running statistics) then sees all of them. By default there is this process alone.

        Raises:
            ValueError: If a signal is infinite, a step's score outside [0, 1], no sample has a reward, or (with
                on_failure "stop") a signal fails; names signal, prompt and sample.
            TypeError: If a signal is no number.
        """
        samples = list(samples)
        if len(samples) != len(group_ids):
            raise ValueError(f"there are {len(samples)} samples, but {len(group_ids)} group_ids")
        if not samples:
            raise ValueError("samples is empty, expected at least one")
        stop = self.on_failure == "stop"
        signals, failures = score_signals(self.signals, samples, stop=stop)
        steps = None
        if self.process is not None:
            failed = {failure.row for failure in failures}
            steps, more = score_steps(self.process, self.task, samples, failed, stop=stop)
            failures += more
        for failure in failures:
            _log.warning("%s", failure)
        return self._combined(samples, np.asarray(group_ids), signals, failures, steps, update, world or World.single())

    def state_dict(self) -> dict[str, dict[str, float]]:
        """Running statistics of the pipeline, for a checkpoint."""
        return self.pipeline.state_dict()

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Take over what `state_dict` gave."""
        self.pipeline.load_state_dict(state)

    def _combined(
        self,
        samples: list[Sample],
        group_ids: np.ndarray,
        signals: dict[str, np.ndarray],
        failures: list[Failure],
        steps: list[ScoredSteps] | None,
        update: bool,
        world: World,
    ) -> Rewards:
        failed = {failure.row for failure in failures}
        kept = np.array([place not in failed for place in range(len(samples))])
        shares = world.gather((signals, [(world.rank, one) for one in group_ids.tolist()], kept, failures[:3]))
        every = {name: np.concatenate([share[0][name] for share in shares]) for name in signals}
        every_group = [one for share in shares for one in share[1]]
        every_kept = np.concatenate([share[2] for share in shares])
        self._check_some(every, every_kept, [failure for share in shares for failure in share[3]])
        picked = {name: values[every_kept] for name, values in every.items()}
        groups = [one for one, is_kept in zip(every_group, every_kept, strict=True) if is_kept]
        result = self.pipeline(picked, group_ids=groups, update=update)
        first = sum(len(share[2]) for share in shares[: world.rank])
        scatter = _Scatter(every_kept, slice(first, first + len(samples)))
        rewards, present = scatter(result.rewards, math.nan), scatter(result.present, False)
        if steps is not None and self.process.credit == "sequence":
            rewards = rewards + np.array([sum(of_sample.rewards) for of_sample in steps])
        return Rewards(
            rewards=rewards,
            present=present,
            advantages=None if result.advantages is None else scatter(result.advantages, 0.0),
            signals=signals,
            stages={name: scatter(values, math.nan) for name, values in result.stages.items()},
            failures=failures,
            steps=steps,
            credit="token" if self.process is None else self.process.credit,
        )

    def _check_some(self, signals: dict[str, np.ndarray], kept: np.ndarray, failures: list[Failure]) -> None:
        if all(np.isnan(values[kept]).all() for values in signals.values()):
            reasons = "".join(f"\n  {failure}" for failure in failures[:3])
            raise ValueError(
                f"none of the {len(kept)} samples has a reward: {', '.join(map(repr, signals))} apply to none, or "
                f"failed ({int(np.sum(~kept))} samples){reasons}"
            )


@dataclass(frozen=True)
class _Scatter:
    """Values of the samples that are kept, put where these are among all; of these, one process's share."""

    kept: np.ndarray
    own: slice

    def __call__(self, values: np.ndarray, elsewhere: Any) -> np.ndarray:
        every = np.full(len(self.kept), elsewhere, np.asarray(values).dtype)
        every[self.kept] = values
        return every[self.own]


def _mean(values: Any) -> float:
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else math.nan
