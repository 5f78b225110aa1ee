"""`python -m service.openapi` prints the OpenAPI document, one way whenever the calls are the same; docs/ keeps it."""

import json
from pathlib import Path

from service.app import create_app
from service.settings import Settings


def document() -> str:
    """What /openapi.json serves, as sorted, indented text."""
    served = create_app(Settings(data=Path("unused"))).openapi()
    return json.dumps(served, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(document(), end="")
