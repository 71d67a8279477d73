from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_scale.experiments import lm_proxy_distance_answers
from llm_scale.experiments.lm_proxy_distance import (
    EXPERIMENT,
    ONE,
    OPINION,
    TWO,
    distances,
    made_up,
    regrets,
    resampled,
    sizes,
)
from llm_scale.experiments.lm_proxy_distance_answers import Answers, Asked, answers, graded, learned
from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.loading import task as task_by_name
from paper_figures.lm_proxy_distance import CLAIMS, table, verdicts
from rewardlab.distance.starc import epic, starc
from rewardlab.exact.mdp import FiniteMDP

ASKED = Asked("tiny-test", "addition:style=bare", layer=1, tokens=3, prompts=4, samples=3, to_learn=2, at_once=2)


def rewards_of(seed, *, prompts=5, samples=4, proxies=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(prompts, samples)), rng.normal(size=(proxies, prompts, samples))


def one_step(prompts, samples):
    """Every prompt a state, every answer an action that ends the episode."""
    states = prompts + 1
    transition = np.zeros((states, samples, states))
    transition[..., -1] = 1
    return FiniteMDP(transition, discount=0.9, terminal=np.arange(states) == prompts)


def test_distance_within_prompts_is_half_of_starc_s_and_that_of_epic():
    gold, proxies = rewards_of(0)
    mdp = one_step(*gold.shape)
    padded = [np.concatenate([each, np.zeros((1, 4))]) for each in (gold, *proxies)]
    coverage = np.zeros(mdp.transition.shape)
    coverage[:-1, :, -1] = 1
    found = distances(gold, proxies)["within"]
    half = [float(starc(mdp, padded[0], proxy)) / 2 for proxy in padded[1:]]
    shaped = [float(epic(mdp, padded[0], proxy, coverage=coverage)) for proxy in padded[1:]]
    assert found == pytest.approx(half, abs=1e-12) and found == pytest.approx(shaped, abs=1e-12)


def test_distance_over_everything_is_that_of_the_correlation():
    gold, proxies = rewards_of(1)
    known = [np.sqrt((1 - np.corrcoef(gold.ravel(), proxy.ravel())[0, 1]) / 2) for proxy in proxies]
    assert distances(gold, proxies)["global"] == pytest.approx(known)


@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_opinions_of_prompts_and_scale_change_neither_distance_within_nor_regret(seed, scale):
    gold, proxies = rewards_of(seed, proxies=1)
    opinion = np.random.default_rng([seed, 1]).normal(size=(1, 5, 1)) * 10
    both = np.concatenate([proxies, scale * proxies + opinion])
    for name, values in {"within": distances(gold, both)["within"], **regrets(gold, both)}.items():
        assert values[1] == pytest.approx(values[0], abs=1e-9), name


def test_regret_of_gold_is_none_and_of_its_opposite_all():
    gold, _ = rewards_of(2)
    for values in regrets(gold, np.stack([gold, -gold])).values():
        assert values == pytest.approx([0, 1], abs=1e-12)


def test_regrets_by_hand():
    gold, proxies = rewards_of(3, prompts=4, samples=3)
    found = regrets(gold, proxies)
    best, worst = gold.max(1), gold.min(1)
    picked = [gold[np.arange(4), proxy.argmax(1)] for proxy in proxies]
    assert found["argmax"] == pytest.approx([(best - one).sum() / (best - worst).sum() for one in picked])

    def of_two(scores):
        draws = product(range(3), repeat=2)
        return sum(gold[row, max(pair, key=lambda n: scores[row, n])] for pair in draws for row in range(4)) / 9

    most = of_two(gold) - of_two(-gold)
    assert found["of_2"] == pytest.approx([(of_two(gold) - of_two(proxy)) / most for proxy in proxies])


def test_flaws_have_the_strength_that_they_are_called_by():
    rng = np.random.default_rng(4)
    gold, lengths = rng.normal(size=(400, 50)) + 3 * rng.normal(size=(400, 1)), rng.integers(1, 9, size=(400, 50))
    found = made_up(gold, lengths.astype(float), rng)
    unit = np.sqrt(gold.var(axis=1).mean())
    for (family, strength, _), scores in found.items():
        added = (scores - gold) / unit
        within = added.std(axis=1).mean()
        if family in ("noise", "length"):
            assert within == pytest.approx(strength, rel=0.05)
        elif family == "prompt":
            assert within < 1e-12 and added.std() == pytest.approx(strength, rel=0.15)
        else:
            assert within == pytest.approx(1, rel=0.05)
    correlations = [np.corrcoef(found["length", 1.0, 0].ravel() - gold.ravel(), lengths.ravel())[0, 1]]
    assert correlations == pytest.approx([1.0])


