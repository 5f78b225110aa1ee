"""What a collection notices of its own work."""

_MEMORY = 0.7


class Observed:
    """encoding_rate   vectors per second, of late; None before the first batch
    devices            by stage, where it last ran
    """

    def __init__(self) -> None:
        self.encoding_rate: float | None = None
        self.devices: dict[str, str] = {}

    def note_encoded(self, rows: int, seconds: float, device: str) -> None:
        """A batch was encoded. To be called before the batch is published: who sees it gone asks how fast it went."""
        rate = rows / seconds
        earlier = self.encoding_rate
        self.encoding_rate = rate if earlier is None else _MEMORY * earlier + (1 - _MEMORY) * rate
        self.devices["encode"] = device
