"""The pages: each reads rows, or calls a service and says what came of it."""
