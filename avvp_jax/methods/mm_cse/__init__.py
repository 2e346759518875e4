"""MM-CSE: class-aware semantic enhancement (Zhao et al., AAAI 2025)."""
