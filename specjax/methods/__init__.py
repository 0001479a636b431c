"""Other methods on the same features: TokenCut, MaskCut and Deep Spectral Methods (DSM)."""
