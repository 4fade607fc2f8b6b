"""Scope, study, model, evaluation, registration and promotion, per brand."""
