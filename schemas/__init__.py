"""The contract: the Avro record, its history, decoding, evolution rules, and the errors of the whole pipeline."""
