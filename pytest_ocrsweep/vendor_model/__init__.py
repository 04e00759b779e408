"""The vendor's model, transformers' own: torch and transformers are imported here and nowhere else."""
