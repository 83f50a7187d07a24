"""Text from elsewhere, such as the names of columns, on its way to a terminal."""

__all__ = ["printable"]


def printable(text, keep=""):
    r"""Return text with what would act on a terminal, or break its lines, written as an escape sequence.

    Parameters
    ----------
    text : object
    keep : str, default=""
        Characters that stay as they are, such as line ends.

    Examples
    --------
    >>> from smoe.texts import printable
    >>> printable("Größe\n\x1b[31m")
    'Größe\\n\\x1b[31m'
    """
    return "".join(c if c.isprintable() or c in keep else _escaped(c) for c in str(text))


def _escaped(character):
    return character.encode("unicode_escape", "surrogatepass").decode()
