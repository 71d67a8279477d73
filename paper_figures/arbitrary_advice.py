"""Any reward as advice: what potential-based advice does to the optimum, and what explicit shaping costs."""

import numpy as np
import pandas as pd

from paper_figures.arbitrary_advice_panels import plot
from paper_figures.arbitrary_advice_study import (
    DECAYS,
    MYOPIC,
    SHORTER,
    SMALL,
    VARIANTS_DECAY,
    by_seed,
    coded,
    explicit,
    grid_steps,
    wrong_arm_shares,
)
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval

__all__ = ["CLAIMS", "TITLE", "compute", "plot", "table", "verdicts"]

TITLE = "Any reward as advice: invariance claimed, invariance kept"

SLACK, WRONG, RIGHT = 3.0, 0.9, 0.9  # steps; shares of the arms
# mean steps over the first and the last 30 episodes by separate code, 5 to 10 seeds
EARLIER = {
    ("none", "plain"): (165, 21),
    ("good", "added"): (590, 660),
    ("good", "dynamic"): (50, 28),
    ("good", "dynamic_corrected"): (998, 395),
    ("good", explicit(3)): (235, 21),
    ("good", explicit(10)): (330, 21),
    ("good", explicit(75)): (685, 21),
    ("bad", "added"): (998, 1000),
    ("bad", "dynamic"): (985, 998),
    ("bad", "dynamic_corrected"): (34, 20),
    ("bad", explicit(5)): (360, 21),
    ("bad", explicit(10)): (514, 21),
}

PAPER = "2011.01297"
_KNOWN = "Most of the grid's numbers were known from separate code when the rule was written"

