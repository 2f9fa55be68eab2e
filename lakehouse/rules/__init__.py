"""What is an alert: the rules of config/alerts.yaml, judged by a pure function that both engines call."""

from lakehouse.rules.alerts import Alert, is_old
from lakehouse.rules.judge import alerting_events, due, evaluate
from lakehouse.rules.load import load_rules
from lakehouse.rules.moment import Moment, Received
from lakehouse.rules.rule import Rule
from lakehouse.rules.state import RuleState, State, state_from_rows, state_rows

__all__ = [
    "Alert",
    "Moment",
    "Received",
    "Rule",
    "RuleState",
    "State",
    "alerting_events",
    "due",
    "evaluate",
    "is_old",
    "load_rules",
    "state_from_rows",
    "state_rows",
]
