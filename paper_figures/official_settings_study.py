"""The published agents and their baselines in the maze and in CartPole, and the maze once more, solved exactly."""

import warnings
from typing import NamedTuple

import gymnasium
import numpy as np
import pandas as pd
import torch

import environments.guided  # noqa: F401 - registers the worlds
from environments.guided.exact_maze import ExactMaze, exact_maze
from environments.guided.maze import POTENTIALS
from paper_figures.figure import Scale
from rewardlab.exact.planning import optimal_policy
from rewardlab.shaping.bilevel.blend_optimiser import optimise_blend
from rewardlab.shaping.bilevel.blends import scalar_blend
from rewardlab.shaping.bilevel.hypergradient import solve_inner
from rewardlab.shaping.bilevel.implicit_gradient import SurrogateCurvatureWarning
from rewardlab.shaping.sampled.curvature import NeumannWarning
from rewardlab.shaping.sampled.published import published_barfi, published_policy
from rewardlab.shaping.sampled.reinforce import Reinforce
from rewardlab.shaping.sampled.settings import BarfiSettings
from rewardlab.shaping.sampled.trainer import Trainer

__all__ = ["ADVICE", "ARMS", "BARFI", "FISHER", "NONE", "POTENTIAL", "PUBLISHED_POTENTIAL", "SUM", "part_of", "run_all"]

ADVICE = ("good", "bad")
NONE, SUM, POTENTIAL, PUBLISHED_POTENTIAL, BARFI, FISHER = (
    "primary",
    "sum",
    "potential",
    "potential_as_published",
    "barfi",
    "fisher",
)
ARMS = {"maze": (SUM, PUBLISHED_POTENTIAL, POTENTIAL, BARFI, FISHER), "cartpole": (SUM, BARFI)}
IDS = {"maze": "rewardlab/GuidedMaze-v0", "cartpole": "rewardlab/GuidedCartPole-v0"}
OURS = {"curvature": "fisher", "normalise": True}  # what the published settings become
FIRST, LAST = 0.25, 0.1  # share of the episodes that the two means are taken over: 500 and 200 of 2000
BINS = 40  # of a learning curve

TEMPERATURE = 1.0  # what an entropy weight of .25 comes to: sums are divided by 51 steps, and an episode has about 12
MOVES = 49  # that an episode of the published maze has: its 50th does nothing
WEIGHTS = np.concatenate([-np.logspace(1.5, -3, 28), [0.0], np.logspace(-3, 1.5, 28)])


class Job(NamedTuple):
    """One agent to be trained."""

    world: str
    advice: str  # "none", or which
    arm: str
    seed: int
    episodes: int


