"""What `make` runs on, and with which parameters: its results are compared with these."""

CHANNELS = 48
# Rows and columns of each scene. MaskCut takes square grids only.
GRIDS = ((12, 12), (14, 14), (12, 12), (14, 14), (9, 16), (16, 11))
TOKENCUT_TAU, MASKCUT_TAU, ROUNDS = 0.2, 0.15, 3
# Added to the features for DSM: without it its graph, which has no small weights for what is not
# alike, falls apart in some scenes, and eigenvalues are repeated.
DSM_OFFSET = 1.0
VECTORS, SEGMENTS, COLOR_WEIGHT = 5, 4, 10.0
