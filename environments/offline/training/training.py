"""An offline training, whole: data, dynamics model, dynamics reward, policy, and what the policy earns."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from environments.offline.loading import load
from environments.offline.training.settings import TrainingSettings
from environments.offline.training.stages import Stage, run_stage
from environments.offline.training.worlds import World, world_of
from long_runs.checkpoints import plain_settings
from long_runs.files import write_atomically
from rewardlab.adapters.offline_evaluation import evaluate_policy, model_returns
from rewardlab.adapters.offline_policy_files import save_policy
from rewardlab.adapters.offline_sac import OfflineSAC
from rewardlab.adapters.offline_training import OfflineTraining
from rewardlab.dynamics.adversarial import AdversarialFit
from rewardlab.dynamics.calibration import calibrate
from rewardlab.dynamics.candidates import EnsembleCandidates
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_files import save_ensemble
from rewardlab.dynamics.ensemble_fit import EnsembleFit
from rewardlab.dynamics.filtered_model import FilteredModel, PlainModel
from rewardlab.dynamics.noise_ladder import NoiseLadder
from rewardlab.dynamics.rejection import rejection_threshold
from rewardlab.dynamics.reward_files import save_dynamics_reward
from rewardlab.transition_table import TransitionTable

__all__ = ["Outcome", "train"]


@dataclass(frozen=True)
class Outcome:
    """What a run left.

    Args:
        sac: The trained agent: `sac.act(observations)` gives its actions.
        model: The model it was trained in, filtered where there is a filter.
        measured: The last evaluation's numbers.
        folder: Of the run: `data.txt` (what was read and repaired), `ensemble.safetensors`,
            `dynamics_reward.safetensors`, `policy.safetensors`, and of each stage metrics, TensorBoard's events and
            checkpoints.
    """

    sac: OfflineSAC
    model: PlainModel
    measured: dict[str, float]
    folder: Path


def train(
    settings: TrainingSettings,
    folder: str | Path,
    *,
    quiet: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run or resume an offline training.

    Args:
        settings: All that decides its numbers.
        folder: Where everything goes; the same call goes on from where a killed one stopped.
        quiet: No progress bars.
        say: Told in a line what came of each stage.

    Raises:
        ValueError: If the data are not as they should be, the task is unknown, or the folder holds another run.
    """
    folder = Path(folder)
    loaded = load(settings.data, repairs=settings.repairs)
    world = world_of(settings, loaded.table)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "data.txt", f"{loaded.report}\n")
    say(f"data: {loaded.report}")
    facts = {"data": _fingerprint(loaded.table), "seed": settings.seed, "device": settings.device}
    ensemble = _fit_ensemble(loaded.table, settings, folder, facts, quiet, say)
    reward = _fit_reward(loaded.table, settings, folder, facts, quiet)
    model = _model(ensemble, reward, loaded.table, settings, world)
    if isinstance(model, FilteredModel):
        say(f"dynamics reward: {reward.snapshots} snapshots; steps below {model.threshold} are rejected")
    return _train_policy(loaded.table, ensemble, model, settings, world, folder, facts, quiet)


def _fit_ensemble(
    table: TransitionTable,
    settings: TrainingSettings,
    folder: Path,
    facts: dict,
    quiet: bool,
    say: Callable[[str], None],
) -> GaussianEnsemble:
    fit = EnsembleFit(table, settings.ensemble, seed=settings.seed, device=settings.device)
    stage = Stage(
        name="ensemble",
        says="dynamics model: an epoch a step, until no member improves",
        advance=fit.epoch,
        turn=lambda: fit.epochs,
        finished=lambda: fit.done,
        state=fit.state_dict,
        load=fit.load_state_dict,
        total=settings.ensemble.max_epochs,
        shown=("loss", "holdout_error"),
    )
    run_stage(stage, folder, plain_settings({**facts, "ensemble": asdict(settings.ensemble)}), quiet=quiet)
    ensemble, report = fit.result()
    ensemble, calibration = calibrate(ensemble, table, report.holdout_rows)
    say(
        f"dynamics model: {report.epochs} epochs on {report.training_rows:,} rows ({report.stopped}), elites "
        f"{report.elites}, deviations times {calibration.factors.min():.2f} to {calibration.factors.max():.2f}"
    )
    save_ensemble(folder / "ensemble.safetensors", ensemble)
    return ensemble


