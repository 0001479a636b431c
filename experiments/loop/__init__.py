"""What the binaries share: flags, the loop over the records, stored features, writers."""
