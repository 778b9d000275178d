"""Planning: a `BoundQuery` in, a `Plan` of four operators out. No connection, no engine is touched here."""

from mindsql.planner.explain import explain
from mindsql.planner.operators import Operator, Output, Plan, Predict, Project, Scan, Values
from mindsql.planner.planner import plan
from mindsql.planner.rules import RULES, Rule

__all__ = [
    "RULES",
    "Operator",
    "Output",
    "Plan",
    "Predict",
    "Project",
    "Rule",
    "Scan",
    "Values",
    "explain",
    "plan",
]
