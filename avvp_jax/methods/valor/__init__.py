"""VALOR: label elaboration by teachers of one modality (Lai, Chen and Wang, NeurIPS 2023)."""
