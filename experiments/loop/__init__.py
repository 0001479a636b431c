"""What the binaries share: flags, the streaming loop, the resumable store, writers."""
