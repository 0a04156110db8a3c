"""Glue to a WebUI: the hook on its LoRA loading, the script, infotext, settings."""
