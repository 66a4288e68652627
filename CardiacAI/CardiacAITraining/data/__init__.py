"""Data sets in any layout we know: what they hold, whether they can be learned from."""
