"""The command line, `qinco-server`: what commands there are. Its help imports nothing heavy."""

import sys
from typing import Annotated

import typer

from service.cli.config_command import config
from service.cli.failure import CommandFailed
from service.cli.ingest import ingest
from service.cli.model_convert import convert
from service.cli.model_evaluate import evaluate
from service.cli.model_info import info
from service.cli.query import query
from service.cli.recall import recall
from service.cli.serve import serve
from service.cli.snapshot import snapshot
from service.cli.train import train
from service.cli.verify import verify
from service.invalid_settings import InvalidSettings

INTERRUPTED = 130

app = typer.Typer(
    help="Vector search whose vectors rest in RAM as QINCo2 codes, behind Qdrant's REST API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich's own help takes twice as long to come
)
for command in (serve, train, ingest, query, recall, verify):
    app.command()(command)
app.command("config")(config)

model = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
model.command()(info)
model.command()(convert)
model.command()(evaluate)
app.add_typer(model, name="model", help="Look into a codec's file, convert it, measure it.")
app.add_typer(snapshot, name="snapshot", help="Take snapshots of a running server's collections, and put them back.")


@app.command()
def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Serve the bundled example for a moment, search it, and print recall."""
    from service.cli.demo import demo as run

    run(as_json=as_json)


def main() -> None:
    """The command line's entry; what a user can mend is told in one line, with status 1, or 2 for wrong usage."""
    try:
        status = app(prog_name="qinco-server", standalone_mode=False)
    except typer.TyperException as error:
        sys.exit(_wrong_usage(error))
    except (CommandFailed, InvalidSettings) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    if status == INTERRUPTED:
        print("Stopped.", file=sys.stderr)
    sys.exit(status)


def _wrong_usage(error: typer.TyperException) -> int:
    """Say what is wrong with options and arguments; where none were given, that is the help, as if asked for."""
    context, sentence = getattr(error, "ctx", None), error.format_message().strip()
    if context and sentence == context.get_help().strip():
        print(sentence)
    else:
        command = context.command_path if context else "qinco-server"
        print(f"{sentence.rstrip('.')}. See '{command} --help'.", file=sys.stderr)
    return 2
