"""Inputs that nobody would write, in great numbers: `python run.py test --fuzz MINUTES`."""
