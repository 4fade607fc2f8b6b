"""What engagement changes, per brand: protocol, overlap, effect, evaluation, refutation."""
