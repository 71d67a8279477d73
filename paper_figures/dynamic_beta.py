"""DPO with a beta for each pair, set by a reward model's margin: what it buys, what the clamp is for, a control."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import special

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import above, for_verdict, mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION
from rewardlab.transforms.dynamic_scaling import dynamic_beta

TITLE = "A beta for each pair: dynamic reward scaling in DPO"

RESPONSES, BASE, RATE, FLOOR, TIE = 8, 0.1, 1.0, 1e-3, 1e-9
NOISES = (0.3, 1.0, 3.0)
ARMS = {
    "fixed": ("fixed beta (DPO)", GREY, "o"),
    "mean": ("fixed at the mean dynamic beta", BLACK, "D"),
    "dynamic": ("dynamic beta", BLUE, "s"),
    "unclamped": ("dynamic beta without the clamp", VERMILLION, "v"),
    "weight": ("the same curve as loss weight", GREEN, "^"),
}
# pair accuracy and gold reward found by separate code before this figure was written; 5 seeds
EARLIER = {
    "fixed": ((0.863, 1.264), (0.863, 1.264), (0.863, 1.264)),
    "mean": ((0.863, 1.264), (0.863, 1.264), (0.863, 1.264)),
    "dynamic": ((0.887, 1.285), (0.874, 1.279), (0.868, 1.271)),
    "unclamped": ((0.897, 1.317), (0.859, 1.260), (0.775, 1.048)),
    "weight": ((0.892, 1.299), (0.876, 1.286), (0.868, 1.273)),
}

PAPER = "2502.10391"
WORLD = "Tabular policies on simulated preferences"
TIES = "That a tie counts half was settled after a first look; counted as wrong, ties put fixed betas further behind."
CLAIMS = (
    Claim(
        id="beyond-a-larger-beta",
        paper=PAPER,
        title="A dynamic beta is more than a larger beta",
        says="With a good reward model it orders more pairs right than a fixed beta of the same mean.",
        threshold="pair accuracy at least .01 higher at noise .3, 95% interval over seeds above 0 "
        "(refuted if it is below 0)",
        published="benchmark average 74.9 with a fixed beta, 76.5 with w = k = .5",
        limits=f"{WORLD}; numbers like these were known beforehand. {TIES}",
    ),
    Claim(
        id="clamp-makes-it-safe",
        paper=PAPER,
        title="The clamp makes it safe with a poor reward model",
        says="With a poor reward model the clamped beta does no harm, and the unclamped one does.",
        threshold="at noise 3, clamped at most .005 below and unclamped at least .03 below the fixed beta, "
        "the latter's interval above 0 (refuted if the clamped one's loss is above .005 with its whole interval)",
        published="",
        limits=f"Safety has its price: with a good model (noise .3) the clamp costs part of the gain, .883 of pairs in "
        "the right order against .895 without it, and +.040 gold reward against +.067 where each gains most at equal "
        f"KL. {WORLD}; numbers like these were known beforehand. {TIES}",
    ),
    Claim(
        id="beta-beats-weight",
        paper=PAPER,
        title="Scaling beta does what weighting the loss does not",
        says="With a good reward model a dynamic beta orders more pairs right than the same curve as a loss weight.",
        threshold="pair accuracy at least .002 higher at noise .3, interval above 0 (refuted if it is below 0)",
        published="",
        limits=f"{WORLD}; the paper has no such control, and numbers like these were known beforehand. {TIES}",
    ),
    Claim(
        id="better-at-matched-kl",
        paper=PAPER,
        title="It is better at the same distance from the reference, too",
        says="With a good reward model, stopped at equal KL, the dynamic beta earns more gold reward than a fixed one.",
        threshold="gold reward at least .005 higher than the fixed mean beta's at noise .3, interval above 0 "
        "(refuted if it is below 0)",
        published="",
        limits=f"{WORLD}; KL is matched by stopping early; nothing was known of this beforehand.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a noise of the reward model, arm, seed and step kept: accuracy (a tie counts half), gold reward, KL."""
    prompts, seeds, steps = scale.pick(smoke=(60, 3, 400), small=(200, 5, 400), paper=(1000, 10, 400))
    tables = []
    for seed, child in enumerate(np.random.SeedSequence(rng).spawn(seeds)):
        gold, sign, margin = _preferences(prompts, np.random.default_rng(child))
        tables.append(_trained(gold, sign, margin, steps).assign(seed=seed))
    return pd.concat(tables, ignore_index=True)


PAIRS = np.array(list(itertools.combinations(range(RESPONSES), 2)))
GAP = np.zeros((RESPONSES, len(PAIRS)))  # a response's value times this is its pairs' gaps
GAP[PAIRS[:, 0], np.arange(len(PAIRS))] = 1
GAP[PAIRS[:, 1], np.arange(len(PAIRS))] = -1


