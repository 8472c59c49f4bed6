"""Gauges of the fleet."""
