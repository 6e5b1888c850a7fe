"""Says whether a set of policies allows a call: what of IAM's rules our policies use, and no more. Pure.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Statement = Mapping[str, Any]
Context = Mapping[str, str]


def is_allowed(statements: Iterable[Statement], action: str, resource: str, context: Context | None = None) -> bool:
    """Whether statements of one principal allow a call: an allow that matches, and no deny that does."""
    matching = [each for each in statements if _matches(each, action, resource, context or {})]
    return any(each["Effect"] == "Allow" for each in matching) and all(each["Effect"] != "Deny" for each in matching)


def is_denied(statements: Iterable[Statement], principal: str, action: str, resource: str, context: Context) -> bool:
    """Whether a resource's policy denies a principal a call outright."""
    return any(
        each["Effect"] == "Deny" and names(each, principal) and _matches(each, action, resource, context)
        for each in statements
    )


def _matches(statement: Statement, action: str, resource: str, context: Context) -> bool:
    unknown = set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}
    assert not unknown, f"the evaluator does not know {unknown}"
    return (
        any(_like(each.lower(), action.lower()) for each in listed(statement["Action"]))
        and any(_like(each, resource) for each in listed(statement["Resource"]))
        and all(_holds(operator, keys, context) for operator, keys in statement.get("Condition", {}).items())
    )


def _holds(operator: str, keys: Mapping[str, Any], context: Context) -> bool:
    test = _OPERATORS[operator]  # an operator that is not here fails the test that meets it
    return all(test(context.get(key), listed(wanted)) for key, wanted in keys.items())


def _any(matches: Callable[[str, str], bool]) -> Callable[[str | None, Sequence[str]], bool]:
    return lambda found, wanted: found is not None and any(matches(each, found) for each in wanted)


def _none(matches: Callable[[str, str], bool]) -> Callable[[str | None, Sequence[str]], bool]:
    # A negated operator holds where the key is not there.
    return lambda found, wanted: found is None or not any(matches(each, found) for each in wanted)


def _like(pattern: str, text: str) -> bool:
    parts = re.split(r"([*?])", pattern)
    expression = "".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(expression, text, re.DOTALL) is not None


_OPERATORS: dict[str, Callable[[str | None, Sequence[str]], bool]] = {
    "StringEquals": _any(str.__eq__),
    "StringNotEquals": _none(str.__eq__),
    "StringLike": _any(_like),
    "ArnLike": _any(_like),
    "ArnEquals": _any(_like),
    "ArnNotEquals": _none(_like),
    "Bool": _any(lambda wanted, found: wanted.lower() == found.lower()),
    "NumericLessThan": _any(lambda wanted, found: float(found) < float(wanted)),
    "Null": lambda found, wanted: (found is None) == (wanted[0].lower() == "true"),
}


def names(statement: Statement, principal: str) -> bool:
    """Whether a statement of a resource's policy is about a principal."""
    principals = statement["Principal"]
    named = ["*"] if principals == "*" else [each for group in principals.values() for each in listed(group)]
    return any(_like(each, principal) for each in named)


def listed(value: Any) -> list[Any]:
    """The value as a list, which IAM leaves out around one."""
    return value if isinstance(value, list) else [value]
