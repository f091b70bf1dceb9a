"""The parser of the grammar, and its tables kept beside Python's own compiled files.

Working out LALR tables takes several times what reading a spec takes. So they are kept the way
Python keeps bytecode: in the package's `__pycache__`, under a name that says what they were
made from, with the trust that bytecode has. Where nothing can be written, or Python was told
not to (`-B`), they are worked out anew.
"""

import os
import pickle
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from lark import Lark, Transformer, __version__

_GRAMMAR = Path(__file__).with_name("opt.lark")


def load_parser(transformer: Transformer[Any, Any]) -> Lark:
    """The parser of an item, which hands what it reads to `transformer`."""
    text = _GRAMMAR.read_text(encoding="utf-8")
    kept = _kept(text)
    with suppress(OSError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError):
        with kept.open("rb") as file:
            parser = Lark.__new__(Lark)
            parser._load(file, transformer=transformer)
        return parser
    parser = Lark(
        text,
        parser="lalr",
        start="item",
        transformer=transformer,
        keep_all_tokens=True,
        maybe_placeholders=True,
    )
    if not sys.dont_write_bytecode:
        with suppress(OSError):
            _keep(parser, kept)
    return parser


def _kept(text: str) -> Path:
    made_from = f"{text}\0{__version__}\0{sys.version}"
    digest = sha256(made_from.encode()).hexdigest()[:16]
    return _GRAMMAR.parent / "__pycache__" / f"opt.lark.{digest}.tables"


def _keep(parser: Lark, place: Path) -> None:
    """Write the tables whole or not at all, since another process may be reading."""
    place.parent.mkdir(exist_ok=True)
    with NamedTemporaryFile(dir=place.parent, delete=False) as file:
        parser.save(file)
    os.replace(file.name, place)
