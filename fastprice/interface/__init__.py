"""How HTTP sees us: routes, the wire shape of a price, health, problems (Starlette)."""
