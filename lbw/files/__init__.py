"""Files: LoRA and checkpoint files, and the user's presets."""
