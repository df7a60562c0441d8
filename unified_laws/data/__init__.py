"""Documents, tokenizer, token store, batches."""
