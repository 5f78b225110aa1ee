"""One page on a training, from what its checkpoint tells: Markdown, and a PNG of its curves beside it."""

from pathlib import Path
from typing import Any


def report_paths(out: Path) -> tuple[Path, Path]:
    """Where the report on checkpoint `out` goes: the page, and its plots."""
    return out.with_name(f"{out.stem}.report.md"), out.with_name(f"{out.stem}.report.png")


def write_report(training: dict[str, Any], out: Path) -> Path:
    """Write the report on checkpoint `out`, which `training` tells of; returns the page's path."""
    from model.training.plots import draw

    page, plots = report_paths(out)
    draw(training, plots)
    page.write_text(markdown(training, out.name, plots.name), encoding="utf-8")
    return page


def markdown(training: dict[str, Any], name: str, plots: str) -> str:
    """The page's text."""
    recipe, data, quality = training["recipe"], training["data"], training["quality"]
    parts = [
        f"# {name}",
        f"![Curves of this training]({plots})",
        f"Trained in {_time(training['seconds'])} on {data['vectors']} vectors of {data['dim']} numbers, "
        f"on {training['machine']}. {_comparison(training)} "
        f"All figures below are of vectors set apart before: {quality['queries']} searched for among "
        f"{quality['vectors']}, exhaustively, over decoded vectors; MSE is the squared error a vector. "
        f"Encoding one takes {training['encode_us']:.0f} µs, decoding {training['decode_us']:.1f} µs there.",
        _kept(training),
        _table(_quality_rows(training)),
        "## Every prefix",
        _table(_prefix_rows(training)),
        "`bits`: the entropy of a step's symbols; unused codewords are those no vector of the training sample chose.",
        "## Recipe",
        ", ".join(f"{key} {value}" for key, value in recipe.items()) + ".",
        f"Vectors, SHA-256 of all as float32: `{data['sha256']}`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _comparison(training: dict[str, Any]) -> str:
    """How far error on vectors set apart is above that on vectors trained on, which tells of overfitting."""
    trained, held_out = training["steps"][-1]["training_mse"], training["quality"]["mse"]
    if not trained:
        return ""
    return f"MSE {held_out:.5g} on vectors set apart, {held_out / trained - 1:+.1%} to those trained on."


def _kept(training: dict[str, Any]) -> str:
    """Which weights these are: those of least error on vectors set apart."""
    start, share = training.get("start_mse"), training.get("kept_at")
    if start is None or share is None:  # reports on checkpoints of older versions
        return ""
    is_early = training.get("ended_early", False)
    early = " It ended before its time: error on vectors set apart fell no more." if is_early else ""
    if not share:
        return (
            f"**Training did not improve on the residual quantiser that it began from** (MSE {start:.5g}), which this "
            f"is: give it more time, more vectors, or a smaller preset.{early}"
        )
    kept = "the last ones" if share == 1 else f"those after {share:.0%} of the training, the best there were"
    return f"The residual quantiser that training began from had MSE {start:.5g}; the weights kept are {kept}.{early}"


def _quality_rows(training: dict[str, Any]) -> list[list[str]]:
    quality, steps = training["quality"], training["recipe"]["steps"]
    rows = [["", "symbols", "MSE", "R@1", "R@10"]]
    rows.append(["**this codec**", str(steps), f"{quality['mse']:.5g}", *_recalls(quality)])
    rows.append(["its pairwise decoder", str(steps), f"{quality['mse_pairwise']:.5g}", "", ""])
    rows.append(["its additive decoder", str(steps), f"{quality['mse_additive']:.5g}", "", ""])
    for one in training.get("baselines", []):
        if "skipped" in one:
            rows.append([f"Faiss {one['name']}", "", one["skipped"], "", ""])
        else:
            name = f"Faiss {one['name']}, {one['trained_on']} vectors, {_time(one['seconds'])}"
            rows.append([name, str(steps), f"{one['mse']:.5g}", *_recalls(one)])
    if lists := training["data"]["lists"]:
        rows[1][0] += f" with {lists} lists, whose number comes on top"
    return rows


def _prefix_rows(training: dict[str, Any]) -> list[list[str]]:
    rows = [["symbols", "MSE", "MSE, trained on", "R@1", "R@10", "bits", "unused codewords"]]
    for one in training["steps"]:
        trained = f"{one['training_mse']:.5g}"
        rows.append([str(one["steps"]), f"{one['mse']:.5g}", trained, *_recalls(one), f"{one['bits']:.2f}",
                     str(one["unused_codewords"])])  # fmt: skip
    return rows


def _recalls(one: dict[str, Any]) -> list[str]:
    return [f"{one['recall_at_1']:.1%}", f"{one['recall_at_10']:.1%}"]


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
