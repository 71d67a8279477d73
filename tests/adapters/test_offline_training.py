import copy
import json

import numpy as np
import pytest
import torch
from gymnasium import spaces

from long_runs.checkpoints import load_checkpoint, save_checkpoint
from rewardlab.adapters.offline_settings import OfflineSettings
from rewardlab.adapters.offline_training import OfflineTraining, train_offline
from rewardlab.dynamics.filtered_model import FilteredModel, PlainModel
from tests.adapters.offline_worlds import BOX, SMALL, ToyModel, never, plain_model, recorded


def settings(**options):
    return OfflineSettings(**{**SMALL, **options})


def training(model=None, seed=0, successors=None, **options):
    return OfflineTraining(
        recorded(), BOX, model or plain_model(), settings(**options), seed=seed, successors=successors
    )


def parameters(sac):
    return {name: value.clone() for name, value in sac.policy.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


def hosts():
    successors = ToyModel(disagreement=1.0)
    return [{}, {"host": "mopo", "penalty_weight": 0.5}, {"host": "mobile", "penalty_weight": 0.5}], successors


# Rounds


def test_rounds_are_rollouts_and_updates_until_the_updates_are_done():
    seen = []
    sac = train_offline(
        recorded(), BOX, plain_model(), settings(updates=10), seed=0, on_step=lambda *step: seen.append(step)
    )
    assert [updates for updates, _ in seen] == [4, 8, 10]
    assert sac.replay_buffer.size() == 3 * 6 * 3  # three rollouts of six starts and three steps
    for _, measured in seen:
        assert {"rollout_return", "value", "mean_length", "share_truncated", "temperature"} <= measured.keys()
        assert measured["mean_length"] == 3 and measured["rollout_return"] == 3 and measured["share_truncated"] == 0
        assert all(np.isfinite(value) for value in measured.values())


def test_rollouts_start_at_recorded_observations_and_obey_the_current_policy():
    one = training()
    one.round()
    made = one.sac.replay_buffer.state_dict()["made"]
    recorded_rows = {tuple(row) for row in recorded().observations.tolist()}
    assert {tuple(row) for row in made["observations"][:6].tolist()} <= recorded_rows
    assert torch.equal(made["observations"][6:12], made["next_observations"][:6])
    fresh = training()
    actions = fresh.sac._scaled_actions(made["observations"][:6], fresh._generators["policy"])
    assert torch.allclose(made["actions"][:6], actions, atol=1e-6)


def test_the_model_gets_actions_in_the_environment_s_space():
    given = []

    def termination(observations, actions, next_observations):
        given.append(actions)
        return never(observations, actions, next_observations)

    one = training(PlainModel(ToyModel(), termination=termination), rollout_batch=500)
    one.round()
    actions = torch.cat(given)
    assert (actions >= torch.tensor(BOX.low)).all() and (actions <= torch.tensor(BOX.high)).all()
    assert actions[:, 1].max() > 4 and actions[:, 0].min() < -2
    made = one.sac.replay_buffer.state_dict()["made"]
    moved = made["next_observations"] - made["observations"]  # a tenth of the first action, and noise of .1
    assert torch.corrcoef(torch.stack([moved.mean(1), made["actions"][:, 0]]))[0, 1] > 0.9
    assert torch.allclose(moved.mean(), (0.3 * made["actions"][:, 0]).mean(), atol=0.02)


@pytest.mark.parametrize(("truncation", "stored", "stopped"), [("terminal", 6, 6), ("bootstrap", 6, 0), ("drop", 0, 0)])
def test_rejected_steps_are_stored_as_the_settings_say(truncation, stored, stopped):
    def nothing_is_real(observations, actions, following):
        return torch.zeros(following.shape[:-1])

    filtered = FilteredModel(ToyModel(), nothing_is_real, termination=never, threshold=0.6)
    one = training(filtered, truncation=truncation)
    measured = one.round()
    made = one.sac.replay_buffer.state_dict()["made"]
    assert len(made["rewards"]) == stored and made["dones"].sum() == stopped
    assert measured["share_truncated"] == 1 and measured["dynamics_reward"] == 0


def test_mopo_lowers_the_rewards_and_the_others_do_not():
    made, penalties = {}, {}
    choices, successors = hosts()
    for options in choices:
        one = training(successors=successors, successor_samples=2, **options)
        measured = one.round()
        made[one.settings.host], penalties[one.settings.host] = one.sac.replay_buffer.state_dict()["made"], measured
    penalty = made["mopo"]["observations"].abs().amax(1)
    assert torch.allclose(made["mopo"]["rewards"][:, 0], 1 - 0.5 * penalty)
    assert (made["plain"]["rewards"] == 1).all() and (made["mobile"]["rewards"] == 1).all()
    assert penalties["mopo"]["penalty"] == pytest.approx(float(penalty.mean()), rel=1e-5)


def test_a_penalty_needs_a_model_that_gives_one():
    class Without(ToyModel):
        def _penalties(self, observations):
            return None

    model = PlainModel(Without(), termination=never)
    with pytest.raises(ValueError, match="gives no penalties"):
        training(model, host="mopo", penalty_weight=0.5).round()
    training(model).round()


def test_a_filter_that_filters_nothing_changes_nothing():
    def any_is_real(observations, actions, following):
        return torch.ones(following.shape[:-1])

    filtered = FilteredModel(ToyModel(), any_is_real, termination=never, selection="uniform", threshold=None)
    plain, other = training(), training(filtered)
    for _ in range(2):
        plain.round()
        other.round()
    assert same(parameters(plain.sac), parameters(other.sac))


# Going on from a state


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_resumed_training_is_the_uninterrupted_one(number, tmp_path):
    choices, successors = hosts()
    options = {**choices[number], "updates": 22, "successor_samples": 2, "retained": 1}
    whole, kept = [], []
    sac = train_offline(
        recorded(),
        BOX,
        plain_model(),
        settings(**options),
        seed=3,
        successors=successors,
        on_step=lambda *step: whole.append(step),
        save=lambda updates, state: kept.append((updates, state)),
        save_every=2,
    )
    assert [updates for updates, _ in kept] == [8, 16, 22]
    updates, state = kept[0]
    save_checkpoint(
        tmp_path,
        updates,
        model=state["model"],
        optimiser=state["optimiser"],
        generators={},
        settings={},
        extra=state["rest"],
    )
    found = load_checkpoint(tmp_path)
    torch.manual_seed(99)
    rest = []
    resumed = train_offline(
        recorded(),
        BOX,
        plain_model(),
        settings(**options),
        seed=3,
        successors=successors,
        on_step=lambda *step: rest.append(step),
        state={"model": found.model, "optimiser": found.optimiser, "rest": found.extra},
    )
    assert same(parameters(sac), parameters(resumed))
    assert rest == whole[2:]
    ours, theirs = resumed.replay_buffer.sample(64), sac.replay_buffer.sample(64)
    assert all(torch.equal(one, other) for one, other in zip(ours[:5], theirs[:5], strict=True))


def test_a_state_holds_tensors_numbers_and_text_only():
    one = training()
    one.round()

    def plain(value):
        if isinstance(value, dict):
            return {str(name): plain(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [plain(part) for part in value]
        return None if isinstance(value, torch.Tensor) else value

    json.dumps(plain(one.state()))


def test_a_finished_training_goes_on_no_further():
    kept = []
    options = {"seed": 0, "save": lambda updates, state: kept.append(state)}
    sac = train_offline(recorded(), BOX, plain_model(), settings(), **options)
    again = train_offline(recorded(), BOX, plain_model(), settings(), **options, state=copy.deepcopy(kept[-1]))
    assert len(kept) == 1 and same(parameters(sac), parameters(again))


def test_the_seed_and_nothing_else_decides():
    found = []
    for seed, noise in ((4, 0), (4, 1), (5, 2)):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        one = training(seed=seed)
        found.append(one.round())
        assert torch.equal(before, torch.get_rng_state())
    assert found[0] == found[1] != found[2]


# Learning


@pytest.mark.slow
def test_a_policy_learns_what_the_model_pays_for():
    """The model pays for a first action near 2, in a space from -3 to 3: an error of scale would show."""

    def pay(observations, actions, next_observations):
        return -((actions[:, 0] - 2) ** 2)

    model = PlainModel(ToyModel(), termination=never, reward_override=pay)
    options = {"updates": 1500, "rollout_every": 100, "rollout_batch": 100, "horizon": 2, "batch_size": 128}
    rates = {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3, "temperature": 0.01, "discount": 0.5}
    chosen = settings(**options, **rates, hidden=(32, 32), real_fraction=0.0)
    table = recorded(box=spaces.Box(BOX.low, BOX.high))
    sac = train_offline(table, BOX, model, chosen, seed=0)
    assert (sac.act(torch.tensor(table.observations))[:, 0] - 2).abs().mean() < 0.3


def test_a_training_that_diverges_is_no_finished_one():
    one = training(updates=1, rollout_every=1)  # in an update before the last, torch refuses the actor of NaN itself
    with torch.no_grad():
        next(one.sac.critic.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"the training diverged by update 1: value is nan"):
        one.round()