CLAIMS = (
    Claim(
        id="dynamic-advice-is-not-invariant",
        paper=PAPER,
        title="Bad advice as a learned potential changes what the agent ends up doing",
        says="With bad advice, potential-based advice as published does not find the way that plain SARSA finds.",
        threshold="last 30 episodes with bad advice: at least twice the steps of plain SARSA, 95% interval of the "
        f"difference above 0 (refuted if at most {SLACK:g} steps more)",
        published="invariance is claimed by Harutyunyan et al. (AAAI 2015), and called flawed by 2011.01297",
        limits=f"{_KNOWN}. One grid; the potential starts at 0, so that the published correction adds nothing.",
    ),
    Claim(
        id="explicit-keeps-the-optimum",
        paper=PAPER,
        title="Explicit shaping ends where plain SARSA ends, whatever the advice",
        says="Once the weight is 0, good and bad advice alike leave the same final number of steps.",
        threshold=f"last 30 episodes: at most {SLACK:g} steps more than plain SARSA for every decay and both kinds of "
        f"advice (refuted if for one the 95% interval of the difference is above {SLACK:g})",
        published="",
        limits=f"{_KNOWN}. At decay 75 half of all episodes are left to unlearn in.",
    ),
    Claim(
        id="explicit-is-faster",
        paper=PAPER,
        title="Explicit shaping by good advice speeds learning up",
        says="With good advice, explicit shaping takes fewer steps than plain SARSA in the first 30 episodes.",
        threshold="fewer steps for at least one decay, 95% interval of the difference below 0 (refuted if for every "
        "decay it is above 0)",
        published="good advice speeds learning up (abstract); a toy with discount .3 and a 20 x 20 grid in its code",
        limits=f"{_KNOWN}; those of decay 1 and 5 were not. The advice is paid at walls as well, and its potential "
        "grows to 100 where the goal is worth 10.",
    ),
    Claim(
        id="explicit-as-coded-is-faster",
        paper=PAPER,
        title="Explicit shaping as the paper's code has it speeds learning up",
        says="With the potential learned from the least advised action, good advice takes fewer steps than plain SARSA "
        "in the first 30 episodes.",
        threshold="for at least one decay: fewer steps, 95% interval of the difference below 0, and with bad advice at "
        f"most {SLACK:g} steps more in the last 30 (refuted if for every decay the first interval is above 0)",
        published="good advice speeds learning up (abstract)",
        limits="Found on reading the code: a potential learned like that is no longer minus the value of the advice, "
        "but stays near the advice of one step.",
    ),
    Claim(
        id="short-sight-is-what-helps",
        paper=PAPER,
        title="What makes the code's potential fast is that it looks one step ahead, not that it is small",
        says="A potential of the present advice alone speeds learning up; a tenth of the advice, valued over the whole "
        "future, does not.",
        threshold=f"decay {VARIANTS_DECAY}, first 30 episodes with good advice: a potential discounted by 0 takes "
        "fewer steps than plain SARSA, 95% interval below 0, and a tenth of the advice more, interval above 0 (refuted "
        "if the former's interval is above 0)",
        published="",
        limits="Found when looking for the reason, so the numbers were known when the rule was written. The advice is "
        "paid at walls as well, where a far-sighted potential grows with every step that the agent stays.",
    ),
    Claim(
        id="present-potential-corrects",
        paper=PAPER,
        title="Adding the present potential makes learned potentials invariant in practice as well",
        says="Acting on values plus the present potential, right at the fixed point, finds the way under both advices.",
        threshold=f"last 30 episodes: at most {SLACK:g} steps more than plain SARSA with good and with bad advice "
        f"(refuted if for one the 95% interval of the difference is above {SLACK:g})",
        published="",
        limits=f"{_KNOWN}. 150 episodes at constant step sizes; one run of 400 (8 seeds) ended no better.",
    ),
    Claim(
        id="wrong-arm",
        paper=PAPER,
        title="One state is enough: the advised arm wins, and explicit shaping lets it go",
        says="With arms worth 1 and 0 and advice of 2 for the second, learned potentials settle on the second.",
        threshold=f"second half of {20_000} steps: the wrong arm in at least {WRONG:.0%} with learned potentials, the "
        f"right one in at least {RIGHT:.0%} with explicit shaping (refuted if the former is below half)",
        published="94.7% and 95.3% by separate code",
        limits="Numbers known beforehand. An agent that explores in .1 of its steps takes its better arm in 95%.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Mean steps of every ten episodes on the grid, and shares of the wrong arm, by advice, learner and seed."""
    runs, episodes, max_steps = scale.pick(smoke=(4, 150, 300), small=(20, 150, 1000), paper=(50, 150, 1000))
    first, second = (np.random.default_rng(seed) for seed in np.random.SeedSequence(rng).spawn(2))
    grid = grid_steps(runs, episodes, max_steps, first)
    return pd.concat([grid, wrong_arm_shares(runs, second)], ignore_index=True)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean steps over the first and last 30 episodes, beside those of separate code."""
    rows = []
    for (advice, learner), _ in frame[frame.advice != "arm"].groupby(["advice", "learner"], sort=False):
        first, last = (by_seed(frame, advice, learner, when).mean() for when in ("first", "last"))
        earlier = EARLIER.get((advice, learner), ("", ""))
        rows.append((advice, learner.replace("_", ", "), first, earlier[0], last, earlier[1]))
    columns = ["advice", "learner", "first 30", "separate code", "last 30", "separate code, last"]
    return pd.DataFrame(rows, columns=columns)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "dynamic-advice-is-not-invariant": _not_invariant(frame),
        "explicit-keeps-the-optimum": _keeps(frame),
        "explicit-is-faster": _is_faster(frame),
        "explicit-as-coded-is-faster": _coded_is_faster(frame),
        "short-sight-is-what-helps": _short_sight(frame),
        "present-potential-corrects": _corrects(frame),
        "wrong-arm": _wrong_arm(frame),
    }


def _more(frame: pd.DataFrame, advice: str, learner: str, when: str) -> np.ndarray:
    """Steps more than plain SARSA on the same luck: mean and 95% interval over seeds."""
    return mean_interval(by_seed(frame, advice, learner, when) - by_seed(frame, "none", "plain", when))


def _not_invariant(frame: pd.DataFrame) -> Verdict:
    plain, advised = (by_seed(frame, *key, "last").mean() for key in (("none", "plain"), ("bad", "dynamic")))
    more = _more(frame, "bad", "dynamic", "last")
    supported = advised >= 2 * plain and more[1] > 0
    good = by_seed(frame, "good", "dynamic", "last").mean()
    return Verdict(
        "supported" if supported else "refuted" if more[0] <= SLACK else "undecided",
        f"steps more than plain SARSA in the last 30 episodes: {more[0]:.0f}",
        *for_verdict(more),
        f"Plain SARSA ends at {plain:.1f} steps, learned potentials at {advised:.0f} with bad advice and {good:.1f} "
        f"with good.",
    )


def _keeps(frame: pd.DataFrame) -> Verdict:
    found = {(a, d): _more(frame, a, explicit(d), "last") for a in ("good", "bad") for d in DECAYS}
    (advice, decay), worst = max(found.items(), key=lambda item: item[1][0])
    failed = any(more[1] > SLACK for more in found.values())
    return Verdict(
        "refuted" if failed else "supported" if worst[0] <= SLACK else "undecided",
        f"largest excess over plain SARSA {worst[0]:.2f} steps, at decay {decay:g} with {advice} advice",
        *for_verdict(worst),
        f"Over both kinds of advice and decays {DECAYS[0]} to {DECAYS[-1]} the last 30 episodes differ by "
        f"{min(more[0] for more in found.values()):.1f} to {worst[0]:.1f} steps.",
    )


def _is_faster(frame: pd.DataFrame) -> Verdict:
    found = {decay: _more(frame, "good", explicit(decay), "first") for decay in DECAYS}
    best = min(found, key=lambda decay: found[decay][0])
    faster, slower = any(more[2] < 0 for more in found.values()), all(more[1] > 0 for more in found.values())
    listed = ", ".join(f"{more[0]:+.0f} at decay {decay:g}" for decay, more in found.items())
    dynamic = _more(frame, "good", "dynamic", "first")[0]
    return Verdict(
        "supported" if faster else "refuted" if slower else "undecided",
        f"least excess in the first 30 episodes {found[best][0]:.0f} steps, at decay {best:g}",
        *for_verdict(found[best]),
        f"Steps more than plain SARSA with good advice: {listed}; learned potentials as published {dynamic:+.0f}.",
    )


def _coded_is_faster(frame: pd.DataFrame) -> Verdict:
    first = {decay: _more(frame, "good", coded(decay), "first") for decay in DECAYS}
    last = {decay: _more(frame, "bad", coded(decay), "last") for decay in DECAYS}
    passed = [decay for decay in DECAYS if first[decay][2] < 0 and last[decay][0] <= SLACK]
    best = min(passed or DECAYS, key=lambda decay: first[decay][0])
    slower = all(more[1] > 0 for more in first.values())
    early = ", ".join(f"{more[0]:+.0f} at decay {decay:g}" for decay, more in first.items())
    return Verdict(
        "supported" if passed else "refuted" if slower else "undecided",
        f"steps more than plain SARSA in the first 30 episodes {first[best][0]:+.0f}, at decay {best:g}",
        *for_verdict(first[best]),
        f"Early, with good advice: {early}; late, with bad advice, at most "
        f"{max(more[0] for more in last.values()):+.1f}.",
    )


def _short_sight(frame: pd.DataFrame) -> Verdict:
    myopic, shorter, small = (_more(frame, "good", name, "first") for name in (MYOPIC, SHORTER, SMALL))
    return Verdict(
        "supported" if myopic[2] < 0 < small[1] else "refuted" if myopic[1] > 0 else "undecided",
        f"steps more than plain SARSA in the first 30 episodes {myopic[0]:+.0f}, with a potential of one step",
        *for_verdict(myopic),
        f"Discounted by 0 {myopic[0]:+.0f}, by .5 {shorter[0]:+.0f}; a tenth of the advice, discounted by .99, "
        f"{small[0]:+.0f}.",
    )


def _corrects(frame: pd.DataFrame) -> Verdict:
    found = {advice: _more(frame, advice, "dynamic_corrected", "last") for advice in ("good", "bad")}
    worst = max(found, key=lambda advice: found[advice][0])
    failed = any(more[1] > SLACK for more in found.values())
    return Verdict(
        "refuted" if failed else "supported" if found[worst][0] <= SLACK else "undecided",
        f"largest excess over plain SARSA {found[worst][0]:.0f} steps, with {worst} advice",
        *for_verdict(found[worst]),
        f"In the last 30 episodes {found['good'][0]:+.0f} steps with good and {found['bad'][0]:+.1f} with bad advice: "
        "every update of the potential moves the sum at once, and the values make up for it only later.",
    )


def _wrong_arm(frame: pd.DataFrame) -> Verdict:
    wrong = mean_interval(by_seed(frame, "arm", "dynamic", "last half"))
    right = 1 - by_seed(frame, "arm", "explicit", "last half").mean()
    corrected = 1 - by_seed(frame, "arm", "dynamic_corrected", "last half").mean()
    return Verdict(
        "supported" if wrong[0] >= WRONG and right >= RIGHT else "refuted" if wrong[0] < 0.5 else "undecided",
        f"share of the wrong arm with learned potentials {wrong[0]:.3f}",
        *for_verdict(wrong),
        f"Learned potentials take the wrong arm in {wrong[0]:.1%}; explicit shaping takes the right one in "
        f"{right:.1%}, learned potentials with the present one added again in {corrected:.1%}.",
    )
