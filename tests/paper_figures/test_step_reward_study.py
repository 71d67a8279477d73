"""The vectorised learner against loops, exact gradients and the library; its figures' verdicts that can turn round."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from environments.reasoning.filler_chain import filler_chain
from paper_figures import normalise_before_accumulating, step_reward_ablations, step_reward_grid
from paper_figures.figure import Scale
from paper_figures.step_reward_study import (
    Arm,
    Learner,
    _summary,
    centred_returns,
    median_interval,
    noisy_scores,
    policy_gradient,
    returns,
    train,
)
from rewardlab.process.credit import step_advantages
from rewardlab.process.refine import MODES
from rewardlab.process.step_world import Episodes, evaluate_policy, sample_episodes

CHAIN = filler_chain()
SHORT = filler_chain(levels=1, horizon=3)


def random_policies(world, runs, seed=0):
    return softmax(np.random.default_rng(seed).normal(size=(runs, world.states, world.actions)), axis=-1)


def every_episode(world, policy):
    """All episodes of a world as one batch, with their chances under one policy."""
    found, chances = [], []
    for actions in itertools.product(range(world.actions), repeat=world.horizon):
        state, chance, steps = world.initial, 1.0, []
        for action in actions:
            chance *= policy[state, action]
            steps.append((state, action, world.scores[state, action]))
            if world.ends[state, action]:
                break
            state = world.next_state[state, action]
        last, action, _ = steps[-1]
        correct = bool(world.success[last, action])
        if tuple(action for _, action, _ in steps) + (0,) * (world.horizon - len(steps)) == actions:
            found.append((steps, correct))
            chances.append(chance)
    shape = (1, len(found), world.horizon)
    states, actions, mask, scores = np.zeros(shape, int), np.zeros(shape, int), np.zeros(shape, bool), np.zeros(shape)
    for place, (steps, _) in enumerate(found):
        for step, (state, action, score) in enumerate(steps):
            states[0, place, step], actions[0, place, step], scores[0, place, step] = state, action, score
            mask[0, place, step] = True
    correct = np.array([[right for _, right in found]])
    return Episodes(states, actions, mask, scores, correct), np.array(chances)


def exact_gradient(world, logits, arm):
    policy = softmax(logits, axis=-1)
    episodes, chances = every_episode(world, policy)
    np.testing.assert_allclose(chances.sum(), 1.0)
    weights = returns([arm], 1, episodes, episodes.scores) * episodes.mask * chances[:, None] * len(chances)
    return policy_gradient(policy[None], episodes, weights)[0]


def finite_difference(objective, logits, step=1e-5):
    gradient = np.zeros(logits.shape)
    for place in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[place] += step
        down[place] -= step
        gradient[place] = (objective(up) - objective(down)) / (2 * step)
    return gradient


def expected(world, logits, arm):
    """Expected weight x sum of refined rewards + success, over every episode."""
    episodes, chances = every_episode(world, softmax(logits, axis=-1))
    return float(chances @ returns([arm], 1, episodes, episodes.scores)[0, :, 0])


LOGITS = np.random.default_rng(1).normal(size=(SHORT.states, SHORT.actions))


@pytest.mark.parametrize("mode", ["success_only", *MODES])
def test_full_return_climbs_the_expected_total(mode):
    arm = Arm(mode, 0.7, threshold=0.85, credit="full_return")
    truth = finite_difference(lambda logits: expected(SHORT, logits, arm), LOGITS)
    np.testing.assert_allclose(exact_gradient(SHORT, LOGITS, arm), truth, atol=1e-8)


def test_full_return_of_differences_is_the_first_score():
    """All but the first step's score cancels; of one step, which is the last, nothing is used."""
    policy_return = evaluate_policy(SHORT, softmax(LOGITS, axis=-1)).success
    first = softmax(LOGITS, axis=-1)[SHORT.initial] * SHORT.scores[SHORT.initial] * ~SHORT.ends[SHORT.initial]
    found = expected(SHORT, LOGITS, Arm("delta", 0.7, credit="full_return"))
    assert found == pytest.approx(float(policy_return + 0.7 * first.sum()), abs=1e-12)


