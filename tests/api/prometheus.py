"""What was counted, as Prometheus reads it."""

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families


def value_in(text, name, **labels):
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = [each.value for each in samples if each.name == name and each.labels.items() >= labels.items()]
    assert len(found) <= 1
    return found[0] if found else None


def counted(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


class Since:
    """By how much a counter of this process has grown."""

    def __init__(self, name, **labels):
        self.name, self.labels = name, labels
        self.before = counted(name, **labels)

    def __eq__(self, number):
        return counted(self.name, **self.labels) - self.before == number
