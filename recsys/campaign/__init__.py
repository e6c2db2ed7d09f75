"""Everyone in, slates within promises out."""
