"""Which algorithms there are, and which choices exclude each other."""

import dataclasses
import math

import pytest

from llm_scale.objectives.objective import OBJECTIVES, Objective, objective


def test_published_objectives():
    published = {
        "grpo": ("standardised", "token", "sequence_mean", 0.2, 0.2, 0.04),
        "dr_grpo": ("mean_centred", "token", "constant", 0.2, 0.2, 0.0),
        "dapo": ("standardised", "token", "token_mean", 0.2, 0.28, 0.0),
        "rloo": ("leave_one_out", "sequence_product", "sequence_mean", 0.2, 0.2, 0.05),
        "reinforce_plus_plus": ("raw", "token", "token_mean", 0.2, 0.2, 1e-3),
        "reinforce_plus_plus_baseline": ("mean_centred", "token", "token_mean", 0.2, 0.2, 1e-3),
        "lite_ppo": ("batch_standardised", "token", "token_mean", 0.2, 0.2, 0.0),
        "gspo": ("standardised", "sequence", "sequence_mean", 3e-4, 4e-4, 0.0),
        "gspo_token": ("standardised", "sequence_token", "sequence_mean", 3e-4, 4e-4, 0.0),
        "cispo": ("standardised", "token", "token_mean", 0.2, 0.2, 0.0),
        "stable_reinforce": ("raw", "token", "token_mean", 0.2, 0.2, 1e-3),
        "opo": ("length_weighted", "token", "token_mean", 0.2, 0.2, 0.0),
        "gpg": ("nonzero_scaled", "token", "token_mean", 0.2, 0.2, 0.0),
        "pass_at_k": ("best_of_group", "token", "sequence_mean", 0.2, 0.2, 0.0),
    }
    assert {
        name: (o.advantage, o.importance, o.aggregation, o.clip_low, o.clip_high, o.kl_weight)
        for name, o in OBJECTIVES.items()
    } == published
    assert all(o.name == name and (o.correction, o.epsilon) == (1, 1e-4) for name, o in OBJECTIVES.items())


def test_what_each_objective_needs():
    assert {name for name, o in OBJECTIVES.items() if o.kl_in_reward} == {
        "rloo",
        "reinforce_plus_plus",
        "stable_reinforce",
    }
    assert {name for name, o in OBJECTIVES.items() if o.kl_in_loss} == {"grpo", "reinforce_plus_plus_baseline"}
    assert {name for name, o in OBJECTIVES.items() if o.by_token} == {
        "reinforce_plus_plus",
        "reinforce_plus_plus_baseline",
        "stable_reinforce",
    }
    stable = OBJECTIVES["stable_reinforce"]
    assert (stable.advantage_filter, stable.filter_limit, stable.credit) == ("drop", 3.0, "token")
    assert stable.log_ratio_clip == pytest.approx(math.log(1e3))
    assert OBJECTIVES["cispo"].ratio_cap == 5.0


def test_credit_by_token_keeps_its_ratio_by_token():
    for changes in ({"importance": "token"}, {"importance": "sequence_token"}, {"surrogate": "reinforce"}):
        assert objective("rloo", credit="token", **changes).credit == "token"


def test_changes_make_another_objective():
    changed = objective("gspo", clip_high=0.5, kl_weight=0.1)
    assert changed == dataclasses.replace(OBJECTIVES["gspo"], clip_high=0.5, kl_weight=0.1) != OBJECTIVES["gspo"]
    assert not objective("grpo", kl_weight=0.0).kl_in_loss


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("ppo", {}, r"objective is 'ppo', expected one of .*'grpo'.*'rloo'"),
        ("grpo", {"beta": 0.1}, r"field of an objective is 'beta', expected one of .*'kl_weight'"),
        ("grpo", {"advantage": "z"}, r"advantage is 'z', expected one of 'standardised'"),
        ("grpo", {"credit": "word"}, "credit is 'word', expected one of 'sequence', 'token'"),
        ("grpo", {"whitening": "groups"}, "whitening is 'groups'"),
        ("grpo", {"advantage_filter": "trim"}, "advantage_filter is 'trim'"),
        ("grpo", {"surrogate": "ppo"}, "surrogate is 'ppo'"),
        ("grpo", {"importance": None}, "importance is None"),
        ("grpo", {"aggregation": "mean"}, "aggregation is 'mean'"),
        ("grpo", {"kl_estimator": "k4"}, "kl_estimator is 'k4'"),
        ("grpo", {"kl_place": "nowhere"}, "kl_place is 'nowhere'"),
        ("grpo", {"kl_ratio": "sequence"}, "kl_ratio is 'sequence'"),
        ("grpo", {"correction": 2}, "correction is 2"),
        ("grpo", {"discount": 1.1}, r"discount is 1.1, expected a number in \[0, 1\]"),
        ("grpo", {"epsilon": -1e-4}, "epsilon is -0.0001"),
        ("grpo", {"clip_low": -0.2}, "clip_low is -0.2"),
        ("grpo", {"kl_weight": math.nan}, "kl_weight is nan"),
        ("grpo", {"dual_clip": 1.0}, r"dual_clip is 1.0, expected a number in \(1, inf\)"),
        ("grpo", {"ratio_cap": 0.0}, "ratio_cap is 0.0"),
        ("grpo", {"log_ratio_clip": 0.0}, "log_ratio_clip is 0.0"),
        ("grpo", {"filter_limit": 0.0}, "filter_limit is 0.0"),
        ("grpo", {"whitening": "samples", "credit": "token"}, "whitening is 'samples' but credit 'token'"),
        (
            "rloo",
            {"credit": "token"},
            "importance is 'sequence_product' with credit 'token': all tokens of a sample share",
        ),
        ("gspo", {"credit": "token"}, "importance is 'sequence' with credit .* expected 'token' or 'sequence_token'"),
        ("gpg", {"credit": "token"}, "advantage is 'nonzero_scaled' but credit 'token'"),
        ("pass_at_k", {"credit": "token"}, "advantage is 'best_of_group' but credit 'token'"),
        ("cispo", {"ratio_cap": None}, "surrogate is 'cispo' but ratio_cap None"),
        ("grpo", {"kl_place": "reward"}, "kl_place is 'reward' with kl_estimator 'k3', expected 'k1'"),
        ("rloo", {"kl_ratio": "token"}, "kl_ratio is 'token' with kl_place 'reward'"),
        ("grpo", {"step_baseline": "same_step"}, "step_baseline is 'same_step', with credit 'sequence'"),
        ("opo", {"step_baseline": "same_step", "credit": "token"}, "an advantage not weighted by length"),
    ],
)
def test_what_makes_no_sense_is_refused(name, changes, message):
    with pytest.raises(ValueError, match=message):
        objective(name, **changes)


@pytest.mark.parametrize("changes", [{"clip_low": "0.2"}, {"kl_weight": None}, {"filter_limit": None}])
def test_what_is_no_number_is_refused(changes):
    with pytest.raises(TypeError, match=f"{next(iter(changes))}: expected a number"):
        Objective("mine", **changes)
