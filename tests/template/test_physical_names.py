"""Where a resource type states its name, and what it keeps in the items of a list."""

from __future__ import annotations

import pytest

from compliance.template.physical_names import elsewhere, name_places


@pytest.mark.parametrize(
    ("type_", "places"),
    [
        ("AWS::SQS::Queue", ("QueueName",)),
        ("AWS::Glue::Table", ("TableInput.Name",)),
        ("AWS::Glue::Database", ("DatabaseName", "DatabaseInput.Name")),
        ("AWS::Glue::Job", ("Name",)),
    ],
)
def test_where_a_name_stands(type_: str, places: tuple[str, ...]) -> None:
    assert name_places(type_) == places


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("DeletionProtectionEnabled", "Replicas.*.DeletionProtectionEnabled"),
        ("BillingMode", "BillingMode"),
        ("GlobalSecondaryIndexes", "GlobalSecondaryIndexes"),  # a replica has some, too
        ("NoSuchThing", "NoSuchThing"),
    ],
)
def test_what_a_global_table_keeps_by_replica(path: str, wanted: str) -> None:
    assert elsewhere("AWS::DynamoDB::GlobalTable", path) == wanted
    assert elsewhere("AWS::DynamoDB::Table", path) == path
