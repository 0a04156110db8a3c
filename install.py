"""The WebUI's installer hook. Inside a WebUI nothing is installed: the host has all that is needed."""
