"""The usage ledger: what each partition key consumed in each minute, kept in Parquet and priced by SQL."""
