"""Words for messages and summaries."""

__all__ = ["printable", "with_article"]


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


def with_article(noun):
    """Return "a" or "an" and the noun.

    Examples
    --------
    >>> from smoe.texts import with_article
    >>> with_article("OrderedGate")
    'an OrderedGate'
    """
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
