"""Descriptions of JSON, XML, tables and Markdown."""

import re

from rtt_lightning.datamodules.descriptions.bounds import parse_bounds
from rtt_lightning.datamodules.descriptions.grammar import HAVE, QUOTED, SUBJECT, match, quoted
from rtt_lightning.datamodules.descriptions.wording import Check

_GIVEN = r"(?:be )?(?:formatted |presented |provided |given |returned |written |output |structured |expressed )?"
_LEVEL = r"(?:level[ -]?([1-6])|h([1-6]))"


def parse_structure(description: str) -> Check | None:
    """The check that a description asks for, or ``None``."""
    parsers = (_json, _xml, _table, _heading, _heading_levels, _bullets, _bold)
    return next((check for parse in parsers if (check := parse(description))), None)


def _json(description: str) -> Check | None:
    kinds = r"(?: format| (?P<kind>object|array))?"
    if found := match(description, rf"{SUBJECT}{_GIVEN}(?:in|as|use|using|be) (?:an? )?(?:valid )?json{kinds}"):
        return "rtt:is_json", {"kind": found["kind"].lower()} if found["kind"] else {}
    if not re.search(r"\bnest(?:ing|ed)\b", description, re.IGNORECASE):
        return None
    if not re.search(r"\b(?:json|objects?)\b", description, re.IGNORECASE):
        return None  # lists and quotations nest as well
    nouns = frozenset("json object objects nesting depth nested structure format".split())
    bounds = parse_bounds(description, {"level": "levels", "layer": "levels"}, nouns)
    if bounds is None:  # "nesting levels must not exceed 3", without a unit behind the number
        levels = re.sub(r"(\b(?:\d+|one|two|three|four|five))(?=\.?$)", r"\1 levels", description.strip())
        bounds = parse_bounds(levels, {"level": "levels"}, nouns) if levels != description.strip() else None
    return bounds and ("rtt:is_json", bounds.limits)


def _xml(description: str) -> Check | None:
    if match(
        description,
        rf"{SUBJECT}{_GIVEN}(?:in|as|use|using|be) (?:an? )?(?:valid |well-formed )?xml(?: format| document)?",
    ):
        return "rtt:is_xml", {}
    if not re.search(r"\bxml\b", description, re.IGNORECASE):
        return None
    bounds = parse_bounds(description, {"attribute": "attributes"}, frozenset({"xml", "format", "document"}))
    return bounds and ("rtt:is_xml", bounds.limits)


def _table(description: str) -> Check | None:
    if match(
        description,
        rf"{SUBJECT}{HAVE} (?:an? )?(?:markdown )?table",
        rf"{SUBJECT}{_GIVEN}(?:in|as) (?:an? )?(?:markdown )?(?:table|tabular)(?: format| form)?",
    ):
        return "rtt:table", {}
    if not re.search(r"\btab(?:le|ular)\b", description, re.IGNORECASE):
        return None
    nouns = frozenset("table tables tabular data format with limit limited markdown that".split())
    optional = match(description, r"(?:any|if)\b.*") is not None
    fillers = nouns | frozenset("any if is are used included present".split()) if optional else nouns
    bounds = parse_bounds(description, {"row": "rows", "column": "columns"}, fillers)
    if bounds is None:
        return None
    required = not optional and match(description, rf"{SUBJECT}{HAVE} (?:an? )(?:markdown )?table .*") is not None
    limits = {f"{name}_{bounds.unit}": count for name, count in bounds.limits.items()}
    return "rtt:table", {**limits, "required": required}


def _heading(description: str) -> Check | None:
    found = match(
        description,
        rf"{SUBJECT}(?:{HAVE}|be formatted with) (?:(?P<number>an?|at least \w+|exactly \w+) )?"
        rf"{_LEVEL} (?:markdown )?headings?(?: (?:titled|named|called|with the title) (?P<title>{QUOTED}))?",
    )
    if not found:
        return None
    bounds = parse_bounds(f"{found['number']} headings", {"heading": "headings"}) if found["number"] else None
    if found["number"] and not bounds and found["number"].lower() not in ("a", "an"):
        return None
    title = quoted(found["title"]) if found["title"] else None
    if found["title"] and (not title or len(title) > 1):
        return None
    limits = bounds.limits if bounds else {}
    return "rtt:heading", {"level": int(found[2] or found[3]), **({"title": title[0]} if title else {}), **limits}


def _heading_levels(description: str) -> Check | None:
    found = match(
        description,
        rf"{SUBJECT}(?:not exceed|{HAVE} (?:at most|up to)) (?:heading )?level ([1-6]) headings?",
        r"(?:the )?heading levels (?:must|should) not exceed (?:level )?([1-6])",
    )
    return ("rtt:heading_levels", {"high": int(found[1])}) if found else None


def _bullets(description: str) -> Check | None:
    listed = r"(?:an? )?(?:bullet(?:ed)?|unordered)(?: points?| lists?)"
    if match(description, rf"{SUBJECT}{HAVE} {listed}"):
        return "rtt:bullets", {}
    if match(description, rf"{SUBJECT}{_GIVEN}(?:in|as) {listed}(?: format)?"):
        return "rtt:bullets", {"only": True}
    bounds = parse_bounds(description, {"bullet point": "bullets", "bullet": "bullets"})
    return bounds and ("rtt:bullets", bounds.limits)


def _bold(description: str) -> Check | None:
    return ("rtt:bold", {}) if match(description, rf"{SUBJECT}{HAVE} bold(?: text| formatting| font)?") else None
