"""Checkpoints: files that codecs are kept in."""
