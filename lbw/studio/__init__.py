"""Standalone use, without a WebUI: the command line and the page."""
