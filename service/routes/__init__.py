"""The HTTP calls, a file for each kind of thing."""
