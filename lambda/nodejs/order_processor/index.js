// Stores every change of an order as one JSON object in S3.
//
// Lambda may hand over a batch again, so all that an object's key is made of belongs to the change:
// a replay writes the same object once more, and two changes never share one.
'use strict';

const { S3Client, PutObjectCommand } = require('@aws-sdk/client-s3');

const s3 = new S3Client();

exports.handler = async ({ Records }) => {
  const results = await Promise.allSettled(Records.map(store));
  return { batchItemFailures: Records.flatMap((record, i) => failure(record, results[i])) };
};

async function store(record) {
  const { Keys, NewImage, OldImage, ApproximateCreationDateTime, SequenceNumber } = record.dynamodb ?? {};
  const recordId = Keys?.orderId?.S;
  if (!recordId) throw new UnusableRecord();

  // Real changes carry the time they were made at. One without is better stored twice than not at all.
  const changedAt = ApproximateCreationDateTime ? new Date(ApproximateCreationDateTime * 1000) : new Date();
  const day = changedAt.toISOString().slice(0, 10).replaceAll('-', '/');
  const name = [recordId, changedAt.getTime(), SequenceNumber].filter(Boolean).join('-');

  await s3.send(new PutObjectCommand({
    Bucket: process.env.BUCKET_NAME,
    Key: `processed-data/${day}/${name}.json`,
    ContentType: 'application/json',
    Body: JSON.stringify({
      recordId,
      eventType: record.eventName,
      processedBy: 'order-processor-lambda',
      processingTimestamp: new Date().toISOString(),
      processingStatus: 'completed',
      // As DynamoDB typed it: plain JSON has no sets, and no numbers of 38 digits.
      originalData: NewImage ?? OldImage,
      metadata: {
        awsRegion: record.awsRegion,
        eventSource: record.eventSource,
        eventVersion: record.eventVersion,
      },
    }),
  }));
}

// Lambda retries from the first change named here; an empty name (it has no number) retries the whole batch.
function failure({ dynamodb, eventID }, { reason }) {
  if (!reason) return [];
  const sequenceNumber = dynamodb?.SequenceNumber ?? '';
  // The error's name alone: messages quote keys, and no content of an order belongs in the log.
  console.error({ event: 'change not stored', eventID, sequenceNumber, error: reason.name });
  return [{ itemIdentifier: sequenceNumber }];
}

class UnusableRecord extends Error {
  name = 'UnusableRecord';

  message = 'the change names no order';
}
