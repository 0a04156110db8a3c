"""The panels, one file each, for Gradio 3.41 and 4; a host's page or the studio's shows them."""
