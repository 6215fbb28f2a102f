"""Train the bundled pair: corpus, tokenizer, model, training, export. Never imported by the tool."""
