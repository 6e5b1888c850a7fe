"""SQS FIFO queues, as Flink writes to them: messages wait in an outbox until the queue has accepted them."""
