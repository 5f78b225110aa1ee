"""Training in a process of its own, which neither keeps queries waiting nor leaves memory behind."""
