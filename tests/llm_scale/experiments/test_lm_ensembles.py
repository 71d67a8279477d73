"""Ensembles of reward models under optimisation: cells, and verdicts that can come out either way."""

import numpy as np
import pandas as pd
import pytest

from llm_scale.experiments.lm_ensembles import ARMS, BEST_OF, EXPERIMENT, FINETUNE, PRETRAIN, SINGLE, SIZES, TRAINED
from paper_figures import lm_ensembles as figure


def frame(*, ends=None, falls_at=None, best=(0.6, 0.7, 0.8), seeds=3, rows=24, sizes=SIZES):
    """Gold at .8 until a row, then at the end's; best of n by single member, fine-tuning and pretraining ensemble."""
    ends = {SINGLE: 0.2, FINETUNE: 0.3, PRETRAIN: 0.4} | (ends or {})
    falls_at = {SINGLE: 6, FINETUNE: 8, PRETRAIN: 14} | (falls_at or {})
    parts = []
    for seed in range(seeds):
        for kind, combination in ARMS:
            own = {"kind": kind, "combination": combination, "seed": seed}
            value = dict(zip((SINGLE, FINETUNE, PRETRAIN), best, strict=True))[kind] + 0.001 * seed
            for member in range(2 if kind == SINGLE else 1):
                own |= {"member": member}
                parts.append(pd.DataFrame({"n": sizes, "gold": value, "learned": 1.0}).assign(part=BEST_OF, **own))
                if (kind, combination) in TRAINED:
                    gold = np.where(np.arange(rows) < falls_at[kind], 0.8, ends[kind]) + 0.001 * seed
                    columns = {"step": 2 * np.arange(rows), "gold": gold, "kl": 1.0, "padding": 1.0}
                    parts.append(pd.DataFrame(columns).assign(part="training", **own))
    return pd.concat(parts, ignore_index=True)


def outcomes(rows):
    return {name: verdict.outcome for name, verdict in figure.verdicts(rows).items()}


def test_supported_where_all_is_as_claimed():
    assert set(outcomes(frame()).values()) == {"supported"}


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("no-worse-than-one", {"ends": {FINETUNE: 0.1}}),
        ("pretraining-seeds", {"best": (0.6, 0.7, 0.65)}),
        ("pretraining-seeds", {"best": (0.6, 0.5, 0.8)}),
        ("conservative-delays", {"falls_at": {PRETRAIN: 4}}),
        ("shared-flaw-stays", {"ends": {PRETRAIN: 0.75}}),
    ],
)
def test_each_claim_can_be_refuted(claim, change):
    found = outcomes(frame(**change))
    assert found.pop(claim) == "refuted"


@pytest.mark.parametrize("few", [{"seeds": 2}, {"rows": 10}, {"sizes": SIZES[:-1]}])
def test_undecided_with_too_little(few):
    assert set(outcomes(frame(**few)).values()) == {"undecided"}


def test_runs_that_never_fall_count_as_their_whole_length():
    run = pd.DataFrame({"step": [0, 2, 4, 6], "gold": [0.1, 0.5, 0.5, 0.5]})
    assert figure.steps_until_fallen(run) == 8
    run["gold"] = [0.5, 0.5, 0.5, 0.1]
    assert figure.steps_until_fallen(run) == 6
    assert figure.fall(run) == pytest.approx(0.4 / 3)


def test_members_of_a_seed_are_averaged_before_seeds():
    rows = frame()
    rows.loc[(rows.kind == SINGLE) & (rows.member == 1) & (rows.part == "training"), "gold"] += 0.1
    assert figure.by_seed(rows, SINGLE, "mean", figure.final_gold) == pytest.approx([0.25, 0.251, 0.252])


def test_every_scale_has_its_cells():
    for scale, runs in (("smoke", len(TRAINED)), ("small", len(TRAINED) + 1), ("gpu", len(TRAINED) + 1)):
        names = list(EXPERIMENT.cells(scale, 7))
        assert sum("seed 7" in name for name in names) == runs + 1
        assert f"{BEST_OF}, seed 7" in names


def test_figure_and_table_are_made_of_one_seed_too():
    for rows in (frame(), frame(seeds=1, rows=2, sizes=(1, 2, 4))):
        assert len(figure.table(rows)) == len(ARMS)
        assert len(figure.plot(rows).axes) == 3
