"""Write capacity: windows of consumed write capacity units per partition key, and who is suspended for it."""
