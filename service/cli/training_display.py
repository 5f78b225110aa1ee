"""What a training says: a bar on a terminal, plain lines in a pipe, curves for TensorBoard; and how Ctrl-C ends it."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from service.cli.failure import CommandFailed

if TYPE_CHECKING:
    from model.training import Progress

    Report = Callable[[str | Progress], None]

# Between two plain lines.
LINE_EVERY_S = 10.0


@contextmanager
def display(tensorboard: Path | None) -> "Iterator[Report]":
    """A function to report a training to. It raises KeyboardInterrupt after a Ctrl-C, where nothing is lost by it."""
    with ExitStack() as stack:
        shown = stack.enter_context(_bar()) if sys.stderr.isatty() else _Lines()
        curves = _curves(tensorboard) if tensorboard else None
        if curves is not None:
            stack.callback(curves.close)
        interrupt = stack.enter_context(_interrupt())
        warned: set[str] = set()

        def report(news: "str | Progress") -> None:
            interrupt.training = not isinstance(news, str)
            if isinstance(news, str):
                shown.say(news)
            else:
                shown.show(news)
                if news.warning and news.warning not in warned:
                    warned.add(news.warning)
                    shown.say(f"Warning: {news.warning}")
                if curves is not None:
                    _draw(curves, news)
            if interrupt.asked:
                shown.say("The state is kept: the same command with --resume continues.")
                raise KeyboardInterrupt

        yield report


class _Lines:
    """Plain lines: each stage, and now and then where it stands."""

    def __init__(self) -> None:
        self._last, self._validation = 0.0, None

    def say(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    def show(self, news: "Progress") -> None:
        is_end = news.epoch >= news.epochs
        if is_end or time.monotonic() - self._last >= LINE_EVERY_S:
            self._last = time.monotonic()
            self.say(f"Epoch {news.epoch:.2f} of {news.epochs:.2f}: {_figures(news)}, {news.eta_s:.0f} s left")


class _Bar:
    """A bar of Rich's, with the figures behind it."""

    def __init__(self, bar: Any) -> None:
        self._bar, self._task = bar, None

    def say(self, sentence: str) -> None:
        self._bar.console.print(sentence, highlight=False)

    def show(self, news: "Progress") -> None:
        if self._task is None:
            self._task = self._bar.add_task("", total=1.0, left="", figures="")
        minutes, seconds = divmod(int(news.eta_s), 60)
        self._bar.update(
            self._task,
            completed=news.done,
            description=f"Epoch {news.epoch:.2f} of {news.epochs:.2f}",
            figures=_figures(news),
            left=f"{minutes}:{seconds:02d} left",
        )


@contextmanager
def _bar() -> Iterator[_Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    fields = (TextColumn(f"{{task.{name}}}") for name in ("description", "fields[left]", "fields[figures]"))
    description, left, figures = fields
    with Progress(description, BarColumn(20), left, figures, console=Console(stderr=True)) as bar:
        yield _Bar(bar)


def _figures(news: "Progress") -> str:
    validation = "" if news.validation_mse is None else f", set apart {news.validation_mse:.5g}"
    return f"loss {news.loss:.5g}, MSE {news.training_mse:.5g}{validation}, {news.vectors_per_s:.0f} vectors/s"


def _curves(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CommandFailed("--tensorboard needs TensorBoard: pip install 'qinco-server[tensorboard]'.") from error
    return SummaryWriter(folder)


def _draw(curves: Any, news: "Progress") -> None:
    """Curves over thousandths of an epoch, since TensorBoard counts in whole numbers."""
    place = round(1000 * news.epoch)
    figures = {"loss": news.loss, "mse/training": news.training_mse, "mse/set apart": news.validation_mse,
               "vectors_per_s": news.vectors_per_s}  # fmt: skip
    for name, value in figures.items():
        if value is not None:
            curves.add_scalar(name, value, place)
    for m, dead in enumerate(news.dead_codewords, start=1):
        curves.add_scalar(f"dead_codewords/step {m}", dead, place)


class _Interrupt:
    """training: whether a Ctrl-C can wait for the end of a batch · asked: whether one does."""

    def __init__(self) -> None:
        self.training = self.asked = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.asked or not self.training:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def _interrupt() -> Iterator[_Interrupt]:
    """While the network trains, Ctrl-C waits until what it has learned can be kept; a second one does not."""
    handler = _Interrupt()
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # whoever ignores or handles Ctrl-C already goes on doing so
        yield handler
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield handler
    finally:
        signal.signal(signal.SIGINT, before)
