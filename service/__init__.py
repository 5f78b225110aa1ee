"""How people reach the store: HTTP, background work, metrics and the command line."""

__version__ = "0.1.0"
