"""Ledgers made for tests, and the tests."""