@pytest.mark.parametrize("mode", ["raw", "clip"])
def test_reward_to_go_is_unbiased_for_rewards_paid_at_once(mode):
    to_go, full = (exact_gradient(SHORT, LOGITS, Arm(mode, 0.7, credit=c)) for c in ("reward_to_go", "full_return"))
    np.testing.assert_allclose(to_go, full, atol=1e-12)


def test_reward_to_go_of_differences_climbs_no_total():
    to_go = exact_gradient(SHORT, LOGITS, Arm("delta", 0.7))
    full, first = (exact_gradient(SHORT, LOGITS, Arm("delta", 0.7, credit=c)) for c in ("full_return", "first_step"))
    assert np.abs(to_go - full).max() > 0.01
    np.testing.assert_allclose(first, full, atol=1e-12)


@pytest.mark.parametrize("mode", ["causal_delta", "clip_causal_delta"])
def test_causal_differences_leave_the_gradient_alone(mode):
    shaped, plain = (exact_gradient(SHORT, LOGITS, arm) for arm in (Arm(mode, 0.7), Arm("success_only")))
    np.testing.assert_allclose(shaped, plain, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_weights_are_the_librarys_advantages(mode):
    """Two arms of three seeds each, batched, against one call a run."""
    arms = [Arm(mode, 0.3), Arm(mode, 0.05)]
    episodes = sample_episodes(CHAIN, random_policies(CHAIN, 6), 16, 0)
    found = centred_returns(arms, 3, episodes, episodes.scores)
    for run in range(6):
        given = episodes.scores[run], episodes.mask[run], episodes.correct[run].astype(float)
        alone = step_advantages(*given, mode, weight=arms[run // 3].weight, threshold=0.7)
        np.testing.assert_allclose(found[run], alone.advantages, atol=1e-12)


def test_arms_of_several_kinds_keep_their_own():
    arms = [Arm("clip", 0.3), Arm("clip", 0.1), Arm("clip", 0.1, 0.5), Arm("clip", 0.2, 0.5, "full_return")]
    arms += [Arm("raw", 0.4), Arm("success_only"), Arm("delta", 0.5, credit="first_step")]
    episodes = sample_episodes(CHAIN, random_policies(CHAIN, 2 * len(arms)), 16, 0)
    found = returns(arms, 2, episodes, episodes.scores)
    for run, arm in enumerate(np.repeat(np.arange(len(arms)), 2)):
        part = Episodes(**{name: values[run : run + 1] for name, values in _fields(episodes).items()})
        np.testing.assert_allclose(found[run], returns([arms[arm]], 1, part, part.scores)[0], atol=1e-12)


def test_what_is_recorded_of_a_run():
    """Two runs: one that passes .9 at the second evaluation and falls back, one that never does."""
    success = np.array([[0.5, 0.1], [0.95, 0.9], [0.8, 0.2], [0.96, 0.4]])
    records = [(25 * (k + 1), row, 4 + row, 10 * row) for k, row in enumerate(success)]
    found = {name: values.tolist() for name, values in _summary(records).items()}
    assert found["solved"] == [50.0, np.inf]
    assert found["success"] == [0.96, 0.4] and found["length"] == [4.96, 4.4] and found["filler"] == [9.6, 4.0]
    assert found["late_success"] == pytest.approx([0.88, 0.3]) and found["late_filler"] == pytest.approx([8.8, 3.0])


def test_gradient_is_the_loops():
    policy = random_policies(CHAIN, 2)
    episodes = sample_episodes(CHAIN, policy, 5, 0)
    weights = np.random.default_rng(0).normal(size=episodes.mask.shape) * episodes.mask
    by_hand = np.zeros(policy.shape)
    for run, episode, step in np.argwhere(episodes.mask):
        state, action = episodes.states[run, episode, step], episodes.actions[run, episode, step]
        scored = (np.arange(CHAIN.actions) == action) - policy[run, state]
        by_hand[run, state] += weights[run, episode, step] * scored / 5
    np.testing.assert_allclose(policy_gradient(policy, episodes, weights), by_hand, atol=1e-12)


def test_noise_belongs_to_the_prefix():
    episodes = sample_episodes(CHAIN, random_policies(CHAIN, 2).repeat(2, axis=0), 400, 0)
    noise, salts = np.array([0.2, 0.2, 0.0, 0.2]), np.array([1, 2, 1, 2], np.uint64)
    found = noisy_scores(episodes, noise, salts)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_array_equal(found[2], episodes.scores[2])
    by_prefix = {}
    for run, episode, step in np.argwhere(episodes.mask):
        prefix = int(salts[run]), float(noise[run]), *episodes.actions[run, episode, : step + 1].tolist()
        by_prefix.setdefault(prefix, set()).add(found[run, episode, step])
    assert all(len(values) == 1 for values in by_prefix.values())
    wide = noisy_scores(
        Episodes(**{**_fields(episodes), "scores": np.full(episodes.scores.shape, 0.5)}), noise / 4, salts
    )
    first = {(int(salt), *map(int, a[: step + 1])): wide[run, e, step]
             for run, salt in enumerate(salts) if noise[run] for e, a in enumerate(episodes.actions[run])
             for step in range(12) if episodes.mask[run, e, step]}  # fmt: skip
    drawn = (np.array(list(first.values())) - 0.5) / 0.05
    assert len(drawn) > 1000
    assert drawn.mean() == pytest.approx(0, abs=0.1)
    assert drawn.std() == pytest.approx(1, abs=0.06)


def _fields(episodes):
    return {name: getattr(episodes, name) for name in ("states", "actions", "mask", "scores", "correct")}


def trained(arms, seed=0, **options):
    return train(CHAIN, arms, 3, np.random.SeedSequence(seed), Learner(iterations=60, every=20), **options)


def test_rows_are_in_the_order_given():
    arms = [
        Arm("raw", 1.0),
        Arm("success_only"),
        Arm("clip_delta", 0.3, 0.9),
        Arm("delta", 0.1, noise=0.1),
        Arm("raw", 0.0),
    ]
    found = trained(arms)
    assert [tuple(row) for row in found[["mode", "weight", "threshold", "credit", "noise"]].to_numpy()[::3]] == arms
    assert found.seed.tolist() == [0, 1, 2] * 5
    assert found[found.weight == 1.0].filler.min() > found[found["mode"] == "success_only"].filler.max() + 1


def test_same_seed_same_numbers():
    arms = [Arm("raw", 0.1), Arm("clip_delta", 0.3, noise=0.2)]
    pd.testing.assert_frame_equal(trained(arms), trained(arms))
    assert not trained(arms).equals(trained(arms, seed=1))


def test_a_start_is_where_training_starts():
    logits = step_reward_ablations.right_logits(CHAIN, 0.6)
    assert float(evaluate_policy(CHAIN, softmax(logits, axis=-1)).success) == pytest.approx(0.6, abs=1e-6)
    arms = [Arm("success_only"), Arm("raw", 0.0)]
    starts = np.stack([logits, np.zeros_like(logits)])
    cold, warm = (trained(arms, start=start).groupby("mode").success.mean() for start in (0.0, starts))
    assert warm["success_only"] > 0.6 > 0.1 > cold["success_only"]
    assert warm["raw"] < 0.1


def test_medians_with_runs_that_never_get_there():
    got, never = np.array([100.0, 200, 300, 400, 500]), np.full(5, np.inf)
    median, low, high = median_interval(got)
    assert median == 300 and 100 <= low <= 300 <= high <= 500
    assert median_interval(never).tolist() == [np.inf] * 3
    assert median_interval(np.r_[got[:3], never[:2]])[0] == 300
    assert median_interval(got, 2 * got)[0] == 0.5


# the figures: verdicts on made-up data


def made_up_grid():
    """Five seeds a cell, all like the earlier table; what it lacks is as success only."""
    rows = []
    for mode in ("success_only", *step_reward_grid.LOOKS, *step_reward_grid.IN_TABLE_ONLY):
        cells = step_reward_grid.EARLIER.get(mode, step_reward_grid.EARLIER["success_only"] * 6)
        if mode == "length_normalised":
            cells = (*cells[:5], (0.3, 10.0, 9.0, np.inf))
        weights = (0.0,) if mode == "success_only" else step_reward_grid.WEIGHTS
        rows += [(mode, weight, seed, *cell) for weight, cell in zip(weights, cells, strict=True) for seed in range(5)]
    task = pd.DataFrame(rows, columns=["mode", "weight", "seed", "success", "length", "filler", "solved"])
    weights = np.array(step_reward_grid.SOLVED_WEIGHTS)
    rest = step_reward_grid.filler_equilibrium(0.9 * weights, hazard=step_reward_grid.HAZARD)
    parts = [task.assign(part="task")]
    for mode in step_reward_grid.SOLVED_MODES:
        solved = pd.DataFrame({"weight": weights, "answering": rest.answer_probability, "late_success": rest.success})
        parts.append(pd.concat([solved.assign(mode=mode, seed=seed, part="solved") for seed in range(3)]))
    return pd.concat(parts, ignore_index=True)


def changed(frame, column, value, **where):
    rows = np.logical_and.reduce([frame[name].isin(np.atleast_1d(values)) for name, values in where.items()])
    frame = frame.copy()
    frame.loc[rows, column] = value
    return frame


def test_grid_verdicts_turn_round():
    frame = made_up_grid()
    assert {verdict.outcome for verdict in step_reward_grid.verdicts(frame).values()} == {"supported"}
    large = (0.2, 0.3, 1.0)
    others = {
        "raw-is-farmed": changed(frame, "success", 0.9, mode="raw", weight=large),
        "clip-delta-repairs": changed(frame, "success", 0.9, mode="clip_delta", weight=0.3),
        "clip-delta-is-faster": changed(frame, "solved", 400.0, mode="clip_delta", weight=0.2),
        "clip-gives-up": changed(frame, "success", 0.9, mode="clip", weight=large),
        "delta-follows-theory": changed(frame, "answering", 1.0, mode="delta", part="solved"),
        "delta-before-a-deadline": changed(frame, "success", 0.99, mode="delta", part="task"),
        "causal-is-free": changed(frame, "success", 0.5, mode="causal_delta", weight=1.0),
        "length-normalised-is-farmed": changed(
            changed(frame, "success", 0.99, mode="length_normalised"), "length", 4.0, mode="length_normalised"
        ),
        "min-form-is-not-farmed": changed(frame, "length", 9.0, mode="min_form", weight=1.0),
    }
    for claim, other in others.items():
        assert step_reward_grid.verdicts(other)[claim].outcome == "refuted", claim
    slower = changed(frame, "solved", 300.0, mode="clip_delta", weight=1.0)
    assert step_reward_grid.verdicts(slower)["clip-delta-is-faster"].outcome == "undecided"


def instead_of_training(world, arms, seeds, rng, learner, **options):
    """Every run as with success only; what a figure's runs come to is then set cell by cell."""
    rows = pd.DataFrame([arm._asdict() for arm in arms]).loc[np.repeat(np.arange(len(arms)), seeds)]
    usual = {"success": 0.995, "length": 4.02, "filler": 0.02, "solved": 350.0}
    return rows.assign(seed=np.tile(np.arange(seeds), len(arms)), **usual).reset_index(drop=True)


def test_ablation_verdicts_turn_round(monkeypatch):
    monkeypatch.setattr(step_reward_ablations, "train", instead_of_training)
    plain = step_reward_ablations.compute(Scale("smoke"), 0)
    cold = changed(plain, "success", 0.0, part="warm", mode="raw", start=0.05)
    fine = changed(cold, "filler", 0.6, threshold=0.95, mode="clip_delta")
    assert {verdict.outcome for verdict in step_reward_ablations.verdicts(fine).values()} == {"supported"}
    others = {
        "noise-is-survived": changed(fine, "success", 0.9, mode="clip_delta", noise=0.2, weight=0.3),
        "full-return-no-speed-up": changed(fine, "solved", 200.0, mode="clip_delta", credit="full_return", weight=1.0),
        "full-return-is-first-step": changed(fine, "solved", 200.0, credit="first_step"),
        "disliked-filler-is-no-danger": changed(fine, "success", 0.1, part="disliked", mode="raw", weight=1.0),
        "threshold-too-high": plain,
        "start-decides": changed(fine, "success", 0.2, part="warm", mode="raw", start=0.8),
    }
    for claim, other in others.items():
        assert step_reward_ablations.verdicts(other)[claim].outcome == "refuted", claim
    long = changed(fine, "length", 6.0, mode="clip_delta", noise=0.2)
    assert step_reward_ablations.verdicts(long)["noise-is-survived"].outcome == "undecided"


def test_order_verdicts_turn_round(monkeypatch):
    monkeypatch.setattr(normalise_before_accumulating, "train", instead_of_training)
    plain = normalise_before_accumulating.compute(Scale("smoke"), 0)
    padded = changed(plain, "filler", 9.0, mode="clip", order="first")
    fine = changed(padded, "success", 0.5, mode="clip_delta", order="first")
    assert {verdict.outcome for verdict in normalise_before_accumulating.verdicts(fine).values()} == {"supported"}
    others = {
        "worked-group": changed(fine, "advantage", 1.6, mode="clip", order="first"),
        "filler-is-paid-again": plain,
        "right-order-keeps-clip-delta": changed(fine, "success", 0.5, mode="clip_delta", order="last", weight=0.3),
        "order-costs-success": plain,
    }
    for claim, other in others.items():
        assert normalise_before_accumulating.verdicts(other)[claim].outcome == "refuted", claim


@pytest.mark.parametrize("mode", normalise_before_accumulating.MODES)
def test_normalised_first_is_the_worked_group(mode):
    frame = normalise_before_accumulating._worked()
    cells = frame[(frame["mode"] == mode) & (frame.order == "first")].advantage
    np.testing.assert_allclose(cells, normalise_before_accumulating.WORKED[mode], atol=6e-4)


def test_normalised_first_pays_for_length_by_the_groups_mean():
    """What is left after the returns in standard deviations: minus the mean, once a step left."""
    rng = np.random.default_rng(0)
    mask = np.arange(6) < rng.integers(1, 7, size=(2, 4))[..., None]
    rewards, outcomes = rng.normal(size=mask.shape) * mask, rng.integers(2, size=(2, 4)).astype(float)
    weight = np.array([0.5, 2.0])[:, None, None]
    together = normalise_before_accumulating.normalised_first(
        rewards, mask, outcomes, weight=weight, apart=False, epsilon=0.0
    )
    for group in range(2):
        paid = weight[group] * rewards[group]
        for sample, steps in enumerate(mask[group].sum(-1)):
            paid[sample, steps - 1] += outcomes[group, sample]
        mean, spread = paid[mask[group]].mean(), paid[mask[group]].std(ddof=1)
        for sample, steps in enumerate(mask[group].sum(-1)):
            for step in range(6):
                left = max(steps - step, 0)
                by_hand = (paid[sample, step:steps].sum() - left * mean) / spread
                assert together[group, sample, step] == pytest.approx(by_hand, abs=1e-9)


def test_normalised_apart_adds_the_outcome_in_its_own_spread():
    rng = np.random.default_rng(0)
    mask = np.arange(4) < np.array([[2, 4, 3]])[..., None]
    rewards, outcomes = rng.normal(size=mask.shape) * mask, np.array([[1.0, 0.0, 0.0]])
    first = normalise_before_accumulating.normalised_first
    steps, whole = (first(rewards, mask, o, weight=0.3, apart=True, epsilon=0.0) for o in (0 * outcomes, outcomes))
    expected = (outcomes - 1 / 3) / outcomes.std(ddof=1)
    np.testing.assert_allclose(whole - steps, expected[..., None] * mask, atol=1e-12)
    normal = np.where(mask, (rewards - rewards[mask].mean()) / rewards[mask].std(ddof=1), 0.0)
    np.testing.assert_allclose(steps, 0.3 * np.cumsum(normal[..., ::-1], axis=-1)[..., ::-1] * mask, atol=1e-12)
