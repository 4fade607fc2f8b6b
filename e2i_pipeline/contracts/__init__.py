"""Frozen types that cross a boundary. They import nothing of ours but `errors`, and no tool."""
