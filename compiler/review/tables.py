"""A review as JSON for other tools."""

import json
from collections.abc import Iterable

from .records import Change, Fact, Review

SCHEMA = 1
"""The version of the layout; fields are only added within one."""


def as_json(reviews: Iterable[Review]) -> str:
    """One object: the schema, and one object for each pair of optimizers."""
    found = {"schema": SCHEMA, "reviews": [_review(each) for each in reviews]}
    return json.dumps(found, indent=2, ensure_ascii=False)


def _review(review: Review) -> dict[str, object]:
    return {
        "before": review.before,
        "after": review.after,
        "changed": bool(review),
        "same_map": review.same,
        "sections": {s.title: _changes(s.changes) for s in review.sections},
    }


def _changes(changes: Iterable[Change]) -> list[dict[str, object]]:
    return [_change(change) for change in changes if change.counts]


def _change(change: Change) -> dict[str, object]:
    found = {"how": change.how, "name": change.head, "what": change.what, "was": change.was}
    return found | {
        "facts": [_fact(fact) for fact in change.facts],
        "inside": _changes(change.inside),
    }


def _fact(fact: Fact) -> dict[str, str]:
    return {"what": fact.what, "before": fact.before, "after": fact.after}