def _preferences(prompts: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gold rewards, the label of each pair (1: the first was chosen), and margins `(noises, prompts, pairs)`."""
    gold = rng.normal(size=(prompts, RESPONSES))
    gap = gold @ GAP
    sign = np.sign(gap) * np.where(rng.random(gap.shape) < special.expit(-2 * np.abs(gap)), -1, 1)
    error = rng.normal(size=gold.shape)
    model = gold + np.array(NOISES)[:, None, None] * error
    return gold, sign, 2 * sign * (model @ GAP)


def _trained(gold: np.ndarray, sign: np.ndarray, margin: np.ndarray, steps: int) -> pd.DataFrame:
    """Gradient descent on the summed loss of each prompt's pairs, all arms and noises at once."""
    dynamic = dynamic_beta(margin)
    mean = np.broadcast_to(dynamic.mean((-2, -1), keepdims=True), margin.shape)
    fixed = np.full_like(margin, BASE)
    beta = np.stack([fixed, mean, dynamic, np.maximum(dynamic_beta(margin, clamp=False), FLOOR), fixed])
    weight = np.stack([*[np.ones_like(margin)] * 4, dynamic_beta(margin, base=1.0)])
    step_size = RATE * weight * beta * sign
    scaled = beta * sign
    logits = np.zeros((*beta.shape[:-1], RESPONSES))
    rows = []
    for step in range(steps + 1):
        if step <= 30 or step % 10 == 0:
            rows.append(_measured(logits, gold).assign(step=step))
        # the gradient of `dpo_loss`: the uniform reference and the normaliser cancel in a pair's log-ratio
        logits = logits + (step_size * special.expit(-scaled * (logits @ GAP))) @ GAP.T
    return pd.concat(rows, ignore_index=True)


def _measured(logits: np.ndarray, gold: np.ndarray) -> pd.DataFrame:
    log_policy = special.log_softmax(logits, axis=-1)
    policy = np.exp(log_policy)
    earned = (policy * gold).sum(-1).mean(-1)
    divergence = (policy * log_policy).sum(-1).mean(-1) + np.log(RESPONSES)
    gap = np.sign(gold @ GAP) * (logits @ GAP)
    tied = np.abs(gap) < TIE  # one beta for all counts wins, and counts tie
    right, tied = np.where(tied, 0.5, gap > 0).mean((-2, -1)), tied.mean((-2, -1))
    rows = [
        (arm, noise, right[place], tied[place], earned[place], divergence[place])
        for (i, arm), (j, noise) in itertools.product(enumerate(ARMS), enumerate(NOISES))
        for place in [(i, j)]
    ]
    return pd.DataFrame(rows, columns=["arm", "noise", "accuracy", "tied", "gold", "kl"])


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12.5, 5.2), layout="constrained")
    final_panel, *path_panels = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    path_panels[1].sharey(path_panels[0])
    path_panels[1].tick_params(labelleft=False)
    final = frame[frame.step == frame.step.max()]
    for shift, (arm, (label, colour, marker)) in enumerate(ARMS.items()):
        cells = [mean_interval(final[(final.arm == arm) & (final.noise == noise)].accuracy) for noise in NOISES]
        centre, low, high = np.transpose(cells)
        place = np.arange(len(NOISES)) + 0.15 * (shift - 2)
        interval = [centre - low, high - centre]
        look = {"color": colour, "marker": marker, "label": label}
        final_panel.errorbar(place, centre, yerr=interval, linestyle="", capsize=3, **look)
        earlier = [accuracy for accuracy, _ in EARLIER[arm]]
        name = "separate code, earlier" if arm == "weight" else None
        final_panel.plot(place, earlier, color=ORANGE, marker="_", markersize=13, linestyle="", label=name, zorder=0)
    final_panel.set_xticks(range(len(NOISES)), [f"{noise:g}" for noise in NOISES])
    final_panel.set(
        xlabel="noise of the reward model (standard deviation; gold's is 1)",
        ylabel="pairs in the right order (a tie counts half)",
    )
    final_panel.set_title("After training")
    handles, labels = final_panel.get_legend_handles_labels()
    final_panel.legend(handles[1:] + handles[:1], labels[1:] + labels[:1], loc="lower left", fontsize=8)
    for panel, noise in zip(path_panels, (NOISES[0], NOISES[-1]), strict=True):
        _draw_leads(panel, frame[frame.noise == noise])
        panel.set(xlabel="KL to the reference (nats)", title=f"At equal KL, noise {noise:g}")
    path_panels[0].set_ylabel("gold gained over the fixed mean beta")
    figure.suptitle(f"Mean and 95% interval over {frame.seed.nunique()} seeds")
    return figure


