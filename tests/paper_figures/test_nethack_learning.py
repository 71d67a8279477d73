"""Verdicts on learning curves in NetHack: from made curves whose outcome is known."""

import numpy as np
import pandas as pd
import pytest

from environments.nethack.experiments.curves import EXTRINSIC
from environments.nethack.experiments.nethack_curves import ARMS, ROOM, SCORE
from paper_figures import nethack_curves, noisy_annotator
from paper_figures.learning_curves import missing, of_arm, over_seeds, paired, present


def curve(arm, ends, *, paid=(0.0, 0.0, 0.0), column="score", task=SCORE):
    """Curves of three points an arm: half the end, nothing known, the end."""
    rows = []
    for seed, (end, pay) in enumerate(zip(ends, paid, strict=False)):
        for step, value in ((10, end / 2), (20, np.nan), (30, end)):
            labels = {"task": task, "reward": arm.reward, "seed": seed, "step": step, "paid": pay}
            labels["accuracy"] = np.nan if arm.accuracy is None else arm.accuracy
            labels["exponent"] = np.nan if arm.accuracy is None else arm.exponent
            rows.append(labels | {"true_positive_share": np.nan, "frozen_share": 0.0, "labels": 0} | {column: value})
    return pd.DataFrame(rows)


def hacked(without, kept, paid):
    return pd.concat(
        [
            curve(noisy_annotator.NOISY_UNDISCOUNTED, without, paid=paid),
            curve(noisy_annotator.NOISY, kept),
            curve(noisy_annotator.RIGHT, [25.0, 26.0, 30.0]),
            curve(noisy_annotator.ENVIRONMENT, [20.0, 21.0, 19.0]),
        ],
        ignore_index=True,
    )


@pytest.mark.parametrize(
    ("without", "kept", "paid", "outcome"),
    [
        ([0.1, 0.2, 0.3], [15, 20, 18], [500, 800, 900], "supported"),
        ([0.1, 0.2, 0.3], [15, 20, 18], [500, 800, 200], "undecided"),  # one seed was not paid enough
        ([0.1, 3.5, 0.3], [15, 20, 18], [500, 800, 900], "undecided"),  # one seed kept a score
        ([0.1, 0.2, 0.3], [11, 12, 12], [500, 800, 900], "undecided"),
        ([4, 5, 6], [15, 20, 18], [500, 800, 900], "refuted"),
        ([0.2, 0.2, 0.2], [0.1, 0.2, 0.2], [500, 800, 900], "refuted"),  # both equal
        ([0.1, 0.2], [15, 20], [500, 800], "undecided"),  # too few seeds
    ],
)
def test_hacking_is_supported_only_as_the_threshold_says(without, kept, paid, outcome):
    found = noisy_annotator.verdicts(hacked(without, kept, paid))
    assert found["noise-is-farmed-without-discount"].outcome == outcome
    assert found["messages-alone-suffice"].outcome == "supported"


def test_the_score_of_messages_alone_can_be_refuted_and_undecided():
    for environment, outcome in (([40, 41, 39], "refuted"), ([20, 40, 28], "undecided")):
        frame = pd.concat(
            [curve(noisy_annotator.RIGHT, [25.0, 26.0, 30.0]), curve(noisy_annotator.ENVIRONMENT, environment)]
        )
        assert noisy_annotator.verdicts(frame)["messages-alone-suffice"].outcome == outcome


def test_what_is_not_recorded_is_said_and_nothing_falls_over():
    frame = curve(noisy_annotator.ENVIRONMENT, [20.0, 21.0, 19.0])
    for verdict in noisy_annotator.verdicts(frame).values():
        assert verdict.outcome == "undecided"
        assert "No rows of intrinsic only" in verdict.sentence
    assert len(noisy_annotator.table(frame)) == 1
    noisy_annotator.plot(frame)
    other = curve(noisy_annotator.RIGHT, [1.0]).assign(seed=7)
    assert "No seed in common" in missing(pd.concat([frame, other]), noisy_annotator.ARMS[:2]).sentence


def test_the_curves_are_judged_by_task_and_by_their_mean_where_it_is_about_speed():
    parts = []
    for arm in ARMS:
        gain = {"none": 0.0, "counts": 0.2}.get(arm.kind, -0.05)
        paid = [float(arm.accuracy == 0.9)] * 3
        parts.append(curve(arm, [0.5 + gain, 0.51 + gain, 0.49 + gain], paid=paid, column="success", task=ROOM))
        score = 10.0 * (1 + (arm.accuracy == 1) + (arm.potential != "none")) - 5 * (arm.kind == "ranking")
        parts.append(curve(arm, [score, score + 1, score - 1]))
    frame = pd.concat(parts, ignore_index=True)
    found = nethack_curves.verdicts(frame)
    assert {name: verdict.outcome for name, verdict in found.items()} == {
        "feedback-adds-to-score": "supported",
        "ranking-no-better": "supported",
        "noise-harmless-in-silence": "supported",
        "counts-speed-up-room": "supported",
        "exploration-potential-helps": "supported",
    }
    # of the curve (half, unknown, end) the mean counts the unknown as nothing reached
    assert found["counts-speed-up-room"].value == pytest.approx(0.2 * (0.5 + 1) / 3)
    worse = frame.assign(success=frame.success.where(frame.accuracy != 0.9, frame.success - 0.3))
    assert nethack_curves.verdicts(worse)["noise-harmless-in-silence"].outcome == "refuted"
    silent = nethack_curves.verdicts(frame.assign(paid=0.0))["noise-harmless-in-silence"]
    assert silent.outcome == "undecided"
    assert "No wrong label was paid" in silent.sentence
    assert len(nethack_curves.table(frame)) == 2 * len(ARMS)


def test_helpers():
    frame = pd.concat([curve(EXTRINSIC, [1.0, 2.0]), curve(noisy_annotator.NOISY, [5.0, 6.0, 7.0])])
    assert len(of_arm(frame, noisy_annotator.NOISY)) == 9
    assert present(frame, noisy_annotator.ARMS) == [EXTRINSIC, noisy_annotator.NOISY]
    assert paired(frame, "score", EXTRINSIC, noisy_annotator.NOISY).tolist() == [[1.0, 5.0], [2.0, 6.0]]
    assert over_seeds(np.array([4.0])).tolist() == [4.0, 4.0, 4.0]
    assert over_seeds(np.array([4.0, 6.0]))[0] == 5.0
