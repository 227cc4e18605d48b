"""Processes and sockets: gunicorn keeps the workers, each of which runs uvicorn."""
