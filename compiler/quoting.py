"""Texts as Python string literals: what a spec says in quotes reaches a module only so."""


def quoted(text: str) -> str:
    """A Python string literal, double-quoted, on one line, whatever the text holds."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else escape(c) for c in escaped) + '"'


def worded(text: str) -> str:
    """The same, in the quotes of which the text itself has fewer."""
    double = quoted(text)
    if text.count('"') <= text.count("'"):
        return double
    return "'" + double[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"


def escape(char: str) -> str:
    """A character that is not printable as an escape of Python."""
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if char in named:
        return named[char]
    code = ord(char)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
