"""The families of models, one file each. To add a family, add a file here and its tests.

A file has one or more `Family` objects; `lbw.core.architectures` finds them.
"""
