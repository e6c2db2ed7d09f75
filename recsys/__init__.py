"""recsys: from a shop's events to slates worth sending."""
