"""What other rewards for FrozenLake, CliffWalking, Taxi and Blackjack really say, beside the ones that ship."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.style import BLACK, BLUE, GREEN, ORANGE, VERMILLION

EXTRA = ("gymnasium",)
TITLE = "Real small environments: seven rewards each, and what the difference consists of"

DISCOUNT = 0.99
ZERO = 1e-8  # distances below this are rounding
APART = 0.01  # distances and regrets above this are not
EQUIVALENT = ("scaled", "potential shaped", "redistributed")
ORDER = ("as shipped", *EQUIVALENT, "sparse", "step penalty", "sign flipped")
DISTANCES = {"val": ("STARC-VAL (halved)", BLUE, "o"), "epic": ("EPIC", ORANGE, "s"), "dard": ("DARD", GREEN, "^")}
GREEDY, WORST = "greedy regret: optimise it to the end", "worst-case regret: any change that it does not punish"

CLAIMS = (
    Claim(
        id="toy-text-equivalent",
        paper="2309.15257",
        title="Rewards that order all policies alike are at distance 0",
        says="Scaled, potential-shaped and redistributed rewards are at STARC distance 0 from the shipped one, and are "
        "explained as such.",
        threshold=f"STARC-VAL distance at most {ZERO:g} and explained without a residual, in every environment",
        published="",
        limits="Seven rewards each in four small environments, at one discount (0.99) and without time limits.",
    ),
    Claim(
        id="toy-text-redistribution",
        paper="2309.15257",
        title="EPIC and DARD see differences that no policy can notice",
        says="They put the redistributed reward at a distance although every policy earns the same in it.",
        threshold=f"EPIC and DARD above {APART:g} in every environment and for every draw",
        published="",
        limits="Noise as large as the largest shipped reward; less gives less distance. Where transitions are "
        "deterministic, it is on transitions that cannot happen.",
    ),
    Claim(
        id="toy-text-sign",
        paper="2309.15257",
        title="A flipped sign is the largest distance there is",
        says="The sign-flipped reward is at STARC distance 2 and explained as opposite.",
        threshold=f"STARC-VAL distance within {ZERO:g} of 2 and explained as opposite, in every environment",
        published="2 for opposite rewards",
        limits="No statement about rewards that are only partly opposed.",
    ),
    Claim(
        id="toy-text-step-penalty",
        paper="Ng, Harada and Russell 1999",
        title="A step penalty is a different task where episodes end",
        says="Taking a constant off every step is no potential shaping where episodes end: some policies change order.",
        threshold=f"STARC-VAL distance above {APART:g} and explained as different, in every environment",
        published="",
        limits="A penalty of a tenth of the largest shipped reward; how much it matters depends on its size. "
        "Written down after a trial run had shown these distances.",
    ),
    Claim(
        id="toy-text-blind-to-constants",
        paper="2006.13900",
        title="EPIC and DARD do not see the step penalty",
        says="They are 0 between the shipped reward and the one with a step penalty, whatever that costs.",
        threshold=f"EPIC and DARD at most {ZERO:g}, worst-case regret above {APART:g}, in every environment",
        published="",
        limits="It follows from their definition (both take episodes to be endless, where a constant is shaping). "
        "Written down after a first look at these numbers.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Distances, regrets and explanations: one row an environment, reward and draw of the redistribution."""
    from environments.toy_text_rewards import reward_variants, toy_text_ids
    from rewardlab.exact.toy_text import from_gymnasium

    seeds = np.random.SeedSequence(rng).spawn(scale.pick(smoke=1, small=5, paper=20))
    rows = []
    for name in toy_text_ids():
        world = from_gymnasium(name, discount=DISCOUNT)
        for draw, seed in enumerate(seeds):
            for variant in reward_variants(world, np.random.default_rng(seed)):
                if draw == 0 or variant.name == "redistributed":
                    described = {"environment": name, "states": world.mdp.states, "variant": variant.name, "draw": draw}
                    rows.append(described | _compare(world, variant))
    return pd.DataFrame(rows)


def _compare(world, variant) -> dict:
    """The variant against the shipped reward, by every measure."""
    from rewardlab.distance import dard, epic, explain_difference, starc
    from rewardlab.exact import greedy_regret, worst_case_regret

    pair = (world.mdp, variant.reward, world.reward)
    lost = (world.mdp, world.reward, variant.reward)
    explanation = explain_difference(*pair)
    return {
        "val": float(starc(*pair)),
        "epic": float(epic(*pair)),
        "dard": float(dard(*pair)),
        "greedy_least": float(greedy_regret(*lost, ties="optimistic")),
        "greedy_most": float(greedy_regret(*lost, ties="pessimistic")),
        "worst_case": worst_case_regret(*lost).regret,
        "angle": explanation.angle,
        "kind": explanation.kind,
        "same_order": explanation.same_order,
        "sentence": explanation.sentence(variant.name, "shipped"),
    }


