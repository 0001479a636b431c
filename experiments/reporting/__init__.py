"""From finished runs to one HTML page: reading, statistics, choice of images, layout."""