def run_all(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows by column `part`: `run` (one an agent), `curve` (one a bin of its episodes), and of the exact maze.

    Those are `exact` (one an agent) and `landscape` (one a weight of the advice).
    """
    sizes = {  # seeds, episodes with bad advice, episodes of the others, which have learned long before the end
        "maze": scale.pick(smoke=(2, 170, 170), small=(3, 2000, 2000), paper=(40, 2000, 2000)),
        "cartpole": scale.pick(smoke=(2, 60, 60), small=(3, 400, 200), paper=(20, 1000, 1000)),
    }
    jobs = [job for world, size in sizes.items() for job in _jobs(world, *size)]
    if scale.workers > 1:
        from joblib import Parallel, delayed

        tables = Parallel(n_jobs=scale.workers)(delayed(_run)(job, rng) for job in jobs)
    else:
        tables = [_run(job, rng) for job in jobs]
    return pd.concat([*tables, solved()], ignore_index=True)


def part_of(frame: pd.DataFrame, part: str, **where) -> pd.DataFrame:
    """The rows of a part, and of it those with these entries, by seed."""
    found = frame[frame.part == part]
    for column, value in where.items():
        found = found[found[column] == value]
    return found.sort_values("seed", kind="stable")


def _jobs(world: str, seeds: int, bad_episodes: int, episodes: int) -> list[Job]:
    arms = [("none", NONE), *((advice, arm) for advice in ADVICE for arm in ARMS[world])]
    lengths = {"none": episodes, "good": episodes, "bad": bad_episodes}
    return [Job(world, advice, arm, seed, lengths[advice]) for advice, arm in arms for seed in range(seeds)]


def _run(job: Job, rng: int) -> pd.DataFrame:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            for expected in (NeumannWarning, SurrogateCurvatureWarning):
                warnings.simplefilter("ignore", expected)
            history = trainer_of(job, rng).train(job.episodes, progress=False)
    finally:
        torch.set_num_threads(threads)
    returns = history.returns
    first, last = (max(1, round(share * job.episodes)) for share in (FIRST, LAST))
    cosine = float(np.median(history.cosines)) if len(history.cosines) else np.nan
    run = {"first": returns[:first].mean(), "last": returns[-last:].mean(), "cosine": cosine}
    run |= {"discount": history.discounts[-1], "episodes": job.episodes}
    bins = np.array_split(returns, BINS)
    curve = {"episode": np.cumsum([len(part) for part in bins]), "value": [part.mean() for part in bins]}
    tables = {"run": pd.DataFrame([run]), "curve": pd.DataFrame(curve)}
    names = {"world": job.world, "advice": job.advice, "arm": job.arm, "seed": job.seed}
    return pd.concat([table.assign(part=part, **names) for part, table in tables.items()])


def trainer_of(job: Job, rng: int) -> Trainer:
    """The agent of a job, untrained. The agents of one seed start from the same policy in the same episodes."""
    seed = int(np.random.SeedSequence([rng, job.seed]).generate_state(1)[0])
    name = f"{job.advice} as published"
    auxiliary = () if job.arm == NONE else (name,)
    slips = {"as_published": True} if job.world == "maze" else {}
    env = gymnasium.make(IDS[job.world], auxiliary=auxiliary, disable_env_checker=True, **slips)
    if job.arm in (BARFI, FISHER):
        changes = OURS if job.arm == FISHER else {}
        return published_barfi(job.world, env, auxiliary=auxiliary, rng=seed, **changes)
    potential = {"potential": POTENTIALS[job.advice]} if job.arm == POTENTIAL else {}
    rate = getattr(BarfiSettings, job.world)().policy_learning_rate
    policy = published_policy(job.world, env, rng=seed)
    return Reinforce(env, policy, job.arm, auxiliary=auxiliary, learning_rate=rate, rng=seed, **potential)


def solved() -> pd.DataFrame:
    """What exact agents earn in an episode of the maze: of the sum, of no advice, of a learned weight, and the best."""
    world = exact_maze()
    rows = [{"part": "exact", "advice": "none", "arm": "best", "value": best_return(world)}]
    rows.append({"part": "exact", "advice": "none", "arm": NONE, "value": _earned(world, world.primary)})
    for advice in ADVICE:
        auxiliary = world.auxiliary[f"{advice} as published"]
        blend = scalar_blend(world.mdp, world.primary, auxiliary)
        learned = optimise_blend(world.mdp, blend, world.primary, temperature=TEMPERATURE, tolerance=1e-3)
        reached = {"value": episode_return(world, learned.inner.policy), "weight": float(learned.weights[0])}
        rows.append({"part": "exact", "advice": advice, "arm": SUM, "value": _earned(world, world.primary + auxiliary)})
        rows.append({"part": "exact", "advice": advice, "arm": "learned", **reached})
        for weight in WEIGHTS:
            value = _earned(world, world.primary + weight * auxiliary)
            rows.append({"part": "landscape", "advice": advice, "weight": weight, "value": value})
    return pd.DataFrame(rows).assign(world="maze")


def best_return(world: ExactMaze) -> float:
    """Most that any policy which does not look at the clock earns in an episode."""
    return episode_return(world, optimal_policy(world.mdp, world.primary).policy)


def episode_return(world: ExactMaze, policy: np.ndarray) -> float:
    """Expected undiscounted primary return of an episode."""
    alive, total = world.mdp.initial, 0.0
    for _ in range(MOVES):
        taken = alive[:, None] * policy  # terminal states earn nothing and keep what they hold
        total += (taken * world.primary).sum()
        alive = np.einsum("sa,sat->t", taken, world.mdp.transition)
    return float(total)


def _earned(world: ExactMaze, reward: np.ndarray) -> float:
    return episode_return(world, solve_inner(world.mdp, reward, TEMPERATURE).policy)
