"""Hierarchical latent variables under masking: Kong et al. 2023."""
