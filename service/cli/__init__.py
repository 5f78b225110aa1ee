"""The command line: qinco-server serve | train | ingest | query | demo | config. Help imports nothing heavy."""

import sys

import typer

from service.cli.config_command import config
from service.cli.failure import CommandFailed
from service.cli.ingest import ingest
from service.cli.query import query
from service.cli.serve import serve
from service.cli.train import train
from service.settings import InvalidSettings

app = typer.Typer(
    help="Vector search whose vectors rest in RAM as QINCo2 codes, behind Qdrant's REST API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (serve, train, ingest, query):
    app.command()(command)
app.command("config")(config)


@app.command()
def demo() -> None:
    """Serve the bundled example for a moment, search it, and print recall."""
    from service.cli.demo import demo as run

    run()


def main() -> None:
    """The command line's entry; what a user can mend is told in one line, with status 1."""
    try:
        app()
    except (CommandFailed, InvalidSettings) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
