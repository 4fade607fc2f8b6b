"""What a stage does with several tools at once: each module combines adapters, and holds no rule of its own.

Rules stand in `domain/`; a single tool's ways stand in the adapter beside this folder.
"""