def _draw_leads(panel, frame: pd.DataFrame) -> None:
    """Gold reward of each arm on its way, less that of the fixed mean beta at the same KL, as far as both come."""
    ends = frame[frame.step == frame.step.max()]
    divergence = np.linspace(0.6, ends.kl.min(), 60)
    gold = {
        arm: np.array([np.interp(divergence, path.kl, path.gold) for _, path in runs.groupby("seed")])
        for arm, runs in frame.sort_values("step").groupby("arm")
    }
    for place, (arm, (_, colour, marker)) in enumerate(ARMS.items()):
        centre, low, high = np.transpose([mean_interval(lead) for lead in (gold[arm] - gold["mean"]).T])
        panel.fill_between(divergence, low, high, color=colour, alpha=0.2, linewidth=0)
        panel.plot(divergence, centre, color=colour, marker=marker, markevery=(3 * place, 20))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Final accuracy, gold reward and KL by noise and arm, gold at matched KL, and what separate code found earlier."""
    final = frame[frame.step == frame.step.max()].groupby(["noise", "arm"])[["accuracy", "tied", "gold", "kl"]].mean()
    matched = _at_matched_kl(frame).groupby(["noise", "arm"]).gold.mean()
    rows = [
        {
            "noise": noise,
            "arm": label,
            "pair accuracy": final.accuracy[noise, arm],
            "accuracy, earlier code": EARLIER[arm][place][0],
            "tied pairs": final.tied[noise, arm],
            "gold": final.gold[noise, arm],
            "gold, earlier code": EARLIER[arm][place][1],
            "KL": final.kl[noise, arm],
            "gold at matched KL": matched[noise, arm],
        }
        for (place, noise), (arm, (label, _, _)) in itertools.product(enumerate(NOISES), ARMS.items())
    ]
    return pd.DataFrame(rows)


def _at_matched_kl(frame: pd.DataFrame) -> pd.DataFrame:
    """Gold reward of each arm on its way, at the smallest KL that any arm of that noise and seed ends with."""
    final = frame[frame.step == frame.step.max()]
    target = final.groupby(["noise", "seed"]).kl.min()
    rows = [
        (noise, arm, seed, float(np.interp(target[noise, seed], path.kl, path.gold)))
        for (noise, arm, seed), path in frame.sort_values("step").groupby(["noise", "arm", "seed"])
    ]
    return pd.DataFrame(rows, columns=["noise", "arm", "seed", "gold"])


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    final = frame[frame.step == frame.step.max()]
    good, poor = NOISES[0], NOISES[-1]
    beyond = _lead(final, "accuracy", good, "dynamic", "mean")
    clamped = _lead(final, "accuracy", poor, "fixed", "dynamic")
    unclamped = _lead(final, "accuracy", poor, "fixed", "unclamped")
    weighted = _lead(final, "accuracy", good, "dynamic", "weight")
    matched = _lead(_at_matched_kl(frame), "gold", good, "dynamic", "mean")
    harm = "refuted" if clamped[1] > 0.005 else "supported" if clamped[0] <= 0.005 else "undecided"
    need = above(unclamped, 0.03)
    means, tied = (final.groupby(["noise", "arm"])[column].mean() for column in ("accuracy", "tied"))
    ahead = _at_matched_kl(frame).groupby(["noise", "arm"]).gold.mean()[good]
    return {
        "beyond-a-larger-beta": Verdict(
            above(beyond, 0.01),
            f"pair accuracy {beyond[0]:+.4f}",
            *for_verdict(beyond),
            f"{means[good, 'dynamic']:.3f} with the dynamic beta, {means[good, 'mean']:.3f} with a fixed one of its "
            f"mean, {means[good, 'fixed']:.3f} with .1; a fixed beta leaves {100 * tied[good, 'fixed']:.0f}% of pairs "
            "tied.",
        ),
        "clamp-makes-it-safe": Verdict(
            next(outcome for outcome in ("refuted", "undecided", "supported") if outcome in (harm, need)),
            f"lost without the clamp {unclamped[0]:.4f}, with it {clamped[0]:.4f}",
            *for_verdict(unclamped),
            f"At noise {poor:g}: {means[poor, 'fixed']:.3f} fixed, {means[poor, 'dynamic']:.3f} clamped, "
            f"{means[poor, 'unclamped']:.3f} unclamped; at noise {good:g} {means[good, 'dynamic']:.3f} clamped, "
            f"{means[good, 'unclamped']:.3f} unclamped.",
        ),
        "beta-beats-weight": Verdict(
            above(weighted, 0.002),
            f"pair accuracy {weighted[0]:+.4f}",
            *for_verdict(weighted),
            f"{means[good, 'dynamic']:.3f} as a beta, {means[good, 'weight']:.3f} as a weight.",
        ),
        "better-at-matched-kl": Verdict(
            above(matched, 0.005),
            f"gold reward {matched[0]:+.4f}",
            *for_verdict(matched),
            f"At equal KL {ahead['dynamic']:.3f} with the dynamic beta, {ahead['mean']:.3f} with a fixed one, "
            f"{ahead['weight']:.3f} with the weight.",
        ),
    }


def _lead(frame: pd.DataFrame, what: str, noise: float, ahead: str, behind: str) -> np.ndarray:
    runs = frame[frame.noise == noise].pivot(index="seed", columns="arm", values=what)
    return mean_interval(runs[ahead] - runs[behind])
