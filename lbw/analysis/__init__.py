"""What to render, what to measure, how to draw it. Independent of the host."""
