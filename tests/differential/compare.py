"""What two servers may say differently, masked; all else, compared."""

import fnmatch
import re

UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
AGE = re.compile(r"^(<invalid>|\d+[smhd](\d+[smh])?)$")
# kubectl's `describe` and `get -w` print ages inside lines.
LINE_AGE = re.compile(r"\s+\d+[smhd](\d+[smh])?(?=\s|$)")
ADDRESS = re.compile(r"\b\d{1,3}(\.\d{1,3}){3}:\d+\b")
LONG_TIME = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+\d{4}")
MASKED_KEYS = {"resourceVersion": "<revision>", "remainingItemCount": "<count>", "continue": "<token>", "token": "<token>"}
GENERATED = re.compile(r"\b(generated-|kube-api-access-)[a-z0-9]{5}\b")
# Revisions inside sentences.
REVISION = re.compile(r"(current: |object meta: |in record \()\d+")


def masked(value, key=""):
    """`value` without what differs from server to server and from day to day."""
    if isinstance(value, dict):
        return {GENERATED.sub(r"\1<random>", name): masked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        items = [masked(item, key) for item in value]
        if key == "managedFields":
            items.sort(key=lambda entry: (entry.get("manager", ""), entry.get("operation", ""), entry.get("subresource", "")))
        if key == "causes" and all(item.get("reason") == "FieldManagerConflict" for item in items):
            # The real server goes through the managers in no order.
            items.sort(key=lambda item: (item.get("field", ""), item.get("message", "")))
        return items
    if key in MASKED_KEYS and value not in ("", None):
        return MASKED_KEYS[key]
    if isinstance(value, str):
        if key == "cells" and AGE.match(value):
            return "<age>"
        value = UID.sub("<uid>", value)
        value = TIME.sub("<time>", value)
        value = LONG_TIME.sub("<time>", value)
        value = ADDRESS.sub("<address>", value)
        value = GENERATED.sub(r"\1<random>", value)
        value = REVISION.sub(r"\1<revision>", value)
        if key in ("out", "err"):
            value = LINE_AGE.sub(" <age>", value)
            value = re.sub(r"(resourceVersion\"?:? ?\"?)\d+", r"\1<revision>", value)
            value = re.sub(r"  +", "  ", value)
    return value


def differences(left, right, path="$"):
    """Each path at which the two values differ, with both values."""
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted(left.keys() | right.keys()):
            yield from differences(left.get(name, ABSENT), right.get(name, ABSENT), f"{path}.{name}")
    elif isinstance(left, list) and isinstance(right, list):
        for index in range(max(len(left), len(right))):
            there = lambda items: items[index] if index < len(items) else ABSENT
            yield from differences(there(left), there(right), f"{path}[{index}]")
    elif left != right or type(left) is not type(right):
        yield path, left, right


class Absent:
    def __repr__(self):
        return "(absent)"


ABSENT = Absent()


def brief(answer) -> str:
    """The code with the reason, where there is one."""
    body = answer.get("body")
    said = body.get("message") if isinstance(body, dict) else body
    return f"{answer['code']} {said or answer.get('err') or ''}".strip()


def compare(exchange, other):
    """The differences between two answers to the same request."""
    if exchange.name != other.name:
        raise AssertionError(f"the script went two ways: {exchange.name} here, {other.name} there")
    left, right = masked(exchange.answer), masked(other.answer)
    if left.get("code") != right.get("code"):
        # What follows from that is not worth a line each.
        yield "$.code", brief(left), brief(right)
        return
    for path, left, right in differences(left, right):
        if not any(fnmatch.fnmatchcase(path, f"$.{pattern}*".replace("[", "[[]")) for pattern in exchange.ignored):
            yield path, left, right
