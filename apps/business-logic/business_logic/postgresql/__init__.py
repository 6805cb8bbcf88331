"""Django's database for PostgreSQL, with a password that may change while the service runs."""
