"""Stores of ours behind Feast's own extension points: its configuration names them, Feast alone imports them."""
