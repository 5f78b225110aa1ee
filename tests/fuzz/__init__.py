"""Readers of what strangers send, given bytes that a fuzzer makes up; what it found worth keeping lies in corpora/."""
