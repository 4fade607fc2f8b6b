"""What is configured: `e2i.yaml` (what), `profiles/` (where), `schema.py` (the frozen types), `loader.py` (the order)."""
