"""What is told of a setting that cannot be; apart from the settings, which the command line loads only when needed."""


class InvalidSettings(ValueError):
    """A setting that does not exist or does not fit; its text is the sentence that stops the start."""
