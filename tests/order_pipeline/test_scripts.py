"""What scripts/ repeats of the stack, because they start without CDK, is what the stack has."""

from __future__ import annotations

import re

import pytest

import scripts
from compliance.document.requirements import load
from scripts import replay, teardown
from stacks import processing
from stacks.settings import Name, Settings


def test_they_look_where_the_stack_is() -> None:
    assert scripts.stack_name("prod") == Name.STACK.fill("prod")
    assert load().environment.region == scripts.REGION


def test_a_replay_hands_over_as_many_changes_as_the_mapping() -> None:
    assert replay.BATCH == processing.BATCH_SIZE


@pytest.mark.parametrize("environment", ["dev", "pr1", "pr12", "pr", "prod", "pr1x", "dev2", "staging"])
def test_only_what_loses_its_data_with_the_stack_is_torn_down(environment: str) -> None:
    torn_down = re.fullmatch(teardown.THROWAWAY, environment) is not None
    assert torn_down is Settings(environment).throwaway
    assert torn_down is not load().environment.keeps_data(environment)
