import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.dynamics.candidates import Candidates, EnsembleCandidates, Prediction
from rewardlab.dynamics.discriminator import Discriminator
from rewardlab.dynamics.draws import StepDraws, uniform_index
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.filtered_model import FilteredModel, PlainModel
from rewardlab.dynamics.selection import select
from tests.dynamics.toy_models import LinearModel, Walk, never

B = 40
FIRST = torch.ones(B, dtype=torch.long)


def batch(size=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(B, size, generator=generator, dtype=dtype), torch.randn(
        B, size, generator=generator, dtype=dtype
    )


def draws(outputs=3, seed=0, rows=B, dtype=torch.float64):
    return StepDraws.sample(rows, outputs, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def near_zero(observations, actions, following):
    """A dynamics reward in (0, 1]; of (B, N, d) or (B, d)."""
    return torch.exp(-following.square().sum(-1))


def filtered(model=None, reward=near_zero, **options):
    options = {"termination": never, "threshold": None} | options
    return FilteredModel(model or LinearModel(), reward, **options)


@given(st.integers(0, 10**6), st.sampled_from(["argmax", "softmax", "uniform"]), st.floats(0.01, 10))
def test_the_chosen_is_bit_for_bit_one_of_the_candidates_with_its_own_reward(seed, kind, temperature):
    d, (observations, actions) = draws(seed=seed), batch()
    made = LinearModel().candidates(observations, actions, d.all_noise(4))
    step = filtered(selection=kind, temperature=temperature).step(observations, actions, FIRST, d)
    rows = torch.arange(B)
    assert torch.equal(step.next_observations, made.next_observations[rows, step.index])
    assert torch.equal(step.rewards, made.rewards[rows, step.index])
    assert torch.equal(step.dynamics_rewards, near_zero(0, 0, made.next_observations)[rows, step.index])
    scores = near_zero(0, 0, made.next_observations)
    assert torch.equal(step.index, select(scores, d.choice, kind, temperature))


@given(st.integers(0, 10**6))
def test_uniform_without_threshold_is_the_plain_model_bit_for_bit(seed):
    (observations, actions), ends = batch(), lambda o, a, n: n[:, 0] > 0.5
    plain = PlainModel(LinearModel(), termination=ends).step(observations, actions, FIRST, draws(seed=seed))
    same = filtered(selection="uniform", termination=ends).step(observations, actions, FIRST, draws(seed=seed))
    for name in ("next_observations", "rewards", "terminals", "truncated", "non_finite", "index"):
        assert torch.equal(getattr(plain, name), getattr(same, name)), name
    assert plain.dynamics_rewards is None


def test_an_infinitely_warm_softmax_is_the_plain_model_too():
    """By the other path, that makes all candidates: only the rounding of the probabilities may move a choice."""
    observations, actions = batch()
    plain = PlainModel(LinearModel(), termination=never).step(observations, actions, FIRST, draws())
    warm = filtered(temperature=1e12).step(observations, actions, FIRST, draws())
    assert torch.equal(plain.next_observations, warm.next_observations) and torch.equal(plain.index, warm.index)


def test_the_ensembles_two_paths_agree():
    made = GaussianEnsemble(3, 2, hidden=(16, 16), generator=torch.Generator().manual_seed(0)).double()
    observations, actions = batch(3)[0], batch(2)[0]
    model = EnsembleCandidates(made)
    plain = PlainModel(model, termination=never).step(observations, actions, FIRST, draws(4))
    warm = filtered(model, temperature=1e12).step(observations, actions, FIRST, draws(4))
    assert torch.equal(plain.index, warm.index)
    torch.testing.assert_close(plain.next_observations, warm.next_observations, atol=1e-13, rtol=0)
    torch.testing.assert_close(plain.rewards, warm.rewards, atol=1e-13, rtol=0)


def test_uniform_makes_and_judges_only_the_chosen():
    shapes = []

    def reward(observations, actions, following):
        shapes.append(tuple(following.shape))
        return near_zero(observations, actions, following)

    observations, actions = batch()
    filtered(reward=reward, selection="uniform", threshold=0.2).step(observations, actions, FIRST, draws())
    filtered(reward=reward).step(observations, actions, FIRST, draws())
    assert shapes == [(B, 2), (B, 4, 2)]


@given(st.integers(0, 10**6))
def test_a_filter_raises_the_dynamics_reward(seed):
    observations, actions = batch()
    mean = {
        kind: filtered(selection=kind).step(observations, actions, FIRST, draws(seed=seed)).dynamics_rewards.mean()
        for kind in ("uniform", "softmax", "argmax")
    }
    assert mean["argmax"] >= mean["softmax"] - 1e-12 and mean["argmax"] >= mean["uniform"] - 1e-12


def walk(*moves, start=5.0, **options):
    """A model of three rows at start, start + 1, ...: the dynamics reward is s' / 10, and the task ends at 9."""
    observations = torch.tensor([[start], [start + 1], [start + 2]])
    ends = lambda o, a, n: n[:, 0] >= 9  # noqa: E731
    options = {"termination": ends, "selection": "argmax"} | options
    model = FilteredModel(Walk(*moves), lambda o, a, n: n[..., 0] / 10, **options)
    return model, observations


def one_step(model, observations, number=1):
    d = draws(2, rows=3, dtype=torch.float32)
    return model.step(observations, torch.zeros(3, 1), torch.full((3,), number), d)


def test_truncation_by_hand():
    step = one_step(*walk(2.0, 1.0, threshold=0.75))  # to 7, 8, 9
    assert step.next_observations[:, 0].tolist() == [7, 8, 9] and step.index.tolist() == [0, 0, 0]
    assert step.truncated.tolist() == [True, False, False] and step.terminals.tolist() == [False, False, True]
    assert one_step(*walk(2.0, threshold=None)).truncated.tolist() == [False] * 3


def test_terminal_wins_over_rejected():
    step = one_step(*walk(2.0, threshold=5.0))
    assert step.truncated.tolist() == [True, True, False] and step.terminals.tolist() == [False, False, True]


def test_defaults_are_the_launch_scripts_but_for_what_hangs_on_units():
    model = FilteredModel(LinearModel(), near_zero, termination=never)
    assert (model.selection, model.temperature, model.threshold, model.minimal_length) == ("softmax", 0.1, None, 0)
    made = EnsembleCandidates(GaussianEnsemble(3, 2, hidden=(4,), generator=torch.Generator().manual_seed(0)))
    assert (made.samples_per_elite, made.candidate_count, made.clip, made.clip_rewards) == (2, 10, None, True)


def test_the_threshold_itself_passes():
    step = one_step(*walk(3.0, start=2.0, threshold=0.5))  # to 5: exactly 0.5
    assert step.truncated.tolist() == [False, False, False]


@pytest.mark.parametrize(("number", "rejected"), [(1, False), (3, False), (4, True)])
def test_the_first_steps_are_never_rejected(number, rejected):
    step = one_step(*walk(0.0, threshold=2.0, minimal_length=3, termination=never), number=number)
    assert step.truncated.tolist() == [rejected] * 3


def test_a_broken_candidate_is_never_taken_and_a_broken_row_is_said():
    observations, actions = batch()
    model = LinearModel(broken=lambda o, i: (i < 2) | (o[..., 0] > 0.5))
    worst = observations[:, 0] > 0.5
    for kind in ("argmax", "softmax"):
        step = filtered(model, selection=kind, threshold=9.0, termination=lambda o, a, n: ~(n[:, 0] < 9)).step(
            observations, actions, FIRST, draws()
        )
        assert torch.equal(step.non_finite, worst) and worst.any()
        assert (step.index[~worst] >= 2).all() and torch.isfinite(step.next_observations[~worst]).all()
        assert not (step.truncated | step.terminals)[worst].any()
    d = draws()
    broken = (uniform_index(d.choice, 4) < 2) | worst
    for unfiltered in (PlainModel(model, termination=never), filtered(model, selection="uniform")):
        assert torch.equal(unfiltered.step(observations, actions, FIRST, d).non_finite, broken)


def learned_reward(size=3):
    discriminator = Discriminator(size, 2, hidden=(8, 8), generator=torch.Generator().manual_seed(0)).double()
    return DynamicsReward(
        discriminator, [discriminator.state_dict()] * 2, -torch.ones(2).double(), torch.ones(2).double(), kind="toy"
    )


@pytest.mark.parametrize("kind", ["argmax", "softmax", "uniform"])
def test_the_learned_reward_and_the_ensemble_go_together(kind):
    made = GaussianEnsemble(3, 2, hidden=(16, 16), generator=torch.Generator().manual_seed(0)).double()
    made.biases[-1].data[0] = torch.nan  # of the first elite
    observations, actions = batch(3)[0], batch(2)[0]
    model, reward, d = EnsembleCandidates(made), learned_reward(), draws(4)
    step = filtered(model, reward, selection=kind, threshold=0.6).step(observations, actions, FIRST, d)
    candidates = model.candidates(observations, actions, d.all_noise(10))
    scores = reward(observations, actions, candidates.next_observations.nan_to_num(0.0))
    fine = ~step.non_finite
    assert torch.equal(step.non_finite, uniform_index(d.choice, 10) < 2 if kind == "uniform" else ~fine & False)
    taken = scores[torch.arange(B), step.index]
    torch.testing.assert_close(step.dynamics_rewards[fine], taken[fine].detach(), atol=1e-12, rtol=0)
    assert torch.equal(step.truncated[fine], step.dynamics_rewards[fine] < 0.6)
    if kind == "argmax":
        assert torch.equal(step.index, scores[:, 2:].argmax(-1) + 2)


def test_rewards_can_be_overridden():
    observations, actions = batch()
    options = {"termination": never, "reward_override": lambda o, a, n: (n - o).sum(-1)}
    plain = PlainModel(LinearModel(), **options)
    for model in (plain, filtered(**options), filtered(selection="uniform", **options)):
        step = model.step(observations, actions, FIRST, draws())
        assert torch.equal(step.rewards, (step.next_observations - observations).sum(-1))
    step = PlainModel(LinearModel(), termination=never, reward_override=lambda o, a, n: n[:, 0] / 0).step(
        observations, actions, FIRST, draws()
    )
    assert step.non_finite.all()


def test_a_single_candidate_is_the_plain_model():
    observations, actions = batch()
    plain = PlainModel(LinearModel(count=1), termination=never).step(observations, actions, FIRST, draws())
    for kind in ("argmax", "softmax", "uniform"):
        step = filtered(LinearModel(count=1), selection=kind).step(observations, actions, FIRST, draws())
        assert torch.equal(step.next_observations, plain.next_observations)


def test_another_threshold_is_all_that_changes():
    override, ends = (lambda o, a, n: n[:, 0]), (lambda o, a, n: n[:, 0] > 0.5)
    model = filtered(
        temperature=3.0, selection="argmax", minimal_length=2, termination=ends, reward_override=override, threshold=0.1
    )
    other = model.with_threshold(0.7)
    assert {**vars(other), "threshold": 0.1} == vars(model) and other.threshold == 0.7
    assert model.with_threshold(None).threshold is None and model.threshold == 0.1


def test_the_predicted_reward_is_not_judged():
    class Generous(LinearModel):
        def candidates(self, observations, actions, noise):
            made = super().candidates(observations, actions, noise)
            return Candidates(made.next_observations, 100 - made.rewards)

    observations, actions = batch()
    for kind in ("argmax", "softmax"):
        poor, rich = (
            filtered(model, selection=kind).step(observations, actions, FIRST, draws())
            for model in (LinearModel(), Generous())
        )
        assert torch.equal(poor.index, rich.index) and torch.equal(100 - poor.rewards, rich.rewards)


class Noise:
    """Candidates are their noise, whatever the observation."""

    output_size = 2

    def __init__(self, count):
        self.candidate_count = count

    def candidates(self, observations, actions, noise):
        return Candidates(noise[..., :1], noise[..., 1])

    def one(self, observations, actions, noise, index):
        return Prediction(noise[:, :1], noise[:, 1])


def filtered_noise(count, rows, reward, **options):
    model, nothing = filtered(Noise(count), reward, **options), torch.zeros(rows, 1)
    d = StepDraws.sample(rows, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model.step(nothing, nothing, torch.ones(rows, dtype=torch.long), d).next_observations[:, 0]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_with_many_candidates_the_law_is_the_proposal_times_the_exponential_of_the_reward(temperature):
    """Of a normal proposal and the reward s', that is the normal around 1 / temperature."""
    taken = filtered_noise(200, 4000, lambda o, a, n: n[..., 0], temperature=temperature)
    assert float(taken.mean()) == pytest.approx(1 / temperature, abs=4 / 4000**0.5 + 0.02)
    assert float(taken.var()) == pytest.approx(1, abs=4 * (2 / 4000) ** 0.5 + 0.02)


def test_a_perfect_ranking_finds_what_is_among_the_candidates():
    """One of 25 places is right, and 10 candidates are offered: 1 - (1 - 1/25)^10 = 0.3352."""
    right = torch.special.ndtri(torch.tensor(24 / 25, dtype=torch.float64))
    taken = filtered_noise(10, 20_000, lambda o, a, n: (n[..., 0] > right).double(), selection="argmax")
    expected = 1 - (1 - 1 / 25) ** 10
    assert expected == pytest.approx(0.3352, abs=5e-5)
    found = float((taken > right).double().mean())
    assert found == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 20_000) ** 0.5)


def test_bad_functions_are_named():
    observations, actions = batch()
    take = lambda model: model.step(observations, actions, FIRST, draws())  # noqa: E731
    with pytest.raises(TypeError, match=r"termination gave torch\.float64, expected booleans"):
        take(filtered(termination=lambda o, a, n: n[:, 0]))
    with pytest.raises(ValueError, match=r"termination gave shape \(40, 2\), expected \(40,\)"):
        take(filtered(termination=lambda o, a, n: n > 0))
    with pytest.raises(ValueError, match=r"reward_override gave shape \(40, 1\)"):
        take(filtered(reward_override=lambda o, a, n: n[:, :1]))
    with pytest.raises(ValueError, match=r"dynamics_reward gave shape \(40,\), expected \(40, 4\)"):
        take(filtered(reward=lambda o, a, n: n[:, 0, 0]))
    with pytest.raises(ValueError, match=r"dynamics_reward\[0, 3\] is nan for a finite candidate"):
        take(filtered(reward=lambda o, a, n: torch.tensor([0.0, 0.0, 0.0, torch.nan]).expand(B, 4)))
    with pytest.raises(ValueError, match=r"dynamics_reward\[0, 0\] is -inf"):
        take(filtered(reward=lambda o, a, n: torch.full((B, 4), -torch.inf)))


def test_bad_arguments_are_named(without_type_checks):
    with pytest.raises(TypeError, match="candidate_model is a function without candidate_count, output_size, cand"):
        filtered(model=never)
    for options, message in (
        ({"selection": "elite"}, "selection is 'elite', expected one of"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"minimal_length": -1}, "minimal_length is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            filtered(**options)
