"""What is configured: `e2i.yaml` (what), `profiles/` (where), `schema.py` (the types), `loader.py` (the order)."""
