"""Moves the messages of the last queue back to the DLQ, for the audit function to take once more.

    python -m scripts.redrive --env prod

Mend first what kept the audit function from storing them: after five tries they are in the last queue again.
A message that is moved is a new one, with an id of its own and another 14 days. It is sent before the old
one is deleted, so if this is interrupted, one may be there twice, and none is lost. Amazon SQS does the same
by `aws sqs start-message-move-task`, which emulators lack.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html

It needs `sqs:ReceiveMessage` and `DeleteMessage` on the last queue, `sqs:SendMessage` on the DLQ, and
`kms:Decrypt` and `kms:GenerateDataKey` on the data key.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from scripts import Client, client, outputs

WAIT_SECONDS = 5  # a long poll asks every server of a queue; a short one may miss messages


def redrive(sqs: Client, source: str, target: str) -> int:
    """Moves what a queue holds to another; how many messages that were."""
    moved = 0
    while messages := _receive(sqs, source):
        for message in messages:
            sqs.send_message(QueueUrl=target, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
    return moved


def _receive(sqs: Client, queue: str) -> list[dict[str, str]]:
    answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_SECONDS)
    found: list[dict[str, str]] = answer.get("Messages", [])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.redrive", description=__doc__.splitlines()[0])
    parser.add_argument("--env", required=True, help="the environment: prod")
    found = outputs(parser.parse_args(arguments).env)
    moved = redrive(client("sqs"), found["AuditDlqUrl"], found["ProcessingDlqUrl"])
    print(f"{moved} messages moved from the last queue to the DLQ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
