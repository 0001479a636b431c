"""Binaries that stream datasets through specjax and report scores."""
