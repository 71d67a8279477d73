"""The grid of step rewards, 25 cells of 10 seeds, trained at once: in three minutes, and beside a loop over runs."""

import itertools
import time

import numpy as np
from scipy.special import softmax

from environments.reasoning.filler_chain import filler_chain
from paper_figures.step_reward_study import Arm, Learner, train
from rewardlab.process import refine, reward_to_go

MODES, WEIGHTS, SEEDS = ("raw", "clip", "delta", "clip_delta", "causal_delta"), (0.02, 0.05, 0.1, 0.3, 1.0), 10
LEARNER = Learner()
TARGET_SECONDS, LOOPED_ITERATIONS = 180.0, 40


def looped(world, mode, weight, iterations, rng):
    """One run, an episode and a step at a time, as one would write it first."""
    logits = np.zeros((world.states, world.actions))
    for _ in range(iterations):
        policy, batch = softmax(logits, axis=-1), []
        for _ in range(LEARNER.episodes):
            state, steps, correct = world.initial, [], False
            for _ in range(world.horizon):
                action = int(rng.choice(world.actions, p=policy[state]))
                steps.append((state, action))
                if world.ends[state, action]:
                    correct = bool(world.success[state, action])
                    break
                state = world.next_state[state, action]
            scores = np.array([world.scores[step] for step in steps])
            batch.append((steps, weight * reward_to_go(refine(scores, None, mode, threshold=0.7)) + correct))
        gradient = np.zeros(logits.shape)
        for step in range(world.horizon):
            alive = [(steps[step], returns[step]) for steps, returns in batch if len(steps) > step]
            mean = np.mean([value for _, value in alive]) if alive else 0.0
            for (state, action), value in alive:
                gradient[state] += (value - mean) * (np.eye(world.actions)[action] - policy[state])
        logits += LEARNER.rate * gradient / LEARNER.episodes
    return logits


def test_the_grid_beside_a_loop(capsys):
    world = filler_chain()
    arms = [Arm(mode, weight) for mode, weight in itertools.product(MODES, WEIGHTS)]
    started = time.perf_counter()
    found = train(world, arms, SEEDS, np.random.SeedSequence(0), LEARNER)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    for arm in arms[::6]:
        looped(world, arm.mode, arm.weight, LOOPED_ITERATIONS, np.random.default_rng(0))
    one_run = (time.perf_counter() - started) / len(arms[::6]) * LEARNER.iterations / LOOPED_ITERATIONS
    loop = one_run * len(arms) * SEEDS
    with capsys.disabled():
        print(f"\n{len(arms)} cells x {SEEDS} seeds: {seconds:.1f} s; a loop over runs, extrapolated: {loop:.0f} s")
    assert len(found) == len(arms) * SEEDS
    assert seconds < TARGET_SECONDS
    assert seconds < loop
