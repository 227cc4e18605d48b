"""Processes and sockets: gunicorn keeps the workers running, and each worker runs uvicorn."""
