"""The program without a WebUI: the command line."""
