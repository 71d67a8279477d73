"""Published BARFI in the maze, with other curvatures tried beside it on the way, on the same episodes."""

import warnings
from itertools import product

import gymnasium
import numpy as np
import pandas as pd
import torch

import environments.guided  # noqa: F401 - registers the maze
from paper_figures.figure import Scale
from rewardlab.shaping.bilevel.implicit_gradient import SurrogateCurvatureWarning
from rewardlab.shaping.sampled.barfi import Barfi
from rewardlab.shaping.sampled.curvature import NeumannWarning, solve_curvature
from rewardlab.shaping.sampled.curvature_products import curvature_product
from rewardlab.shaping.sampled.episodes import Batch, EpisodeBuffer
from rewardlab.shaping.sampled.one_step import inner_gradient
from rewardlab.shaping.sampled.published import published_blend, published_policy
from rewardlab.shaping.sampled.settings import BarfiSettings

__all__ = ["ADVICE", "KINDS", "STEPS", "part_of", "run_all", "series_cosines"]

ADVICE = {"good": "good as published", "bad": "bad as published"}
KINDS = ("neumann", "surrogate", "fisher", "exact")
STEPS = np.logspace(-5, 1.5, 40)  # of the Neumann series
PROBE_EVERY = 20  # updates of the blend
OWN_EPISODES = 50  # drawn anew at a probe, for the exact curvature


class Probed(Barfi):
    """Published BARFI that also tries every curvature, now and then, and goes on as if it had not."""

    def __init__(self, *arguments, seed: int, **settings):
        super().__init__(*arguments, **settings)
        self.probes: list[dict] = []
        self.sweeps: list[dict] = []
        self._count, self._probing = 0, np.random.default_rng([seed, 7])

    def update_blend(self) -> None:
        """The published update, after a probe where one is due."""
        if self._count % PROBE_EVERY == 0:
            self._probe()
        self._count += 1
        super().update_blend()

    def _probe(self) -> None:
        settings, policy, blend = self.settings, self.policy, self.blend
        newest = self.buffer.newest(settings.update_every + 1)
        plain = inner_gradient(policy, newest, newest.primary, settings.discount)
        older = self.buffer.sample(settings.curvature_batch, self._probing, exclude_newest=settings.update_every)
        rewards, discount = blend(older.x, older.primary, older.auxiliary), blend.discount().detach()
        own = self._own_episodes()
        entropy = {"entropy_weight": settings.entropy_weight}
        inner = inner_gradient(policy, older, rewards, discount, **entropy)

        def hypergradient(vector):
            parts = torch.autograd.grad(inner @ vector, blend.reward_parameters(), retain_graph=True)
            return torch.cat([part.reshape(-1) for part in parts])

        first_order = hypergradient(plain)
        for kind in KINDS:
            batch = own if kind == "exact" else older
            blended = blend(batch.x, batch.primary, batch.auxiliary).detach()
            multiply = curvature_product(kind, policy, batch, blended, float(discount), **entropy)
            found = solve_curvature(kind, plain, multiply, loops=settings.loops, step=settings.step)
            turned = torch.cosine_similarity(hypergradient(found.vector), first_order, dim=0)
            row = {"cosine": found.cosine, "curvature": found.curvature, "hyper_cosine": float(turned)}
            self.probes.append({"update": self._count, "kind": kind, **row})
            if kind in ("surrogate", "fisher"):
                cosines = series_cosines(plain, multiply, settings.loops)
                self.sweeps += [{"kind": kind, "step": s, "cosine": c} for s, c in zip(STEPS, cosines, strict=True)]

    def _own_episodes(self) -> Batch:
        """Episodes of the present policy, which alone the exact curvature is right on; none that v was taken on."""
        fresh = EpisodeBuffer(OWN_EPISODES, self.buffer.horizon, self.policy.features)
        for seed in self._probing.integers(2**31, size=OWN_EPISODES):
            fresh.add(self.rollout.run(int(seed), self._probing))
        return fresh.newest(OWN_EPISODES)


def series_cosines(vector: torch.Tensor, multiply, loops: int) -> np.ndarray:
    """Cosine of the vector with its Neumann series, for each of STEPS."""
    units = torch.eye(len(vector), dtype=vector.dtype)
    values, frame = torch.linalg.eigh(torch.stack([multiply(unit) for unit in units]))
    parts = (frame.T @ vector).numpy()
    growth = 1 + STEPS[:, None] * values.numpy()
    series = sum(growth**power for power in range(loops + 1)) * parts
    return (series @ parts) / np.linalg.norm(series, axis=1) / np.linalg.norm(parts)


def run_all(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows by column `part`: `trained` (an update of the blend), `probe` (and a kind), `sweep` (and a step)."""
    seeds, episodes = scale.pick(smoke=(2, 255), small=(5, 700), paper=(40, 2000))
    jobs = list(product(ADVICE, range(seeds)))
    if scale.workers > 1:
        from joblib import Parallel, delayed

        tables = Parallel(n_jobs=scale.workers)(delayed(_run)(advice, rng, seed, episodes) for advice, seed in jobs)
    else:
        tables = [_run(advice, rng, seed, episodes) for advice, seed in jobs]
    return pd.concat(tables, ignore_index=True)


def part_of(frame: pd.DataFrame, part: str, **where) -> pd.DataFrame:
    """Rows of a part, and of the given values of its columns."""
    found = frame[frame.part == part]
    for column, value in where.items():
        found = found[found[column] == value]
    return found


def _run(advice: str, rng: int, seed: int, episodes: int) -> pd.DataFrame:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            for expected in (NeumannWarning, SurrogateCurvatureWarning):
                warnings.simplefilter("ignore", expected)
            trainer = _trained(advice, rng, seed, episodes)
    finally:
        torch.set_num_threads(threads)
    updates = trainer.history.updates
    trained = pd.DataFrame({name: updates[name] for name in ("cosine", "norm_ratio", "curvature")})
    trained = trained.assign(update=np.arange(len(trained)), final_return=trainer.history.returns[-100:].mean())
    tables = {"trained": trained, "probe": pd.DataFrame(trainer.probes), "sweep": pd.DataFrame(trainer.sweeps)}
    return pd.concat([table.assign(part=part, advice=advice, seed=seed) for part, table in tables.items()])


def _trained(advice: str, rng: int, seed: int, episodes: int) -> Probed:
    name = ADVICE[advice]
    maze = gymnasium.make("rewardlab/GuidedMaze-v0", auxiliary=(name,), as_published=True, disable_env_checker=True)
    first = int(np.random.SeedSequence([rng, seed]).generate_state(1)[0])
    policy = published_policy("maze", maze, rng=first)
    blend = published_blend("maze", policy.features.size, rng=first + 1)
    trainer = Probed(maze, policy, blend, BarfiSettings.maze(), auxiliary=(name,), rng=first, seed=first)
    trainer.train(episodes, progress=False)
    return trainer
