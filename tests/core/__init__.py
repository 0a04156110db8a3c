"""Tests of lbw.core: they need nothing but Python, pytest and hypothesis."""
