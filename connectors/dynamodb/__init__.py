"""DynamoDB change records as Kinesis Data Streams for DynamoDB writes them: sizes, cost, typed values."""
