"""`optc cache`: what `optc.load(..., cache=True)` keeps on disk, and how to be rid of it."""

from enum import Enum
from typing import Annotated

import typer

from ..api.store import MIB, Store, Usage
from .output import CommandError


class Action(Enum):
    """What is done with the folder."""

    INFO = "info"
    CLEAR = "clear"


def cache(
    action: Annotated[Action, typer.Argument(metavar="info|clear", help="Say, or remove.")],
) -> None:
    """Say where compiled programs are kept and how much there is, or remove all of it.

    The folder is this user's cache folder, or OPTC_CACHE_DIR. When there is more than
    OPTC_CACHE_MIB (1024), what was not used for longest goes.

    Example:
      optc cache info
      optc cache clear
    """
    store = Store.of_user()
    try:
        match action:
            case Action.INFO:
                print(_table(store))
            case Action.CLEAR:
                print(f"removed {_words(store.clear())} from {store.folder}")
    except OSError as error:
        raise CommandError(f"{store.folder}: {(error.strerror or str(error)).lower()}") from error


def _table(store: Store) -> str:
    rows = {
        "folder": str(store.folder),
        "kept": _words(store.usage()),
        "limit": f"{store.limit // MIB} MiB",
    }
    if store.refusal:
        rows["not used"] = store.refusal
    elif not store.is_writable:
        rows["not written"] = "permission denied"
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _words(usage: Usage) -> str:
    entries = "1 entry" if usage.entries == 1 else f"{usage.entries} entries"
    return f"{entries}, {usage.size / MIB:.1f} MiB"
