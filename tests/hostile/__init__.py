"""What somebody might send to break the agent: each is refused, by a message that says what, where and what to do."""
