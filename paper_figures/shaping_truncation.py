"""Four ways in which shaping goes wrong without a word, the first at time limits: what each does, and by how much."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.shaping_truncation_panels import draw_bias, draw_choice, draw_leads, draw_resets
from paper_figures.shaping_truncation_study import (
    DISCOUNT,
    FAULTS,
    PAYS,
    TRACE,
    critic_bias,
    frame_of,
    harmful_below,
    leads,
    learned_tables,
    shaping_over_resets,
    target_bias,
    trained_by_ppo,
)

TITLE = "Shaping at time limits, at the end and across resets: right and wrong"
EXTRA = ("torch", "stable_baselines3")

PAPER = "Ng, Harada and Russell 1999"
LIMIT = 10  # steps, of the headline
KNOWN = "The size of the effect was known from closed forms, and from a trial run, before the threshold was set."

CLAIMS = (
    Claim(
        id="zeroed-at-the-limit-biases",
        paper=PAPER,
        title="A potential zeroed at the time limit biases a critic that bootstraps there; kept, it does not",
        says="The target of the last step is off by minus the discounted potential, and the critic by what that adds "
        "up to through bootstrapping, in a table and in PPO's network.",
        threshold="at a limit of 10 steps: kept within .25 of the exact value, zeroed within 10% of the closed form "
        "in the table and 20% in PPO (refuted if kept is off by 1, or zeroed by less than 1)",
        published="",
        limits=KNOWN + " One room and no clock in the observation; a critic that sees the clock is off near the "
        "limit only.",
    ),
    Claim(
        id="zeroed-at-the-limit-misleads",
        paper=PAPER,
        title="The bias is large enough to choose the worse of two rooms",
        says="With a limit of 10 steps PPO ends in the room that pays .7 instead of 1 where the potential is zeroed at "
        "the limit; kept, it does as unshaped.",
        threshold="unshaped pay a step: kept within .02 of no shaping, zeroed at least .2 lower, interval below 0 "
        "(refuted if zeroed is within .02 of no shaping, or kept lower by .1)",
        published="",
        limits=KNOWN + " It takes a short limit: below 18 steps here, the discounted potential over the rooms' gap.",
    ),
    Claim(
        id="terminal-potential-misleads",
        paper=PAPER,
        title="A potential that is not 0 in a terminal state can turn the best action into the worse",
        says="The action that pays 1 loses to one that pays 0 and ends where the potential is 2.",
        threshold="exact: lead of the right action 1 unshaped and shaped right, below 0 with the fault; every learner "
        "takes the wrong action with the fault and none without (refuted if the lead with the fault is above 0)",
        published="",
        limits="A world made to show it; how much it takes depends on the potentials of the ends. Known "
        "beforehand, as exact by construction.",
    ),
    Claim(
        id="other-discount-misleads",
        paper=PAPER,
        title="Shaping with another discount than the learner's can make it stay where it is for ever",
        says="With discount 1 in the shaping and .99 in the learner, a positive potential is a wage for staying.",
        threshold="exact: lead of finishing 1 unshaped and shaped right, below 0 with the fault; every learner stays "
        "with the fault and none without (refuted if the lead with the fault is above 0)",
        published="",
        limits="A potential of ten times the reward; the wage is the potential times the difference of discounts. "
        "Known beforehand, as exact by construction.",
    ),
    Claim(
        id="reset-is-no-step",
        paper=PAPER,
        title="Where environments reset themselves, a naive wrapper pays for the reset",
        says="In gymnasium's vectors the step after the last one only resets: shaping from old to new episode there is "
        "a reward for nothing. rewardlab's wrapper adds none.",
        threshold="naive: 2 lost on the reset step; the wrapper: exactly 0, all other steps alike (refuted otherwise)",
        published="",
        limits="The default mode of autoreset; the tests hold the other two, and those of Stable-Baselines3. "
        "Known beforehand.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Three parts by column `part`: learners under time limits, faults in two small worlds, shaping across resets."""
    tables, networks, faults = (np.random.default_rng(seed) for seed in np.random.SeedSequence(rng).spawn(3))
    limits = scale.pick(smoke=(LIMIT, 80), small=(5, LIMIT, 20, 40, 80))
    trained = scale.pick(smoke=(LIMIT,), small=(LIMIT, 40), paper=(5, LIMIT, 20, 40, 80))
    seeds, steps = scale.pick(smoke=(2, (5000, 10_000)), small=(3, (6000, 10_000)), paper=(10, (20_000, 20_000)))
    limited = learned_tables(limits, 6000, scale.pick(smoke=4, small=10, paper=50), tables)
    limited += trained_by_ppo(trained, LIMIT, steps, seeds, networks)
    parts = {"limit": limited, "fault": leads(scale.pick(smoke=5, small=20), faults), "reset": shaping_over_resets()}
    return frame_of(parts)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12, 8.4), layout="constrained")
    (bias, choice), (lead, resets) = figure.subplots(2, 2)
    limited = frame[frame.part == "limit"]
    draw_bias(bias, limited[limited.of == "bias"])
    draw_choice(choice, limited[limited.of == "right"])
    draw_leads(lead, frame[(frame.part == "fault") & (frame.of == "lead")])
    draw_resets(resets, frame[frame.part == "reset"])
    seeds = int(limited[limited.learner == "PPO"].seed.nunique())
    figure.suptitle(f"What shaping gone wrong does (PPO: Stable-Baselines3, {seeds} seeds, 95% intervals)")
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Bias of the critic and unshaped pay by learner, time limit and what became of the potential at the limit."""
    limited, rows = frame[frame.part == "limit"], []
    for (learner, of, limit, kept), cells in limited.groupby(["learner", "of", "limit", "kept"]):
        form = np.nan
        if of == "bias":
            form = float(critic_bias(limit, TRACE if learner == "PPO" else 0.0)) if kept == "zero" else 0.0
        rows.append(
            {
                "learner": learner,
                "of": {"bias": "bias of the critic", "right": "share in the better room", "pay": "pay a step"}[of],
                "limit (steps)": limit,
                "potential at the limit": {"keep": "kept", "zero": "zeroed", "none": "no shaping"}[kept],
                "measured": float(cells.value.mean()),
                "closed form": form,
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "zeroed-at-the-limit-biases": _biases(frame),
        "zeroed-at-the-limit-misleads": _misleads(frame),
        "terminal-potential-misleads": _fault(frame, "terminal", "With the potential kept in the terminal state"),
        "other-discount-misleads": _fault(frame, "discount", "With discount 1 in the shaping"),
        "reset-is-no-step": _reset(frame),
    }


def _limited(frame: pd.DataFrame, of: str, learner: str, kept: str) -> np.ndarray:
    limited = frame[(frame.part == "limit") & (frame.of == of) & (frame.limit == LIMIT)]
    cells = limited[(limited.learner == learner) & (limited.kept == kept)].sort_values("seed")
    return cells.value.to_numpy(float)


def _biases(frame: pd.DataFrame) -> Verdict:
    form = {"table": float(critic_bias(LIMIT)), "PPO": float(critic_bias(LIMIT, TRACE))}
    kept = {learner: mean_interval(_limited(frame, "bias", learner, "keep")) for learner in form}
    zeroed = {learner: mean_interval(_limited(frame, "bias", learner, "zero")) for learner in form}
    off = {learner: abs(zeroed[learner][0] / form[learner] - 1) for learner in form}
    held = all(abs(found[0]) <= 0.25 for found in kept.values()) and off["table"] <= 0.1 and off["PPO"] <= 0.2
    wrong = any(abs(found[0]) >= 1 for found in kept.values()) or any(abs(found[0]) < 1 for found in zeroed.values())
    value, interval = for_verdict(zeroed["PPO"])
    return Verdict(
        "refuted" if wrong else "supported" if held else "undecided",
        f"bias of PPO's critic, zeroed at {LIMIT} steps: {value:.2f}",
        value,
        interval,
        f"The last target is off by {target_bias('zero'):.1f}; the critic by {zeroed['table'][0]:.2f} in the table "
        f"(closed form {form['table']:.2f}) and {value:.2f} in PPO ({form['PPO']:.2f}), whose trace gives the last "
        f"step more weight; kept, by {kept['table'][0]:.4f} and {kept['PPO'][0]:.4f}. The exact value is 5.",
    )


def _misleads(frame: pd.DataFrame) -> Verdict:
    pay = {kept: _limited(frame, "pay", "PPO", kept) for kept in ("none", "keep", "zero")}
    kept, zeroed = (mean_interval(pay[name] - pay["none"]) for name in ("keep", "zero"))
    wrong = abs(zeroed[0]) <= 0.02 or kept[0] <= -0.1
    held = abs(kept[0]) <= 0.02 and zeroed[0] <= -0.2 and zeroed[2] < 0
    value, interval = for_verdict(zeroed)
    return Verdict(
        "refuted" if wrong else "supported" if held else "undecided",
        f"unshaped pay a step against no shaping: zeroed {value:+.3f}, kept {kept[0]:+.4f}",
        value,
        interval,
        f"PPO earns {pay['none'].mean():.2f} a step without shaping, {pay['keep'].mean():.2f} with the potential kept "
        f"and {pay['zero'].mean():.2f} with it zeroed, of {max(PAYS):g} at best. Closed form: harmful below "
        f"{harmful_below():.0f} steps at discount {DISCOUNT:g}.",
    )


def _fault(frame: pd.DataFrame, fault: str, where: str) -> Verdict:
    cells = frame[(frame.part == "fault") & (frame.fault == fault)]
    lead = cells[cells.of == "lead"].set_index("shaping").value
    taken = cells[cells.of == "taken"].groupby("shaping").value.mean()
    held = np.allclose([lead["none"], lead["right"]], 1.0, atol=1e-9) and lead["wrong"] < 0
    learned = taken["none"] == taken["right"] == 1.0 and taken["wrong"] == 0.0
    return Verdict(
        "refuted" if lead["wrong"] > 0 else "supported" if held and learned else "undecided",
        f"lead of the right action: {lead['none']:.2f} unshaped, {lead['right']:.2f} shaped, {lead['wrong']:.2f} wrong",
        float(lead["wrong"]),
        None,
        f"{where} {taken['wrong']:.0%} of Q-learners take the right action, {taken['right']:.0%} with shaping as it "
        f"should be. ({FAULTS[fault][0].capitalize()}.)",
    )


def _reset(frame: pd.DataFrame) -> Verdict:
    added = frame[frame.part == "reset"].pivot(index="step", columns="shaping", values="value")
    others = added.index != 3
    alike = np.allclose(added.naive[others], added.right[others], atol=1e-12)
    held = abs(added.naive[3] + 2) < 1e-12 and added.right[3] == 0 and alike
    return Verdict(
        "supported" if held else "refuted",
        f"added on the reset step: naive {added.naive[3]:.1f}, wrapper {added.right[3]:.1f}",
        float(added.naive[3]),
        None,
        "Naive: " + ", ".join(f"{value:.1f}" for value in added.naive) + "; rewardlab: "
        + ", ".join(f"{value:.1f}" for value in added.right) + ".",
    )  # fmt: skip
