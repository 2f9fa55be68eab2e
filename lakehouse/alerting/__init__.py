"""What is an alert: the rules of config/alerts.yaml, judged by a pure function that both engines call."""

from lakehouse.alerting.alerts import Alert, is_old
from lakehouse.alerting.judge import Moment, due, evaluate
from lakehouse.alerting.rule import Rule
from lakehouse.alerting.rules import alerting_events, load_rules
from lakehouse.alerting.state import RuleState, State, state_from_rows, state_rows
from lakehouse.alerting.watch import Tally, Watch

__all__ = [
    "Alert",
    "Moment",
    "Rule",
    "RuleState",
    "State",
    "Tally",
    "Watch",
    "alerting_events",
    "due",
    "evaluate",
    "is_old",
    "load_rules",
    "state_from_rows",
    "state_rows",
]
