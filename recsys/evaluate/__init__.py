"""Scores and slates in, figures with intervals beside their baselines out."""
