"""The WebUI's entry: the script classes that it looks for, and the start."""

from lbw.webui import script

script.start()
BlockWeightScript = script.BlockWeightScript
AnalyzerScript = script.AnalyzerScript
