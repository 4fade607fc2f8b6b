"""The Bento, its deployment and batch predictions, per brand."""
