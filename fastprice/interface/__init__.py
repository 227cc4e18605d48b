"""The HTTP interface: routes, the wire format of a price, health, problems (Starlette)."""
