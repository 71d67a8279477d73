"""Where an episode's end goes, from the recording or the rollout to the critic: only a terminal stops the target."""

import dataclasses

import numpy as np
import pytest
import torch

from rewardlab.adapters.offline_settings import OfflineSettings
from rewardlab.adapters.offline_training import OfflineTraining
from rewardlab.dynamics.candidates import EnsembleCandidates
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.filtered_model import FilteredModel, PlainModel
from tests.adapters.offline_worlds import BOX, SMALL, ToyModel, never, recorded

HOSTS = ("plain", "mobile")


def unbelievable(observations, actions, following):
    return torch.zeros(following.shape[:-1])


def always(observations, actions, following):
    return torch.ones(len(following), dtype=torch.bool)


def training(model, table=None, **options):
    settings = OfflineSettings(**{**SMALL, "horizon": 1, "real_fraction": 0.0, **options})
    return OfflineTraining(recorded() if table is None else table, BOX, model, settings, seed=0)


def rejecting(**options):
    return FilteredModel(ToyModel(), unbelievable, termination=never, threshold=0.6, **options)


def parameters(one):
    return {name: value.clone() for name, value in one.sac.policy.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def trained(model, table=None, rounds=2, **options):
    one = training(model, table, **options)
    for _ in range(rounds):
        one.round()
    return parameters(one)


@pytest.mark.parametrize("mode", ["terminal", "bootstrap"])
def test_the_target_of_a_rejected_step(mode):
    """Its reward alone where rejected is terminal, else with what follows: here all made-up rows are rejected."""
    one = training(rejecting(), host="mobile", truncation=mode, nonnegative_target=False)
    one.round()
    batch = one.sac.replay_buffer.sample(32)
    assert (batch.rewards == 1).all()
    target, _ = one.sac._target(batch, torch.zeros(()))
    assert (target == 1).all() == (mode == "terminal")
    assert (target != 1).all() == (mode == "bootstrap")


@pytest.mark.parametrize("host", HOSTS)
def test_only_a_rejected_step_that_is_terminal_makes_the_discount_irrelevant(host):
    for mode, irrelevant in (("terminal", True), ("bootstrap", False)):
        short, far = (trained(rejecting(), host=host, truncation=mode, discount=d) for d in (0.1, 0.9))
        assert same(short, far) == irrelevant, mode


@pytest.mark.parametrize("host", HOSTS)
def test_a_rejected_step_that_is_terminal_is_learned_as_one_that_the_task_ends(host):
    ended = PlainModel(ToyModel(), termination=always)
    uniform = rejecting(selection="uniform")  # the plain model's steps, all rejected
    assert same(trained(ended, host=host), trained(uniform, host=host, truncation="terminal"))
    open_ended = PlainModel(ToyModel(), termination=never)
    assert same(trained(open_ended, host=host), trained(uniform, host=host, truncation="bootstrap"))


@pytest.mark.parametrize("host", HOSTS)
def test_dropped_steps_are_not_learned_from(host):
    """All are dropped, so batches are of recorded rows whatever share was asked for."""
    one = training(rejecting(), host=host, truncation="drop")
    one.round()
    assert one.sac.replay_buffer.size() == 0
    paid = FilteredModel(
        ToyModel(), unbelievable, termination=never, threshold=0.6, reward_override=lambda o, a, n: 9 + n[:, 0]
    )
    assert same(parameters(one), trained(paid, host=host, truncation="drop", rounds=1))


@pytest.mark.parametrize("host", HOSTS)
def test_recorded_timeouts_are_learned_as_rows_that_go_on(host):
    table = recorded()
    last = table.terminals | table.timeouts
    nothing = np.zeros(len(table), bool)
    cut, opened, ended = (
        dataclasses.replace(table, terminals=terminals, timeouts=timeouts)
        for terminals, timeouts in ((nothing, last), (nothing, nothing), (last, nothing))
    )
    plain = PlainModel(ToyModel(), termination=never)
    found = [trained(plain, each, host=host, real_fraction=1.0, rounds=3) for each in (cut, opened, ended)]
    assert same(found[0], found[1]) and not same(found[0], found[2])


@pytest.mark.parametrize("host", ["plain", "mopo", "mobile"])
def test_uniform_selection_without_threshold_trains_the_same_policy_in_an_ensemble(host):
    ensemble = GaussianEnsemble(3, 2, members=4, elites=3, hidden=(8,), generator=torch.Generator().manual_seed(0))
    kind = "aleatoric" if host == "mopo" else None
    options = {"host": host, "penalty_weight": 0.0 if host == "plain" else 0.3, "successor_samples": 2, "horizon": 3}
    candidates = EnsembleCandidates(ensemble, penalty=kind)

    def ends(observations, actions, following):
        return following[:, 0] > 0.5

    found = []
    for model in (
        PlainModel(candidates, termination=ends),
        FilteredModel(candidates, unbelievable, termination=ends, selection="uniform", threshold=None),
    ):
        settings = OfflineSettings(**{**SMALL, **options})
        one = OfflineTraining(
            recorded(), BOX, model, settings, seed=1, successors=EnsembleCandidates(ensemble, samples_per_elite=2)
        )
        while not one.finished:
            one.round()
        found.append(one)
    assert same(*map(parameters, found))
    mine, theirs = (one.sac.replay_buffer.state_dict()["made"] for one in found)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine) and mine["dones"].any()
