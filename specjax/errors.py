"""The one exception that means "the user can fix this"."""


class UserError(Exception):
    """A mistake in the input, not in the program.

    The message is a single line that names the file or the value and the way out. Binaries print
    it without a traceback; library code raises it (or a subclass of it) wherever the cause lies
    outside the code.
    """
