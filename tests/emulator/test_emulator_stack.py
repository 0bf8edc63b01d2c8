"""A stack that keeps its data: its first deployment fails; it is deleted by mistake."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from patience import until

from emulator.ministack import ACCOUNT, Attested, Emulator
from emulator.pipeline import Pipeline

pytestmark = pytest.mark.slow
STACK = "staging-order-pipeline-backend"
BUCKET = f"staging-processed-data-bucket-backend-{ACCOUNT}"


@pytest.fixture(scope="module")
def staging(aws: Emulator, attested: Callable[..., Attested]) -> Attested:
    made = attested("nodejs", env="staging")
    done = aws.bootstrap()
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def run(aws: Emulator, script: str, *arguments: str) -> str:
    done = aws.script(script, "--env", "staging", *arguments)  # of two, the last counts
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def status(aws: Emulator) -> str:
    return str(aws.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"])


@pytest.mark.parametrize(
    ("options", "left"), [((), "ROLLBACK_COMPLETE"), (("--no-rollback",), "CREATE_FAILED")]
)
def test_a_first_deployment_that_fails_is_taken_back(
    aws: Emulator, staging: Attested, options: tuple[str, ...], left: str
) -> None:
    """By a bucket of the same name. CDK cannot replace what is left, for it is protected from termination."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    assert staging.deploy(aws, *options).returncode == 1
    s3.delete_bucket(Bucket=BUCKET)
    assert status(aws) == left
    assert "taken back" in run(aws, "undo")
    for kept in (
        aws.client("dynamodb").list_tables()["TableNames"],
        aws.client("sqs").list_queues().get("QueueUrls"),
    ):
        assert not kept
    assert aws.script("undo", "--env", "staging").returncode != 0  # there is no such stack


class TestDeletedByMistake:
    def test_what_is_left_behind_is_adopted_by_a_new_stack(self, aws: Emulator, staging: Attested) -> None:
        done = staging.deploy(aws)
        assert done.returncode == 0, done.stdout + done.stderr
        assert aws.script("undo", "--env", "staging").returncode == 1  # it works
        before = Pipeline(aws, STACK)
        before.write(["before"])
        stored = before.stored(["before"], 1)

        cloudformation = aws.client("cloudformation")
        stack_id = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackId"]
        cloudformation.update_termination_protection(StackName=STACK, EnableTerminationProtection=False)
        cloudformation.delete_stack(StackName=STACK)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack_id, WaiterConfig={"Delay": 1})
        said = run(aws, "adopt", "--assembly", str(staging.assembly))
        assert "9 resources adopted" in said
        assert status(aws) == "IMPORT_COMPLETE"
        done = staging.deploy(aws)
        assert done.returncode == 0, done.stdout + done.stderr
        after = Pipeline(aws, STACK)
        same = ("DataKeyArn", "OrdersTableArn", "ProcessedDataBucketName", "ProcessingDlqUrl", "AuditDlqUrl")
        assert [after.outputs[name] for name in same] == [before.outputs[name] for name in same]
        after.write(["after"])
        after.stored(["after"], 1)
        until(lambda: len(after.keys()) == 2, what="both objects")
        assert {key.split("-")[-1] for key in after.keys_of(["before"])} == {
            f"{change['dynamodb']['SequenceNumber']}.json" for change in stored
        }
