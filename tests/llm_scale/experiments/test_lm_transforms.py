"""Raw or log-sigmoid on a learned reward: cells, and verdicts that can come out either way."""

import numpy as np
import pandas as pd
import pytest

from llm_scale.experiments.lm_transforms import (
    ARMS,
    EXPERIMENT,
    GROUP,
    JUDGE,
    LEARNED,
    RAW,
    REWARDS,
    START,
    reward_file,
)
from llm_scale.rewards.reward_path import RewardPath
from paper_figures import lm_transforms as figure
from tests.llm_scale.experiments.test_learned_reward_study import TASK


def frame(*, start=0.1, group=0.1, end=0.3, seeds=3, rows=24, reach=6.0):
    """Gold that rises to .8 at a KL of 1 and falls with it; the log-sigmoids that much higher, and lower at the end."""
    kl = np.linspace(0, reach, rows)
    parts = []
    for reward in REWARDS:
        for arm in ARMS:
            more = {RAW: 0.0, START: start, GROUP: group}[arm]
            gold = 0.8 - 0.3 * np.abs(kl - 1) / 5 + more * (kl > 0)
            if arm == START:
                gold[-figure.WINDOW :] = gold.max() - end
            for seed in range(seeds):
                columns = {"step": 2 * np.arange(rows), "kl": kl, "gold": gold + 0.001 * seed, "right": gold}
                parts.append(pd.DataFrame(columns).assign(padding=kl, reward=reward, arm=arm, seed=seed))
    return pd.concat(parts)


def outcomes(rows):
    return {name: verdict.outcome for name, verdict in figure.verdicts(rows).items()}


def test_supported_where_all_is_as_claimed():
    assert set(outcomes(frame()).values()) == {"supported"}


def test_each_claim_can_be_refuted():
    found = outcomes(frame(start=-0.1, end=0.05))
    assert found == dict.fromkeys(("learned-reward", "known-flaw", "keeps-the-hack"), "refuted") | {
        "group-quantile": "supported"
    }
    assert outcomes(frame(group=-0.1))["group-quantile"] == "refuted"


@pytest.mark.parametrize("few", [{"seeds": 2}, {"rows": 10}])
def test_undecided_with_too_few_seeds_or_steps(few):
    assert set(outcomes(frame(**few)).values()) == {"undecided"}


def test_undecided_where_a_run_does_not_get_to_twice_the_peak():
    assert outcomes(frame(reach=1.6))["learned-reward"] == "undecided"


def test_gold_is_read_off_where_a_kl_is_first_reached():
    rows = frame(seeds=1)
    rows["kl"] = np.tile([0.0, 1.0, 0.5, 2.0] * 6, 6)
    rows["gold"] = np.tile([0.0, 1.0, 5.0, 2.0] * 6, 6)
    assert figure.WINDOW == 3
    # means over three: KL 0, .5, .5, 1.17 and gold 0, .5, 2, 2.67; of the two at .5 the first counts
    assert figure.at_kl(rows, LEARNED, RAW, np.array([0.25, 0.5, 7 / 6, 9.0]))[0] == pytest.approx(
        [0.25, 0.5, 8 / 3, np.nan], nan_ok=True
    )


def test_peak_is_that_of_the_mean_curve():
    assert figure.raw_peak(frame(rows=200), JUDGE) == pytest.approx(1, abs=0.1)


def test_every_scale_has_cells_for_all_arms_and_reward_files_that_can_be_read():
    for scale in ("smoke", "small", "gpu"):
        names = EXPERIMENT.cells(scale, 5)
        assert all(any(f"{reward}, {arm}, seed 5" == name for name in names) for reward in REWARDS for arm in ARMS)
    for arm in ARMS:
        given = {"learned": lambda samples: [0.0] * len(samples)}
        path = RewardPath.from_toml(reward_file(arm), TASK, given=given)
        assert path.pipeline.names == ("learned",) or list(path.pipeline.names) == ["learned"]


def test_figure_and_table_are_made_of_one_seed_too():
    for rows in (frame(), frame(seeds=1, rows=2)):
        assert len(figure.table(rows)) == len(ARMS) * len(REWARDS)
        assert figure.plot(rows).axes
