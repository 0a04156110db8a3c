"""The families of models, one file each. A new family is a new file here, and its tests.

A file holds one `Family` or several; `lbw.core.architectures` finds them.
"""
