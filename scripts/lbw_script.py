"""The WebUI's entry: the script class that it looks for, and the start."""

from lbw.webui import script

script.start()
BlockWeightScript = script.BlockWeightScript
