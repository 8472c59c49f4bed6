"""Servers that `make up` and `make test` run themselves: PostgreSQL and Valkey from wheels, RabbitMQ from Debian.

Nothing here needs Django or its settings: the addresses of these servers are what the settings are made of.
"""
