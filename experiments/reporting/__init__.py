"""From finished runs to one page: what is read, computed, chosen and laid out."""
