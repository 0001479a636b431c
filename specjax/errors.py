"""The one exception that means "the user can fix this"."""


class SpecjaxError(ValueError):
    """A mistake in the input, not in the program.

    The message is a single line that names the file or the value and the way out. It speaks of
    the library's own parameters; the command line adds the flag.

    Args:
        message: the line.
        parameter: the name of the parameter that would mend it, where one would.
    """

    def __init__(self, message: str, *, parameter: str | None = None):
        super().__init__(message)
        self.parameter = parameter
