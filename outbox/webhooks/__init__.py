"""How an event travels to a webhook: the address checked, the message signed, the request bounded."""
