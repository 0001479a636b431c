"""The one exception that means "the user can fix this"."""


class SpecjaxError(ValueError):
    """A mistake in the input, not in the program.

    The message is one line: it names the file or the value, and says what to do. It uses the
    names of the library's parameters; the command line adds the flag.

    Args:
        message: the line.
        parameter: name of the parameter to change; None where no parameter is at fault.

    Attributes:
        parameter: as given.

    Example:
        >>> try:
        ...     specjax.Config(M=0)
        ... except specjax.SpecjaxError as error:
        ...     print(error.parameter, "|", error)
        M | M is 0: it must be an integer of at least 1
    """

    def __init__(self, message: str, *, parameter: str | None = None):
        super().__init__(message)
        self.parameter = parameter
