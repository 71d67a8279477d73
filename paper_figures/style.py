"""One look for all figures: plain axes, and the Okabe-Ito palette, whose colours stay apart for the colour-blind."""

BLACK = "#000000"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#6E6E6E"

# In the order of use; yellow last, as it is faint on white.
PALETTE = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY_BLUE, BLACK, YELLOW)


def settings() -> dict[str, object]:
    """Matplotlib settings that the runner puts around every `plot`."""
    from cycler import cycler

    return {
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.labelsize": 10,
        "axes.prop_cycle": cycler(color=PALETTE),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "figure.constrained_layout.use": True,
        "figure.dpi": 100,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 10,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.6,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "savefig.bbox": "tight",
        "savefig.dpi": 160,
        "svg.fonttype": "path",  # the same picture on every machine
        "svg.hashsalt": "rewardlab",  # and the same bytes
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
    }
