"""Arguments of a wrong shape or range that torch itself would turn into a plausible result."""

import numpy as np
import pytest
import torch

from rewardlab.dynamics import (
    AdversarialSettings,
    BehaviourSettings,
    EnsembleCandidates,
    EnsembleSettings,
    FilteredModel,
    GaussianEnsemble,
    NoiseLadderSettings,
    PlainModel,
    Prediction,
    coverage,
    rejection_threshold,
    rollout,
    select,
)

pytestmark = pytest.mark.usefixtures("without_type_checks")


def ensemble():
    generator = torch.Generator().manual_seed(0)
    return GaussianEnsemble(3, 2, members=3, elites=2, hidden=(4,), generator=generator)


@pytest.mark.parametrize("choice", [[1.5], [-0.5], [float("nan")], [1.0]])
def test_a_choice_outside_its_interval(choice):
    with pytest.raises(ValueError, match=r"choice holds a number outside \[0, 1\)"):
        select(torch.tensor([[0.0, 1.0]]), torch.tensor(choice))


def test_a_choice_for_other_rows():
    with pytest.raises(ValueError, match=r"choice has shape \(3,\) and rewards \(1, 2\)"):
        select(torch.zeros(1, 2), torch.zeros(3))


def test_coverage_of_nothing_or_of_nan():
    for errors in (torch.zeros(2, 0, 1), torch.full((2, 3, 1), torch.nan)):
        with pytest.raises(ValueError, match="expected at least one, all of them finite"):
            coverage(errors, 0.5)
    with pytest.raises(ValueError, match="level is 1, expected"):
        coverage(torch.zeros(2, 3, 1), 1.0)


@pytest.mark.parametrize("shape", [(5, 4, 1), (1, 4, 4), (5, 3, 4)])
def test_noise_that_would_be_shared(shape):
    model = EnsembleCandidates(ensemble())
    with pytest.raises(ValueError, match=r"noise has shape .* expected \(5, 4, 4\)"):
        model.candidates(torch.zeros(5, 3), torch.zeros(5, 2), torch.zeros(shape))


@pytest.mark.parametrize("index", [-1, 4])
def test_a_candidate_that_is_not_there(index):
    model = EnsembleCandidates(ensemble())
    with pytest.raises(ValueError, match="expected one of 0 to 3 a row"):
        model.one(torch.zeros(5, 3), torch.zeros(5, 2), torch.zeros(5, 4), torch.full((5,), index))


def test_a_model_whose_rewards_are_of_other_rows():
    class Short:
        candidate_count, output_size = 1, 4

        def candidates(self, observations, actions, noise):
            raise AssertionError("one is enough")

        def one(self, observations, actions, noise, index):
            return Prediction(observations, torch.zeros(1))

    model = PlainModel(Short(), termination=None)
    with pytest.raises(ValueError, match=r"candidate_model gave shape \(1,\), expected \(4,\)"):
        rollout(
            model, lambda seen: torch.zeros(len(seen), 2), torch.zeros(4, 3), horizon=1, generator=torch.Generator()
        )


def test_arrays_of_another_library_or_precision():
    model, chance = PlainModel(EnsembleCandidates(ensemble()), termination=None), torch.Generator()
    with pytest.raises(TypeError, match="starts is a ndarray"):
        rollout(model, lambda seen: seen[:, :2], np.zeros((4, 3), np.float32), horizon=1, generator=chance)
    with pytest.raises(TypeError, match="policy gave a ndarray"):
        rollout(model, lambda seen: np.zeros((4, 2)), torch.zeros(4, 3), horizon=1, generator=chance)
    with pytest.raises(
        TypeError, match=r"observations is a tensor of torch\.float64, expected a tensor of torch\.float32"
    ):
        ensemble()(torch.zeros(4, 3, dtype=torch.float64), torch.zeros(4, 2))


def test_models_of_another_kind():
    candidates = EnsembleCandidates(ensemble())
    with pytest.raises(TypeError, match="dynamics_reward is a NoneType"):
        FilteredModel(candidates, None, termination=None)
    with pytest.raises(TypeError, match=r"GaussianEnsemble without .*; an ensemble is wrapped in EnsembleCandidates"):
        PlainModel(ensemble(), termination=None)
    with pytest.raises(TypeError, match="model is a PlainModel, expected a FilteredModel"):
        rejection_threshold(PlainModel(candidates, termination=None), None, 0.1, generator=torch.Generator())


@pytest.mark.parametrize("settings", [EnsembleSettings, NoiseLadderSettings, BehaviourSettings])
def test_sizes_of_layers(settings):
    assert settings(hidden=[8, 8]) == settings(hidden=(8, 8))
    with pytest.raises(TypeError, match="hidden is 64, expected the sizes"):
        settings(hidden=64)
    with pytest.raises(ValueError, match=r"hidden\[1\] is 0"):
        settings(hidden=(8, 0))
    with pytest.raises(ValueError, match=r"generator_hidden\[0\] is 0"):
        AdversarialSettings(generator_hidden=(0,))
