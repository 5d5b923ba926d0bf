"""Makes text from events safe to print: it is hostile until escaped.

A worker's name could clear the screen, colour it, or reverse the reading direction so that one line looks like another.
Whatever Unicode does not call printable (control characters and escapes, line breaks, directions and other
invisible formatting, private and unassigned characters, lone surrogates) is shown as its escape.
"""

from wcwidth import wcswidth

ELLIPSIS = "…"
FIELD_WIDTH = 60


def safe(text: object, width: int = FIELD_WIDTH) -> str:
    """Return escaped text of at most ``width`` columns of a terminal, with a mark where it was cut; '' for None."""
    if text is None:
        return ""
    plain = str(text)
    # Cut first, which is cheap: escaped text has at least one column for two characters, so enough is left.
    return cut("".join(map(_escaped, plain[: 4 * width + 4])), width)


def safe_name(text: object, width: int = FIELD_WIDTH) -> str:
    """Return escaped text like ``safe``, but cut in the middle: long names and ids often differ only at the end."""
    whole = safe(text, 10 * FIELD_WIDTH)
    if columns(whole) <= width:
        return whole
    head = cut(whole, width // 3)
    tail = whole[-(width - columns(head)) :]
    while columns(head) + columns(tail) > width:
        tail = tail[1:]
    return head + tail


def cut(text: str, width: int) -> str:
    """Cut printable text to at most ``width`` columns."""
    if columns(text) <= width:
        return text
    kept = text[: max(width - 1, 0)]
    while columns(kept) > width - 1:
        kept = kept[:-1]
    return kept + ELLIPSIS


def columns(text: str) -> int:
    """Return how many columns of a terminal printable text takes: 2 for a wide character, 0 for a combining one."""
    return max(wcswidth(text), 0)


def pad(text: str, width: int) -> str:
    """Pad text with spaces to a width in columns."""
    return text + " " * (width - columns(text))


def safe_lines(text: str | None, most: int = 40) -> list[str]:
    """Return the escaped lines of a stack trace; of a long one only the last lines, where the error is."""
    lines = (text or "").splitlines()
    left_out = len(lines) - most
    head = [f"… {left_out} lines left out"] if left_out > 0 else []
    return head + [safe(line.replace("\t", "    "), 200) for line in lines[-most:]]


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return repr(character)[1:-1]
