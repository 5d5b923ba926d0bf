"""Text that came with an event, made safe to print: it is hostile until escaped.

A worker's name could clear the screen, colour it, or turn the reading direction so that one line poses as another.
Whatever is not printable in Unicode's sense (control characters and escapes, line breaks, directions and other
invisible formatting, private and unassigned characters, lone surrogates) is shown as its escape.
"""

from wcwidth import wcswidth

ELLIPSIS = "…"
FIELD_WIDTH = 60


def safe(text: object, width: int = FIELD_WIDTH) -> str:
    """At most ``width`` columns of a terminal, the rest cut and marked; '' for None."""
    if text is None:
        return ""
    plain = str(text)
    # Escaping makes text longer, never shorter in columns than one for two characters: so cut first, and cheaply.
    return cut("".join(map(_shown, plain[: 4 * width + 4])), width)


def safe_name(text: object, width: int = FIELD_WIDTH) -> str:
    """As ``safe``, for names and ids: cut in the middle, because a long name differs from its siblings at its end."""
    whole = safe(text, 10 * FIELD_WIDTH)
    if columns(whole) <= width:
        return whole
    head = cut(whole, width // 3)
    tail = whole[-(width - columns(head)) :]
    while columns(head) + columns(tail) > width:
        tail = tail[1:]
    return head + tail


def cut(text: str, width: int) -> str:
    """Printable text in at most ``width`` columns."""
    if columns(text) <= width:
        return text
    kept = text[: max(width - 1, 0)]
    while columns(kept) > width - 1:
        kept = kept[:-1]
    return kept + ELLIPSIS


def columns(text: str) -> int:
    """Columns of a terminal that printable text takes: 2 for a wide character, 0 for a combining one."""
    return max(wcswidth(text), 0)


def pad(text: str, width: int) -> str:
    """Filled up with spaces to a width in columns."""
    return text + " " * (width - columns(text))


def safe_lines(text: str | None, most: int = 40) -> list[str]:
    """The lines of a stack trace, each escaped; of a long one the last, where the error is."""
    lines = (text or "").splitlines()
    left_out = len(lines) - most
    head = [f"… {left_out} lines left out"] if left_out > 0 else []
    return head + [safe(line.replace("\t", "    "), 200) for line in lines[-most:]]


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return repr(character)[1:-1]