def plot(frame: pd.DataFrame) -> Figure:
    names = list(dict.fromkeys(frame.environment))
    figure = Figure(figsize=(3 * len(names), 7), layout="constrained")
    panels = figure.subplots(2, len(names), sharex=True, sharey=True)
    for column, name in enumerate(names):
        rows = frame[frame.environment == name]
        _plot_distances(panels[0, column], rows)
        _plot_regrets(panels[1, column], rows)
        panels[0, column].set_title(f"{name}, {rows.states.iloc[0]} states", loc="left", pad=14)
    panels[0, 0].set_yticks(range(len(ORDER)), ORDER)
    panels[0, 0].set(ylim=(len(ORDER) - 0.5, -0.5), xlim=(-0.05, 1.05))
    figure.supylabel("reward, compared with the one that ships")
    above, below = (row[0].get_legend_handles_labels() for row in panels)
    handles = [*above[0], *below[0], Patch(color=BLACK, alpha=0.07)]
    labels = [*above[1], *below[1], "theory: orders all policies as the shipped reward does"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _plot_distances(axes: Axes, rows: pd.DataFrame) -> None:
    _shade(axes)
    for shift, (column, (label, colour, marker)) in zip((-0.24, 0.0, 0.24), DISTANCES.items(), strict=True):
        factor = 0.5 if column == "val" else 1.0
        place = rows.variant.map(ORDER.index) + shift
        axes.plot(factor * rows[column], place, marker, markersize=5, color=colour, label=label, zorder=3)
    axes.text(1.08, -0.62, "explained as", va="bottom", fontsize=7.5, style="italic")
    for place, variant in enumerate(ORDER):
        axes.text(1.08, place, rows[rows.variant == variant].kind.iloc[0], va="center", fontsize=7.5)
    axes.set_xlabel("distance to the shipped reward")
    axes.tick_params(labelbottom=True)


def _plot_regrets(axes: Axes, rows: pd.DataFrame) -> None:
    _shade(axes)
    first = rows[rows.draw == 0]
    place = first.variant.map(ORDER.index)
    axes.hlines(place - 0.14, first.greedy_least, first.greedy_most, color=BLACK, linewidth=2)
    looks = (("greedy_most", -0.14, "D", BLACK, GREEDY), ("worst_case", 0.14, "X", VERMILLION, WORST))
    for column, shift, marker, colour, label in looks:
        axes.plot(first[column], place + shift, marker, markersize=5, color=colour, label=label, zorder=3)
    axes.set_xlabel("regret in the shipped reward\n(share of its range)")


def _shade(axes: Axes) -> None:
    """Mark the rewards that order all policies as the shipped one does."""
    axes.axhspan(-0.5, len(EQUIVALENT) + 0.5, color=BLACK, alpha=0.05, linewidth=0)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """What `explain_difference` says of each reward, beside the distances and regrets."""
    first = frame[frame.draw == 0]
    return pd.DataFrame(
        {
            "environment": first.environment,
            "reward": first.variant,
            "STARC-VAL (0 to 2)": first.val,
            "EPIC (0 to 1)": first.epic,
            "DARD (0 to 1)": first.dard,
            "greedy regret": first.greedy_most,
            "worst-case regret": first.worst_case,
            "explain_difference": first.sentence,
        }
    )


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "toy-text-equivalent": _equivalent_verdict(frame[frame.variant.isin(EQUIVALENT)]),
        "toy-text-redistribution": _redistribution_verdict(frame[frame.variant == "redistributed"]),
        "toy-text-sign": _sign_verdict(frame[frame.variant == "sign flipped"]),
        "toy-text-step-penalty": _penalty_verdict(frame[frame.variant == "step penalty"]),
        "toy-text-blind-to-constants": _blind_verdict(frame[frame.variant == "step penalty"]),
    }


def _equivalent_verdict(rows: pd.DataFrame) -> Verdict:
    largest, explained = rows.val.max(), rows.same_order.all()
    outcome = "supported" if largest <= ZERO and explained else "refuted"
    sentence = f"{len(rows)} equivalent rewards are at most {largest:.1g} away, and "
    sentence += "each is explained without a residual." if explained else "some are explained by a residual."
    return Verdict(outcome, f"largest STARC-VAL distance {largest:.2g}", largest, None, sentence)


def _redistribution_verdict(rows: pd.DataFrame) -> Verdict:
    least = float(rows[["epic", "dard"]].to_numpy().min())
    outcome = "supported" if least > APART else "refuted"
    ranges = [f"{rows[name].min():.2f} to {rows[name].max():.2f}" for name in ("epic", "dard")]
    sentence = f"EPIC is {ranges[0]} and DARD {ranges[1]} for rewards in which every policy earns what it always did."
    return Verdict(outcome, f"least of EPIC and DARD {least:.3g}", least, None, sentence)


def _sign_verdict(rows: pd.DataFrame) -> Verdict:
    miss = float((rows.val - 2).abs().max())
    outcome = "supported" if miss <= ZERO and (rows.kind == "opposite").all() else "refuted"
    sentence = f"All {len(rows)} flipped rewards are within {miss:.1g} of distance 2; optimising one to the end loses "
    sentence += f"at least {rows.greedy_most.min():.0%} of the range."
    return Verdict(outcome, f"largest departure from 2 is {miss:.2g}", miss, None, sentence)


def _penalty_verdict(rows: pd.DataFrame) -> Verdict:
    least = rows.val.min()
    outcome = "supported" if least > APART and (rows.kind == "different").all() else "refuted"
    worst = rows.loc[rows.greedy_most.idxmax()]
    sentence = (
        f"The step penalty is {least:.2f} to {rows.val.max():.2f} away; in {worst.environment} optimising it "
        f"to the end loses {worst.greedy_most:.0%} of the shipped reward's range."
    )
    return Verdict(outcome, f"least STARC-VAL distance {least:.3g}", least, None, sentence)


def _blind_verdict(rows: pd.DataFrame) -> Verdict:
    largest = float(rows[["epic", "dard"]].to_numpy().max())
    outcome = "supported" if largest <= ZERO and rows.worst_case.min() > APART else "refuted"
    sentence = (
        f"EPIC and DARD are at most {largest:.1g}, while a policy can improve on the penalised reward and lose "
        f"{rows.worst_case.min():.0%} to {rows.worst_case.max():.0%} of the shipped one's range."
    )
    return Verdict(outcome, f"largest of EPIC and DARD {largest:.2g}", largest, None, sentence)
