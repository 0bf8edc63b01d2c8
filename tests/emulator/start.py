"""Starts ministack, in its own virtual environment, with alarms on metric math.

Its CloudFormation refuses them. Here they are kept as an alarm on the expression's label, which nobody ever
sets off, like its other alarms on Lambda's metrics (docs/emulator.md).
"""

import sys

from ministack.app import main
from ministack.services.cloudformation import provisioners

own = provisioners._cw_metric_alarm_record


def record(name, properties):
    """As PutMetricAlarm has an alarm, with the properties of a template."""
    metrics = properties.get("Metrics")
    if not metrics:
        return own(name, properties)
    plain = {key: value for key, value in properties.items() if key != "Metrics"}
    return own(name, plain | {"Namespace": "MetricMath", "MetricName": metrics[0].get("Label", "expression")})


provisioners._cw_metric_alarm_record = record

if __name__ == "__main__":
    sys.exit(main())
