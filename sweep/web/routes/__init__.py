"""The addresses of the API, by topic."""
