"""`--set name=value`: hyperparameters on the command line."""

from collections.abc import Iterable

import typer

Value = bool | int | float | str
Settings = dict[str, Value]

_WORDS: dict[str, bool] = {"true": True, "false": False}


def parse(pairs: Iterable[str]) -> Settings:
    """The settings that `--set` gives, each name once; wrong ones are a usage error.

    >>> parse(["lr=3e-4", "total=500", "nesterov=true"])
    {'lr': 0.0003, 'total': 500, 'nesterov': True}
    """
    settings: Settings = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not name.isidentifier() or not text:
            raise _wrong(f"{pair!r} is not of the form name=value")
        if name in settings:
            raise _wrong(f"{name!r} is set twice")
        settings[name] = _value(text)
    return settings


def _value(text: str) -> Value:
    """A number or a truth value where the text spells one; otherwise the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _wrong(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="'--set'")
