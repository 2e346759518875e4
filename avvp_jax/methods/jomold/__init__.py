"""JoMoLD: joint-modal label denoising (Cheng et al., ECCV 2022)."""
