"""Request bodies, as Qdrant names them; a field that is not served is refused by its name."""
