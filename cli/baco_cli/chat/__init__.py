"""The chat: a conversation with two voices, steered while they speak."""