def test_prompts_drawn_anew_give_the_same_when_all_are_alike():
    row, proxies = rewards_of(5, prompts=1, samples=6, proxies=8)
    gold, proxies = np.repeat(row, 30, axis=0), np.repeat(proxies, 30, axis=1)
    families = np.array(["noise"] * 6 + ["prompt"] * 2)
    drawn = resampled(gold, proxies, families, 5, np.random.default_rng(0))
    assert drawn.nunique().tolist() == [1] * 4 and drawn.notna().all().all()
    plain = resampled(gold, proxies[:6], families[:6], 1, np.random.default_rng(0))
    assert plain["within"][0] == pytest.approx(drawn["within_plain"][0])


def test_gold_grades_answers():
    problem = next(one for one in AdditionTask(1, "bare").problems("train", 75, 0) if one.gold == "8")
    texts = np.array([["8", "18", "no", "It is surely 8."]])
    gold, lengths = graded(ASKED, Answers([problem], texts, np.zeros((1, 4, 2))))
    assert gold[0] == pytest.approx([1.75, 0.5 / 2 + 0.25, 0.25, 1.5 + 0.25 * 8 / 15])
    assert lengths[0].tolist() == [1, 2, 2, 15]


def test_answers_are_kept_part_by_part(tmp_path, monkeypatch):
    whole = answers(ASKED, 0, tmp_path)
    assert whole.texts.shape == (4, 5) and whole.features.shape == (4, 5, 32) and len(whole.problems) == 4
    (tmp_path / "from_2.npz").unlink()
    again = answers(ASKED, 0, tmp_path)
    assert (again.texts == whole.texts).all() and np.allclose(again.features, whole.features)
    monkeypatch.setattr(lm_proxy_distance_answers, "_model", None)  # nothing is left to draw
    kept = answers(ASKED, 0, tmp_path)
    assert (kept.texts == whole.texts).all()
    other = answers(replace(ASKED, prompts=2), 0, tmp_path)
    assert (other.texts == whole.texts[:2]).all()


def test_learned_rewards_come_near_gold_that_features_tell():
    rng = np.random.default_rng(6)
    features = rng.normal(size=(60, 8, 5))
    gold = features @ np.array([1.0, -1, 0.5, 0, 0])
    asked = replace(ASKED, prompts=60, samples=4, to_learn=4)
    found = learned(asked, Answers([], np.array([]), features), gold, (20, 300), 1, rng)
    far, near = (distances(gold[:, :4], found["learned", amount, 0][None])["within"][0] for amount in (20.0, 300.0))
    assert near < 0.2 and near < far


@pytest.mark.parametrize("scale", ["smoke", "small", "gpu"])
def test_what_is_asked_at_every_scale_is_there(scale):
    for size in sizes(scale).values():
        task_by_name(size.asked.task)
        pairs = size.asked.prompts * size.asked.to_learn * (size.asked.to_learn - 1) // 2
        assert max(size.pairs) <= pairs
    assert list(EXPERIMENT.cells(scale, 0)) == list(sizes(scale))


def frame_with(*, within=0.95, over=0.5, prompts=100, moved=0.0, grows=True):
    """A table with these correlations among prompts drawn anew, and in the family of opinions."""
    arm, rng = ONE, np.random.default_rng(0)
    rows = []
    for number in range(10):
        regret = dict.fromkeys(("argmax", "of_2", "of_4", "of_8", "of_16"), number / 10)
        far = {"within": number / 20, "global": number / 20}
        rows.append({"kind": "proxy", "family": "noise", "strength": float(number)} | far | regret)
    for strength in OPINION:
        regret = dict.fromkeys(("argmax", "of_2", "of_4", "of_8", "of_16"), 0.0)
        far = {"within": moved, "global": (strength if grows else 9 - strength) / 10}
        rows.append({"kind": "proxy", "family": "prompt", "strength": float(strength)} | far | regret)
    for _ in range(200):
        noise = 0.02 * rng.normal(size=2)
        pair = {"within": within + noise[0], "global": over + noise[1]}
        rows.append({"kind": "resampled"} | pair | {f"{name}_plain": value for name, value in pair.items()})
    return pd.DataFrame(rows).assign(arm=arm, prompts=prompts)


@pytest.mark.parametrize(
    ("changes", "claim", "outcome"),
    [
        ({}, "within-prompts-foretells", "supported"),
        ({"within": 0.5, "over": 0.95}, "within-prompts-foretells", "refuted"),
        ({"over": 0.95}, "within-prompts-foretells", "undecided"),
        ({"prompts": 25}, "within-prompts-foretells", "undecided"),
        ({}, "opinions-of-prompts-are-free", "supported"),
        ({"moved": 0.01}, "opinions-of-prompts-are-free", "refuted"),
        ({"grows": False}, "opinions-of-prompts-are-free", "refuted"),
    ],
)
def test_verdicts(changes, claim, outcome):
    found = verdicts(frame_with(**changes))
    assert set(found) == {one.id for one in CLAIMS}
    assert found[claim].outcome == outcome


def test_the_headline_is_smollm2_s_where_it_is_there():
    both = pd.concat([frame_with(), frame_with(within=0.5, over=0.95).assign(arm=TWO)])
    assert verdicts(both)["within-prompts-foretells"].outcome == "supported"
    assert len(table(both)) == 4
