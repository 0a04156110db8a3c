"""Inputs that nobody would write, in large numbers: `python run.py test --fuzz MINUTES`."""
