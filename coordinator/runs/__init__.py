"""Carrying a run out on real nodes, and keeping what it found."""
