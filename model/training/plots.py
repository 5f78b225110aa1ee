"""The six curves of a training, drawn from what its checkpoint tells."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GREY = "#2f6f9f", "#d2691e", "#888888"
ROOM = {"left": 0.075, "right": 0.985, "bottom": 0.08, "top": 0.95, "wspace": 0.36, "hspace": 0.32}
"""Shares of the figure, and of a panel between two."""


def draw(training: dict[str, Any], path: Path) -> None:
    """Write the plots as a PNG."""
    figure = Figure(figsize=(12, 7))  # room is given by hand: a layout that finds it draws everything three times
    axes = figure.subplots(2, 3, gridspec_kw=ROOM).flatten()
    for ax, panel in zip(axes, (_loss, _errors, _steps, _codewords, _recall, _baselines), strict=True):
        panel(ax, training)
        if ax.get_xlabel() in ("symbols", "step"):
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


def _loss(ax: Axes, training: dict[str, Any]) -> None:
    history = training["history"]
    ax.plot([one["elapsed_s"] / 60 for one in history], [one["loss"] for one in history], color=BLUE)
    ax.set(title="Loss", xlabel="minutes", ylabel="sum of all steps' errors, normalised")


def _errors(ax: Axes, training: dict[str, Any]) -> None:
    history = training["history"]
    measured = [one for one in history if one["validation_mse"] is not None]
    ax.plot([one["epoch"] for one in history], [one["training_mse"] for one in history], color=BLUE, label="trained on")
    ax.plot([one["epoch"] for one in measured], [one["validation_mse"] for one in measured], color=ORANGE,
            marker=".", label="set apart")  # fmt: skip
    ax.set(title="MSE of the whole code", xlabel="epoch", ylabel="squared error a vector")
    ax.legend(frameon=False)


def _steps(ax: Axes, training: dict[str, Any]) -> None:
    symbols = [one["steps"] for one in training["steps"]]
    ax.semilogy(symbols, [one["training_mse"] for one in training["steps"]], color=BLUE, label="trained on")
    ax.semilogy(symbols, [one["mse"] for one in training["steps"]], color=ORANGE, marker=".", label="set apart")
    ax.set(title="MSE after each step", xlabel="symbols", ylabel="squared error a vector")
    ax.legend(frameon=False)


def _codewords(ax: Axes, training: dict[str, Any]) -> None:
    symbols = [one["steps"] for one in training["steps"]]
    ax.bar(symbols, [one["bits"] for one in training["steps"]], color=BLUE)
    unused = [one["unused_codewords"] for one in training["steps"]]
    for x, count in zip(symbols, unused, strict=True):
        if count:
            ax.text(x, 0.1, f"{count} unused", rotation=90, ha="center", color="white")
    ax.set(title="Codeword use", xlabel="step", ylabel="entropy, bits")


def _recall(ax: Axes, training: dict[str, Any]) -> None:
    symbols = [one["steps"] for one in training["steps"]]
    for rank, color in ((1, ORANGE), (10, BLUE)):
        ax.plot(symbols, [one[f"recall_at_{rank}"] for one in training["steps"]], color=color, marker=".",
                label=f"R@{rank}")  # fmt: skip
    for one in training.get("baselines", []):
        if "mse" in one:
            ax.plot(symbols[-1], one["recall_at_1"], marker="_", markersize=12, color=GREY)
            ax.annotate(f"{one['name']} R@1 ", (symbols[-1], one["recall_at_1"]), fontsize=7, color=GREY, ha="right")
    ax.set(title="Recall of every prefix", xlabel="symbols", ylabel="share of queries", ylim=(0, 1.02))
    ax.legend(frameon=False)


def _baselines(ax: Axes, training: dict[str, Any]) -> None:
    quality = training["quality"]
    bars = [("this codec", quality["mse"], ORANGE), ("pairwise", quality["mse_pairwise"], BLUE),
            ("additive", quality["mse_additive"], BLUE)]  # fmt: skip
    bars += [(one["name"], one["mse"], GREY) for one in training.get("baselines", []) if "mse" in one]
    names, values, colors = zip(*bars, strict=True)
    ax.barh(names, values, color=colors)
    ax.invert_yaxis()
    ax.set(title="MSE of decoders and baselines", xlabel="squared error a vector")
