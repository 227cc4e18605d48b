"""Asks the service in this container for a path of its health; leaves with 0 if the answer is 200."""

import os
import sys
from urllib.request import ProxyHandler, build_opener

# Whoever sets a proxy for the way to the exchanges does not mean the way to ourselves.
build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{os.environ.get('PORT') or 8000}{sys.argv[1]}", timeout=2)
