"""Alerts: what a trader must be told of, when, in which words, and the way to wherever they are read."""
