"""Settings in, a retailer whose truth is known out."""
