"""The reference model: transformers' UnlimitedOcr class. torch and transformers are imported here and nowhere else."""
