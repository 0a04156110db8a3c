"""Tests of lbw.analysis: they need numpy, Pillow, torch and LyCORIS, and neither a model nor a host."""
