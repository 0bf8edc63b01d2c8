// Stores every failure record that Lambda put on the dead-letter queue as one item of the audit table.
//
// A message may be delivered more than once, so the item's keys come from the message alone and an item
// that is there already is a success. What could not be stored is named, and SQS delivers it again.
'use strict';

const { DynamoDBClient, PutItemCommand } = require('@aws-sdk/client-dynamodb');

const dynamodb = new DynamoDBClient();

// What the item tells of the failure, and where it stands in the failure record. Any of it may be absent.
const FIELDS = {
  requestContext: ['requestId', 'functionArn', 'condition', 'approximateInvokeCount'],
  responseContext: ['statusCode', 'executedVersion', 'functionError'],
  DDBStreamBatchInfo: [
    'streamArn', 'shardId', 'startSequenceNumber', 'endSequenceNumber', 'batchSize',
    'approximateArrivalOfFirstRecord', 'approximateArrivalOfLastRecord',
  ],
};

exports.handler = async ({ Records }) => {
  const results = await Promise.allSettled(Records.map(store));
  return { batchItemFailures: Records.flatMap((message, i) => failure(message, results[i])) };
};

async function store(message) {
  try {
    await dynamodb.send(new PutItemCommand({
      TableName: process.env.AUDIT_TABLE_NAME,
      Item: auditItem(message),
      ConditionExpression: 'attribute_not_exists(auditId)',
    }));
  } catch (error) {
    if (error.name !== 'ConditionalCheckFailedException') throw error;
  }
}

// The message's own id and not the failed request's: that may be absent, and two failures may share it.
function auditItem({ messageId, body, attributes }) {
  const failed = parsed(body);
  const item = {
    auditId: messageId,
    timestamp: failed?.timestamp || new Date(Number(attributes.SentTimestamp)).toISOString(),
    failureType: failed ? failureType(failed) : 'Unparseable',
    rawMessage: body,
  };
  for (const [part, names] of Object.entries(FIELDS)) {
    for (const name of names) item[name] = failed?.[part]?.[name];
  }
  return attributeValues(item);
}

const failureType = ({ responseContext, requestContext }) =>
  responseContext?.functionError || requestContext?.condition || 'Unknown';

// Whatever lies on the queue is kept, if only as raw text.
function parsed(body) {
  try {
    const value = JSON.parse(body);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

// Text throughout: unlike numbers and maps, DynamoDB takes it whatever it says.
function attributeValues(item) {
  const present = Object.entries(item).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(present.map(([name, value]) => [name, { S: text(value) }]));
}

const text = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

function failure({ messageId }, { reason }) {
  if (!reason) return [];
  console.error({ event: 'failure record not stored', messageId, error: reason.name });
  return [{ itemIdentifier: messageId }];
}
