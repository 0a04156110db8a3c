"""What a tag means: tags, block weights, presets, blocks of every architecture, the plan.

Nothing here imports torch, Gradio or a host.
"""
