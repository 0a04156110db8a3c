"""Apply LoRAs block by block: in a WebUI, from a command line, or as a library."""

__version__ = "0.1.0"
