"""What to render, what to measure, how to draw it. Knows no host."""
