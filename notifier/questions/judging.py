"""From what was found of each entity to incidents that begin, get worse and end. Pure; no clock and no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from lakehouse.rules.alerts import stable_id
from lakehouse.rules.kinds.question import QuestionRule
from lakehouse.rules.reading import Entity
from lakehouse.rules.rule import duration, number
from lakehouse.rules.state import entity_text
from notifier.clock import from_ms, span_ms
from notifier.model import AlertRow, AlertSource, AskedState, rank
from notifier.questions.answer import Finding

SLACK = timedelta(seconds=5)


@dataclass
class Verdict:
    """What an answer makes of a rule: its entities' states, and alerts. left_out: entities outside beyond `most`."""

    states: dict[str, AskedState] = field(default_factory=dict)
    alerts: list[AlertRow] = field(default_factory=list)
    left_out: int = 0


def judge(
    rule: QuestionRule,
    held: Iterable[AskedState],
    judged_ms: int | None,
    found: Mapping[Entity, Finding],
    now_ms: int,
    commit: str,
) -> Verdict:
    """The verdict of now on an answer. held, judged_ms: what the verdict before has left, and when that was.

    1. Where that is long ago, nobody knows what was between: whoever was pending or recovering begins anew.
    2. Entities outside are pending, then fire; a firing one that gets worse has another alert. Known ones come first,
       then others in the answer's order, up to `most`.
    3. Of an entity whose value is NULL nothing is known: as in 1.
    4. All others are inside: they are dropped, or recover and then resolve.
    """
    verdict = Verdict()
    gone = _is_gap(rule, judged_ms, now_ms)
    known = {state.entity: _begun_anew(state) if gone else state for state in held}
    states = {entity: state for entity, state in known.items() if state is not None}
    by_text = {entity_text(entity): finding for entity, finding in found.items()}
    room = rule.most - sum(1 for text in states if text in by_text and by_text[text].outside)
    for text, finding in by_text.items():
        if not finding.outside:
            continue
        state = states.get(text)
        if state is None:
            if room <= 0:
                verdict.left_out += 1
                continue
            room -= 1
            state = AskedState(rule.name, text)
        verdict.states[text] = _outside(rule, state, finding, now_ms, commit, verdict.alerts)
    for text, state in states.items():
        if text in verdict.states:
            continue
        unknown = text in by_text and by_text[text].value is None
        after = _begun_anew(state) if unknown else _inside(rule, state, by_text.get(text), now_ms, commit, verdict)
        if after is not None:
            verdict.states[text] = after
    return verdict


def taken_out(state: AskedState, now_ms: int) -> AlertRow | None:
    """The end of an entity whose rule is no more; None where it was only pending."""
    if state.incident_id is None:
        return None
    alert_type = state.rule.upper()
    text = f"Resolved: {alert_type}{_who(state)}: the rule was taken out"
    return _ends(state, text, now_ms, commit="none", value=None, threshold=None, summary=None, runbook_url=None)


def _is_gap(rule: QuestionRule, judged_ms: int | None, now_ms: int) -> bool:
    """Whether more than one asking is missing since the verdict before, or our clock was set back meanwhile."""
    if judged_ms is None or now_ms < judged_ms:
        return True
    return now_ms - judged_ms > span_ms(2 * rule.every + rule.time_limit + SLACK)


def _begun_anew(state: AskedState) -> AskedState | None:
    return None if state.incident_id is None else replace(state, pending_ms=None, inside_ms=None)


def _outside(
    rule: QuestionRule, state: AskedState, finding: Finding, now_ms: int, commit: str, alerts: list[AlertRow]
) -> AskedState:
    pending_ms = state.pending_ms if state.pending_ms is not None else now_ms
    state = replace(state, pending_ms=pending_ms, inside_ms=None)
    if state.incident_id is None:
        if now_ms - pending_ms < span_ms(rule.for_):
            return state
        alert_id = stable_id(rule.name, state.entity, from_ms(pending_ms))
        state = replace(
            state,
            incident_id=stable_id(rule.name, state.entity, alert_id),
            starts_ms=now_ms,
            severity=finding.severity,
            service_name=dict(zip(rule.by, finding.entity, strict=True)).get("service_name"),
            owner=rule.owner,
        )
    elif rank(finding.severity) > rank(state.severity or finding.severity):
        assert state.incident_id is not None
        alert_id = stable_id(state.incident_id, finding.severity)
        state = replace(state, severity=finding.severity)
    else:
        return state
    words = finding.words
    alerts.append(
        _alert(
            state,
            alert_id,
            "FIRING",
            rule.description.format_map(words),
            now_ms,
            commit,
            value=finding.value,
            threshold=rule.threshold,
            summary=rule.summary.format_map(words),
            runbook_url=rule.runbook_url,
        )
    )
    return state


def _inside(
    rule: QuestionRule, state: AskedState, finding: Finding | None, now_ms: int, commit: str, verdict: Verdict
) -> AskedState | None:
    if state.incident_id is None:
        return None
    inside_ms = state.inside_ms if state.inside_ms is not None else now_ms
    if now_ms - inside_ms < span_ms(rule.keep_firing_for):
        return replace(state, pending_ms=None, inside_ms=inside_ms)
    value = finding.value if finding is not None else None
    how = "no row" if value is None else f"{number(value)}, inside the limit of {number(rule.threshold or 0.0)}"
    span = f" for {duration(rule.keep_firing_for)}" if rule.keep_firing_for else ""
    verdict.alerts.append(
        _ends(
            state,
            f"Resolved: {rule.alert_type}{_who(state)}: {how}{span}",
            now_ms,
            commit=commit,
            value=value,
            threshold=rule.threshold,
            summary=None,
            runbook_url=rule.runbook_url,
        )
    )
    return None


def _ends(state: AskedState, text: str, now_ms: int, **values: Any) -> AlertRow:
    assert state.incident_id is not None  # only what fires can end
    return _alert(state, stable_id(state.incident_id, "RESOLVED"), "RESOLVED", text, now_ms, **values)


def _alert(
    state: AskedState,
    alert_id: str,
    status: str,
    text: str,
    now_ms: int,
    commit: str,
    *,
    value: float | None,
    threshold: float | None,
    summary: str | None,
    runbook_url: str | None,
) -> AlertRow:
    assert state.incident_id is not None
    at = from_ms(now_ms)
    return AlertRow(
        alert_id=alert_id,
        incident_id=state.incident_id,
        alert_type=state.rule.upper(),
        rule=state.rule,
        severity=state.severity or "ERROR",
        status=status,
        description=text,
        alert_timestamp=at,
        received_at=at,
        ingested_at=at,
        starts_at=from_ms(state.starts_ms if state.starts_ms is not None else now_ms),
        commit=commit,
        service_name=state.service_name,
        summary=summary,
        runbook_url=runbook_url,
        owner=state.owner,
        metric_value=value,
        threshold=threshold,
        source=AlertSource.QUESTION,
    )


def _who(state: AskedState) -> str:
    """` of payments`, or nothing where the rule judges one thing."""
    values = ", ".join(json.loads(state.entity))
    return f" of {values}" if values else ""