def _fit_reward(
    table: TransitionTable, settings: TrainingSettings, folder: Path, facts: dict, quiet: bool
) -> DynamicsReward | None:
    trainer = settings.filter.trainer
    if trainer == "none":
        return None
    own = settings.noise_ladder if trainer == "noise_ladder" else settings.adversarial
    kind = NoiseLadder if trainer == "noise_ladder" else AdversarialFit
    fit = kind(table, own, seed=settings.seed, device=settings.device)
    stage = Stage(
        name="dynamics_reward",
        says=f"dynamics reward, by the {trainer.replace('_', ' ')} trainer",
        advance=fit.step,
        turn=lambda: fit.iteration,
        finished=lambda: fit.iteration >= own.iterations,
        state=fit.state_dict,
        load=fit.load_state_dict,
        total=own.iterations,
        shown=("loss", "real", "generated"),
    )
    run_stage(stage, folder, plain_settings({**facts, trainer: asdict(own)}), quiet=quiet)
    reward = fit.reward()
    save_dynamics_reward(folder / "dynamics_reward.safetensors", reward)
    return reward


def _model(
    ensemble: GaussianEnsemble,
    reward: DynamicsReward | None,
    table: TransitionTable,
    settings: TrainingSettings,
    world: World,
) -> PlainModel:
    candidates = EnsembleCandidates(
        ensemble,
        samples_per_elite=settings.samples_per_elite,
        clip=settings.clip,
        penalty=settings.penalty if settings.policy.host == "mopo" else None,
    )
    if reward is None:
        return PlainModel(candidates, termination=world.termination)
    chosen = settings.filter
    model = FilteredModel(
        candidates,
        reward,
        termination=world.termination,
        selection=chosen.selection,
        temperature=chosen.temperature,
        threshold=chosen.threshold,
        minimal_length=chosen.minimal_length,
    )
    if chosen.threshold is not None or chosen.rejected_share is None:
        return model
    generator = torch.Generator(settings.device).manual_seed(settings.seed)
    return model.with_threshold(rejection_threshold(model, table, chosen.rejected_share, generator=generator))


def _train_policy(
    table: TransitionTable,
    ensemble: GaussianEnsemble,
    model: PlainModel,
    settings: TrainingSettings,
    world: World,
    folder: Path,
    facts: dict,
    quiet: bool,
) -> Outcome:
    successors = None
    if settings.policy.host == "mobile":
        samples = settings.policy.successor_samples
        successors = EnsembleCandidates(ensemble, samples_per_elite=samples, clip=settings.clip)
    training = OfflineTraining(
        table,
        world.action_space,
        model,
        settings.policy,
        seed=settings.seed,
        successors=successors,
        device=settings.device,
    )
    measured: dict[str, float] = {}

    def evaluate(turns: int) -> dict[str, float]:
        if turns % settings.evaluate_every and not training.finished:
            return {}
        measured.update(evaluation(training.sac, model, table, settings, world))
        return dict(measured)

    stage = Stage(
        name="policy",
        says=f"policy: SAC in the {'filtered' if isinstance(model, FilteredModel) else 'plain'} model",
        advance=training.round,
        turn=lambda: training.updates,
        finished=lambda: training.finished,
        state=training.state,
        load=training.load_state,
        total=settings.policy.updates,
        shown=("rollout_return", "mean_length", "return", "score"),
        extra=evaluate,
        save_every=settings.checkpoint_every,
    )
    run_stage(stage, folder, plain_settings({**facts, **asdict(settings)}), quiet=quiet)
    if not measured:  # the run had been finished before
        measured.update(evaluation(training.sac, model, table, settings, world))
    save_policy(folder / "policy.safetensors", training.sac)
    return Outcome(training.sac, model, measured, folder)


def evaluation(
    sac: OfflineSAC, model: PlainModel, table: TransitionTable, settings: TrainingSettings, world: World
) -> dict[str, float]:
    """What the policy earns, and what the model promises it.

    Returns:
        `model_return` from recorded starts of episodes, over the horizon of rollouts; and where there is an environment
        `return`, `length`, with a known task `score`, and `gap`: the model's promise less what the environment gives
        over the same horizon.
    """
    horizon = settings.policy.horizon
    starts = torch.from_numpy(table.observations[table.episode_starts][: 10 * settings.evaluation_episodes])
    generator = torch.Generator(settings.device).manual_seed(settings.seed)
    promised = model_returns(model, sac.act, starts.to(settings.device), horizon=horizon, generator=generator)
    found = {"model_return": float(promised.returns.mean())}
    if world.make_environment is None:
        return found
    common = {"episodes": settings.evaluation_episodes, "seed": settings.seed, "device": settings.device}
    whole = evaluate_policy(sac.act, world.make_environment, normalised_score=world.score, **common)
    short = evaluate_policy(sac.act, world.make_environment, max_steps=horizon, **common)
    found |= {"return": float(whole.returns.mean()), "length": float(whole.lengths.mean())}
    found["gap"] = found["model_return"] - float(short.returns.mean())
    return found if whole.scores is None else {**found, "score": float(whole.scores.mean())}


def _fingerprint(table: TransitionTable) -> dict[str, Any]:
    """What tells one recording from another."""
    digest = hashlib.sha256()
    for column in table.rows(slice(None)).values():
        digest.update(np.ascontiguousarray(column).tobytes())
    return {"rows": len(table), "sha256": digest.hexdigest()}
