"""Tests of lbw.files: they need nothing but Python, pytest and hypothesis."""
